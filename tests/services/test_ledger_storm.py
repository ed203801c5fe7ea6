"""Many at once, and some of them killed: exactly what fits is sold, and no finished work goes uncharged."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import ledger_worker
import pytest
from ledgers import ledger_on, meter

from rollout.core.decisions import TenantFacts
from rollout.core.meters import Meter
from rollout.core.tenants import Tenant
from rollout.db import meters
from rollout.db.engine import Database
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger

ROOT = Path(__file__).parents[2]
CAP, PROCESSES = 80, 4
IMAGES, MONEY = meter("image", "life", CAP), meter("usd_micro", "life", 10_000)
SLOTS = meter("slot", "concurrent", 8)
PLENTY = (meter("image", "life", 1_000_000), meter("usd_micro", "life", 10_000_000), SLOTS)

Start = Callable[..., "subprocess.Popen[str]"]


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

    def begin(role: str, argument: object) -> subprocess.Popen[str]:
        command = [sys.executable, "tests/ledger_worker.py", role, database_url, str(argument)]
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


def sell_the_rest(ledger: Ledger) -> int:
    """What a refused buyer left because somebody's later void made room again."""
    counted: Counter[str] = Counter()
    ledger_worker.buy(ledger, random.Random(0), counted)
    return counted["sold"]


def test_many_threads_sell_exactly_what_fits(books: Database) -> None:
    ledger = ledger_with(books, IMAGES, MONEY, SLOTS)
    counted: Counter[str] = Counter()
    buyers = [
        threading.Thread(target=ledger_worker.buy, args=(ledger, random.Random(seed), counted))
        for seed in range(16)
    ]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    assert counted["wrong"] == 0
    assert counted["sold"] + sell_the_rest(ledger) == CAP
    assert used_and_held(ledger, IMAGES, MONEY, SLOTS) == [(CAP, 0), (CAP * 10, 0), (0, 0)]
    assert ledger.holds(tenant=None, state="open", cursor=None, limit=10) == []
    assert ledger.verify() == []


def test_many_processes_sell_exactly_what_fits(books: Database, start: Start) -> None:
    ledger = ledger_with(books, IMAGES, MONEY, SLOTS)
    storms = [start("storm", seed) for seed in range(PROCESSES)]
    told = [json.loads(storm.communicate(timeout=100)[0]) for storm in storms]
    assert [one.get("wrong", 0) for one in told] == [0] * PROCESSES
    assert sum(one.get("sold", 0) for one in told) + sell_the_rest(ledger) == CAP
    assert used_and_held(ledger, IMAGES, MONEY, SLOTS) == [(CAP, 0), (CAP * 10, 0), (0, 0)]
    assert ledger.holds(tenant=None, state="open", cursor=None, limit=10) == []
    assert ledger.verify() == []


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
        worker = start("stop", point)
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


def test_workers_killed_at_random_lose_no_charge_and_charge_nothing_twice(
    books: Database, start: Start, tmp_path: Path
) -> None:
    ledger, chance = ledger_with(books, *PLENTY), random.Random(42)
    vendor = tmp_path / "vendor.log"
    workers = [start("work", vendor) for _ in range(2)]
    for kills in range(5):
        _until_grown(vendor, lines=10 * (kills + 1) + chance.randrange(10))
        victim = chance.randrange(len(workers))
        workers[victim].kill()
        workers[victim] = start("work", vendor)
    for worker in workers:
        worker.kill()
        worker.wait()
    end_all(ledger)
    lines = [line.split() for line in vendor.read_text().splitlines()]
    done = {hold_id for word, hold_id in lines if word == "done"}
    charged = {hold_id for word, hold_id in lines if word == "charged"}
    assert len(done) > 5
    holds = {hold.id: hold for hold in ledger.holds(tenant="acme", state=None, cursor=None, limit=100_000)}
    assert {holds[hold_id].state for hold_id in done} == {"settled"}, "finished work is charged"
    assert {holds[hold_id].settled_from for hold_id in charged} == {"usage"}, (
        "what we were told is charged, is"
    )
    settled = [hold for hold in holds.values() if hold.state == "settled"]
    assert used_and_held(ledger, *PLENTY)[:2] == [
        (len(settled), 0),
        (sum(hold.cost_usd_micro for hold in settled), 0),
    ]
    assert ledger.verify() == []


def _until_grown(file: Path, lines: int) -> None:
    patience = time.monotonic() + 60
    while not file.exists() or file.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < patience, "the workers do nothing"
        threading.Event().wait(0.01)
