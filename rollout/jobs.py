"""What runs by itself: ticks, which come again every so often, and jobs, which somebody left to be done.

    renew      every worker, its own holds   every third of a lease
    refusals   every worker, its own notes   twice a second
    counts     every worker, its own flags   every 5 seconds

    queue      one worker for all            every third of a lease; before a sweep, after a time when nobody was there
    sweep      one worker for all            every 5 seconds, or third of a lease
    reconcile  one worker for all            as often
    caps       one worker for all            every 5 seconds
    phases     one worker for all            every 10 seconds
    remind     one worker for all            every 10 seconds
    forget     one worker for all            every 10 minutes
    purge      one worker for all            every minute
    sign_out   one worker for all            every 10 minutes
    unleash    one worker for all            every 10 minutes
    outdated   one worker for all            every 10 minutes
    guardrails one worker for all            every 10 minutes
    old_counts one worker for all            every 10 minutes
    old_jobs   one worker for all            every 10 minutes
    answers    one worker for all            every 10 minutes
    products   one worker for all            every hour
    verify     one worker for all            at 03:00 UTC: looked for every 10 minutes

The first group belongs to who serves; the rest, and the jobs, to every process or (`ROLLOUT_JOBS=apart`) to `rollout worker`.

Failure behaviour: what fails is logged and comes again; with the database away nothing runs, and leases that could not be
renewed pass, which makes their holds unknown and gives their jobs to others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog

from rollout.core.jobs import SHARE, Job, JobWaits
from rollout.services.ids import new_id
from rollout.services.jobs import JobQueue
from rollout.services.ledger import Ledger
from rollout.services.registry import Services
from rollout.services.ticks import Ticks

log = structlog.get_logger()

THREADS = 16
GENERATIONS = 32
"""How many generations a process makes by jobs at once, beside those whose callers wait; half of them by one vendor."""

LOOK_SECONDS = 1.0

Wait = Callable[[float], bool]
"""Wait that many seconds; true when it is time to stop."""

Handler = Callable[[Job], Mapping[str, Any] | None]
"""Does a job, as often as it is asked to, and gives its outcome. Raises JobFailed, or anything, to have it tried again."""


@dataclass(frozen=True)
class Tick:
    """Work that is due every so many seconds: in each process, or `elected` in one of them."""

    name: str
    every: float
    work: Callable[[], object]
    elected: bool = True


def of_ledger(ledger: Ledger) -> list[Tick]:
    third = ledger.lease_seconds / 3
    return [
        Tick("renew", third, ledger.renew_leases, elected=False),
        Tick("queue", third, ledger.renew_queued),
        Tick("sweep", min(5, third), ledger.sweep),
        Tick("reconcile", min(5, third), ledger.reconcile),
        Tick("forget", 600, ledger.forget_keys),
    ]


def all_of(services: Services) -> list[Tick]:
    return [
        *of_ledger(services.ledger),
        Tick("caps", 5, services.meters.carry_out_plans),
        Tick("grants", 10, services.grants.expire),
        Tick("phases", 10, services.controller.tick),
        Tick("remind", 10, services.switches.remind),
        Tick("purge", 60, services.images.purge),
        Tick("unleash", 600, services.flag_pushes.look),
        Tick("sign_out", 600, services.sessions.forget),
        Tick("refusals", 0.5, services.requests.flush, elected=False),
        Tick("outdated", 600, services.requests.forget),
        Tick("guardrails", 600, services.guardrails.forget),
        Tick("counts", 5, services.flag_metrics.flush, elected=False),
        Tick("old_counts", 600, services.flag_metrics.forget),
        Tick("old_jobs", 600, services.jobs.purge),
        Tick("answers", 600, services.analysis_results.purge),
        Tick("products", 3_600, services.product_tables.purge),
        Tick("verify", 600, services.verifications.nightly),
        Tick("models", 21_600, services.catalogue_checks.tick),
    ]


def handlers(services: Services) -> dict[str, Handler]:
    """Who does jobs of which kind."""
    return {
        "webhook": services.webhooks.deliver,
        "reconcile": services.resolutions.look_into,
        "flag_push": services.flag_pushes.carry_out,
        "vendor_list": services.catalogue_checks.carry_out,
    }


def pictures(services: Services) -> dict[str, Handler]:
    """The same for the jobs that wait for vendors' pictures: they have threads of their own, so that they keep nothing else waiting."""
    return {"generation": services.generation_jobs.carry_out}


