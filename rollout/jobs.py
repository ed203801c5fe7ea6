"""What runs by itself, and when.

    renew      every worker, its own holds   every third of a lease
    sweep      one worker for all            every 5 seconds, or third of a lease
    reconcile  one worker for all            as often
    forget     one worker for all            every 10 minutes
    purge      one worker for all            every minute
    sign_out   one worker for all            every 10 minutes
    refusals   every worker, its own notes   twice a second
    outdated   one worker for all            every 10 minutes

Failure behaviour: what fails is logged and comes again; with the database away nothing runs, and leases that could not be
renewed pass, which makes their holds unknown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from rollout.services.ids import new_id
from rollout.services.ledger import Ledger
from rollout.services.registry import Services
from rollout.services.ticks import Ticks

log = structlog.get_logger()

Wait = Callable[[float], bool]
"""Wait that many seconds; true when it is time to stop."""


@dataclass(frozen=True)
class Job:
    """Work that is due every so many seconds: in each process, or `elected` in one of them."""

    name: str
    every: float
    work: Callable[[], object]
    elected: bool = True


def of_ledger(ledger: Ledger) -> list[Job]:
    third = ledger.lease_seconds / 3
    return [
        Job("renew", third, ledger.renew_leases, elected=False),
        Job("sweep", min(5, third), ledger.sweep),
        Job("reconcile", min(5, third), ledger.reconcile),
        Job("forget", 600, ledger.forget_keys),
    ]


def all_of(services: Services) -> list[Job]:
    return [
        *of_ledger(services.ledger),
        Job("purge", 60, services.images.purge),
        Job("sign_out", 600, services.sessions.forget),
        Job("refusals", 0.5, services.requests.flush, elected=False),
        Job("outdated", 600, services.requests.forget),
    ]


def run(jobs: Sequence[Job], ticks: Ticks, wait: Wait, clock: Callable[[], float] = time.monotonic) -> None:
    """Do each job when it is due, until `wait` says stop."""
    due = {job.name: clock() for job in jobs}
    while not wait(max(0, min(due.values()) - clock())):
        for job in jobs:
            if due[job.name] <= clock():
                due[job.name] = clock() + job.every
                run_once(job, ticks)


def run_once(job: Job, ticks: Ticks) -> None:
    """Do the job if it is this process's turn; whatever happens, the loop goes on."""
    try:
        if job.elected:
            ticks.run(job.name, max(1, int(job.every)), job.work)
        else:
            job.work()
    except Exception as error:
        log.exception("job_failed", job=job.name, error=repr(error))


class Jobs:
    """The jobs of one process in a thread; to be started after the fork."""

    def __init__(self, services: Services) -> None:
        self._stop = threading.Event()
        ticks = Ticks(services.database, new_id("job"))
        work = (all_of(services), ticks, self._stop.wait)
        self._thread = threading.Thread(target=run, args=work, name="jobs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after the job in hand; waits for it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
