"""What runs by itself: when, by whom, and on in spite of errors."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from ledgers import ledger_on, meter, request
from structlog.testing import capture_logs

from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable
from rollout.jobs import Background, Tick, of_ledger, run, run_once
from rollout.services.ids import new_id
from rollout.services.ticks import Ticks


@pytest.fixture
def ticks(database: Database) -> Ticks:
    return Ticks(database, "alice")


class Time:
    """A clock that moves when somebody waits on it, and ends the run after `until` seconds."""

    def __init__(self, until: float, others: Any = None) -> None:
        self.now, self.until, self.others = 0.0, until, others

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        assert seconds >= 0
        self.now += seconds
        if self.others:
            self.others.advance(seconds)
        return self.now > self.until


def test_each_job_runs_when_it_is_due(ticks: Ticks, clock: Any) -> None:
    done: list[tuple[str, float]] = []
    time = Time(until=12, others=clock)
    jobs = [
        Tick("often", 4, lambda: done.append(("often", time.now)), elected=False),
        Tick("seldom", 10, lambda: done.append(("seldom", time.now))),
    ]
    run(jobs, ticks, time.wait, time)
    assert done == [("often", 0), ("seldom", 0), ("often", 4), ("often", 8), ("seldom", 10), ("often", 12)]


@pytest.mark.parametrize("elected", [True, False])
def test_a_job_that_fails_is_logged_and_the_others_go_on(ticks: Ticks, elected: bool) -> None:
    with capture_logs() as logs:
        run_once(Tick("broken", 5, lambda: 1 / 0, elected=elected), ticks)
    assert [line["event"] for line in logs] == ["tick_failed" if elected else "job_failed"]


def test_with_the_database_away_the_loop_goes_on() -> None:
    class Away:
        def run(self, *_: object) -> bool:
            raise LedgerUnavailable

    with capture_logs() as logs:
        run_once(Tick("sweep", 5, lambda: None), Away())  # type: ignore[arg-type]
    assert [(line["event"], line["job"]) for line in logs] == [("job_failed", "sweep")]


def test_the_jobs_of_the_ledger_keep_the_living_and_end_the_dead(
    database: Database, ticks: Ticks, clock: Any
) -> None:
    limit = meter("image", "life", 9)
    living, dead = ledger_on(database, lease=6, grace=9), ledger_on(database, lease=6, new_id=new_id)
    grave = dead.hold(request(limit))
    corpse = grave.__enter__()
    corpse._done = True
    time = Time(until=6 + 9 + 4, others=clock)
    with living.hold(request(limit)) as held:
        run(of_ledger(living), ticks, time.wait, time)
        assert living.get_hold(held.id).state == "dispatched"
        assert living.get_hold(corpse.id).state == "settled"
        held.void("enough")
    assert living.verify() == []


def test_leases_are_renewed_thrice_in_their_time_by_every_process(database: Database) -> None:
    jobs = {job.name: job for job in of_ledger(ledger_on(database, lease=120))}
    assert (jobs["renew"].every, jobs["renew"].elected) == (40, False)
    assert all(job.elected for name, job in jobs.items() if name != "renew")
    assert jobs["sweep"].every == jobs["reconcile"].every == 5
    assert of_ledger(ledger_on(database, lease=3))[1].every == 1


def test_a_worker_starts_its_jobs_and_stops_them(database: Database) -> None:
    ran = threading.Event()
    ledger: Any = SimpleNamespace(
        lease_seconds=120,
        renew_leases=ran.set,
        renew_queued=_nothing,
        sweep=_nothing,
        reconcile=_nothing,
        forget_keys=_nothing,
    )
    services: Any = SimpleNamespace(
        database=database,
        ledger=ledger,
        images=SimpleNamespace(purge=_nothing),
        analysis_results=SimpleNamespace(purge=_nothing),
        product_tables=SimpleNamespace(purge=_nothing),
        sessions=SimpleNamespace(forget=_nothing),
        meters=SimpleNamespace(carry_out_plans=_nothing),
        grants=SimpleNamespace(expire=_nothing),
        controller=SimpleNamespace(tick=_nothing),
        switches=SimpleNamespace(remind=_nothing),
        flag_pushes=SimpleNamespace(look=_nothing, carry_out=_nothing),
        flag_metrics=SimpleNamespace(flush=_nothing, forget=_nothing),
        requests=SimpleNamespace(flush=_nothing, forget=_nothing),
        jobs=SimpleNamespace(lease_seconds=60, purge=_nothing, claim=lambda *_: []),
        webhooks=SimpleNamespace(deliver=_nothing),
        resolutions=SimpleNamespace(look_into=_nothing),
        verifications=SimpleNamespace(nightly=_nothing),
        catalogue_checks=SimpleNamespace(tick=_nothing, carry_out=_nothing),
        guardrails=SimpleNamespace(forget=_nothing),
        generation_jobs=SimpleNamespace(carry_out=_nothing),
    )
    jobs = Background(services)
    jobs.start()
    assert ran.wait(20)
    jobs.stop()
    assert not {"ticks", "jobs"} & {thread.name for thread in threading.enumerate()}
    Background(services).stop()


def _nothing() -> None:
    """A stand-in for work."""
