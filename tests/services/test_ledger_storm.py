"""Many at once, and some of them killed: exactly what fits is sold, and no finished work goes uncharged."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ledger_worker
import pytest
from ledgers import ledger_on, meter
from processes import give_up

from benchmarks import crash, databases, storm
from benchmarks.storm import Storm
from rollout.core.decisions import TenantFacts
from rollout.core.meters import Meter
from rollout.core.tenants import Tenant
from rollout.db import meters
from rollout.db.engine import Database
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger

ROOT = Path(__file__).parents[2]
PLENTY = (
    meter("image", "life", 1_000_000),
    meter("usd_micro", "life", 10_000_000),
    meter("slot", "concurrent", 8),
)

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def books(database_url: str) -> Iterator[Database]:
    """A database on its own clock, which several processes share."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def start(database_url: str) -> Iterator[Start]:
    """Start a worker on the database; it is dead when the test ends."""
    started: list[subprocess.Popen[str]] = []

    def begin(point: str) -> subprocess.Popen[str]:
        command = [sys.executable, "tests/ledger_worker.py", database_url, point]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def ledger_with(books: Database, *limits: Meter) -> Ledger:
    with books.write() as tx:
        for one in limits:
            meters.add(tx, one)
    return ledger_on(books, lease=ledger_worker.LEASE, grace=ledger_worker.GRACE, new_id=new_id)


def used_and_held(ledger: Ledger, *limits: Meter) -> list[tuple[int, int]]:
    facts = TenantFacts(Tenant("acme", "Acme"), meters=limits)
    return [(limit.used, limit.held) for limit in ledger.limits(facts)]


@pytest.mark.parametrize(
    "kind",
    [
        Storm("platform", "usd_micro", "lowered", seed=1),
        Storm("feature", "image", "raised", seed=2),
        Storm("api_key", "slot", "raised", seed=3),
        Storm("end_user", "request", "kept", seed=4),
    ],
    ids=lambda kind: f"{kind.level}-{kind.unit}-{kind.cut}",
)
def test_a_storm_sells_exactly_what_fits(database_url: str, kind: Storm) -> None:
    assert storm.run(database_url, kind) == []


def end_all(ledger: Ledger) -> None:
    """Sweep and reconcile as the jobs do, until nothing is open; lease and grace are a second each."""
    patience = time.monotonic() + 60
    while ledger.holds(tenant=None, state="open", cursor=None, limit=1):
        assert time.monotonic() < patience, "holds stay open beyond lease and grace"
        threading.Event().wait(0.05)
        ledger.sweep()
        ledger.reconcile()


def test_work_killed_in_any_state_is_void_if_unsent_and_charged_otherwise(
    books: Database, start: Start
) -> None:
    ledger = ledger_with(books, *PLENTY)
    holds: dict[str, str] = {}
    for point in ledger_worker.POINTS:
        worker = start(point)
        assert worker.stdout is not None
        hold_id = worker.stdout.readline().split()[-1]
        if point == "settling":
            assert worker.stdout.readline().split()[-1] == hold_id  # now it is inside the transaction
        worker.kill()
        worker.wait()
        holds[point] = hold_id
    assert {point: ledger.get_hold(hold_id).state for point, hold_id in holds.items()} == {
        "held": "held", "dispatched": "dispatched", "done": "dispatched", "settling": "dispatched",
    }  # fmt: skip
    end_all(ledger)
    ended = {point: ledger.get_hold(hold_id) for point, hold_id in holds.items()}
    assert {point: (hold.state, hold.cost_usd_micro, hold.settled_from) for point, hold in ended.items()} == {
        "held": ("void", 0, None),
        "dispatched": ("settled", 10, "estimate"),
        "done": ("settled", 10, "estimate"),
        "settling": ("settled", 10, "estimate"),
    }
    assert all(hold.resolution for hold in ended.values())
    assert used_and_held(ledger, *PLENTY) == [(3, 0), (30, 0), (0, 0)]
    assert ledger.verify() == []


@pytest.mark.parametrize(
    ("kind", "disasters"), [("sqlite", 5), pytest.param("postgresql", 1, marks=pytest.mark.postgres)]
)
def test_nothing_is_lost_when_workers_are_killed_and_the_database_crashes(
    kind: databases.Kind, disasters: int
) -> None:
    try:
        told = crash.run(kind, seconds=4, disasters=disasters)
    except databases.postgres.Unavailable as reason:
        give_up(f"NOT TESTED ON POSTGRESQL: {reason}")
    assert told.wrong == []
    assert told.works >= told.charged > 0
    assert told.kills > 0
    assert told.disasters == disasters