def run(
    ticks: Sequence[Tick], elections: Ticks, wait: Wait, clock: Callable[[], float] = time.monotonic
) -> None:
    """Do each when it is due, until `wait` says stop."""
    due = {tick.name: clock() for tick in ticks}
    while not wait(max(0, min(due.values()) - clock())):
        for tick in ticks:
            if due[tick.name] <= clock():
                due[tick.name] = clock() + tick.every
                run_once(tick, elections)


def run_once(tick: Tick, elections: Ticks) -> None:
    """Do it if it is this process's turn; whatever happens, the loop goes on."""
    try:
        if tick.elected:
            elections.run(tick.name, max(1, int(tick.every)), tick.work)
        else:
            tick.work()
    except Exception as error:
        log.exception("job_failed", job=tick.name, error=repr(error))


class Runner:
    """Claims jobs and does them, several at once, but no more than `share` about one subject."""

    def __init__(
        self,
        queue: JobQueue,
        handlers: Mapping[str, Handler],
        threads: int = THREADS,
        share: int = SHARE,
    ) -> None:
        self._queue, self._handlers, self._threads, self._share = queue, handlers, threads, share
        self._in_hand: dict[str, Job] = {}
        self._wake, self._stopping = threading.Event(), threading.Event()

    def run(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Until `stop`, and then until what is in hand is done; leases are renewed until the end."""
        renewed = clock()
        with ThreadPoolExecutor(self._threads, "job") as pool:
            while self._in_hand or not self._stopping.is_set():
                self._wake.clear()
                if clock() - renewed >= self._queue.lease_seconds / 3:
                    renewed = clock()
                    self._safely(lambda: self._queue.renew(list(self._in_hand.values())))
                if not self._stopping.is_set():
                    self._safely(lambda: self._take(pool))
                self._wake.wait(LOOK_SECONDS)

    def stop(self) -> None:
        """Claim nothing more; does not wait."""
        self._stopping.set()
        self._wake.set()

    def _take(self, pool: Executor) -> None:
        in_hand = list(self._in_hand.values())
        if len(in_hand) < self._threads:
            for job in self._queue.claim(
                set(self._handlers), self._threads - len(in_hand), in_hand, self._share
            ):
                self._in_hand[job.id] = job
                pool.submit(self._do, job)

    def _do(self, job: Job) -> None:
        self._safely(lambda: self._attempt(job))
        del self._in_hand[job.id]
        self._wake.set()

    def _attempt(self, job: Job) -> None:
        try:
            outcome = self._handlers[job.kind](job)
        except JobWaits as waits:
            self._queue.wait(job, waits.seconds)
        except Exception as error:
            log.warning(
                "job_attempt_failed", job=job.id, kind=job.kind, attempt=job.attempt, error=repr(error)
            )
            self._queue.fail(job, error)
        else:
            self._queue.finish(job, outcome)

    def _safely(self, act: Callable[[], object]) -> None:
        """What could not be written is done again by who claims it when its lease has passed."""
        try:
            act()
        except Exception as error:
            log.exception("job_failed", job="jobs", error=repr(error))


class Background:
    """What runs by itself in one process, in threads of its own; to be started after the fork.

    `apart`: only what every process does for itself.
    """

    def __init__(self, services: Services, *, apart: bool = False) -> None:
        self._stop = threading.Event()
        ticks = [tick for tick in all_of(services) if not (apart and tick.elected)]
        elections = Ticks(services.database, new_id("job"))
        self._runners = [
            Runner(services.jobs, handlers(services)),
            Runner(services.jobs, pictures(services), GENERATIONS, GENERATIONS // 2),
        ]
        ticking = threading.Thread(
            target=run, args=(ticks, elections, self._stop.wait), name="ticks", daemon=True
        )
        working = [threading.Thread(target=runner.run, name="jobs", daemon=True) for runner in self._runners]
        self._threads = [ticking] if apart else [ticking, *working]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends after what is in hand; waits for it."""
        self._stop.set()
        for runner in self._runners:
            runner.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
