"""The thread that keeps this worker's snapshot current. Start it after the fork: threads do not survive one.

Failure behaviour: it outlives every error. While the database is away the old snapshot stays, and its age,
which nobody confirms any more, closes generation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from rollout.errors import LedgerUnavailable
from rollout.sync.listen import Waiter

log = structlog.get_logger()

STOP_SECONDS = 5.0


class Refresher:
    """`look` brings the snapshot up to date; `report` tells the others, after each look."""

    def __init__(self, waiter: Waiter, look: Callable[[], object], report: Callable[[], None]) -> None:
        self._waiter, self._look, self._report = waiter, look, report
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refresher", daemon=True)
        self._failing = False

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """Look now: this process changed something."""
        self._waiter.nudge()

    def stop(self) -> None:
        """Ends within the interval of a wait; call it once."""
        self._stopping.set()
        self._waiter.wake()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._waiter.wait()
            self._turn()
        self._waiter.close()

    def _turn(self) -> None:
        try:
            self._look()
            self._report()
        except LedgerUnavailable as error:
            if not self._failing:
                log.warning("snapshot_not_confirmed", error=str(error.__cause__ or error))
            self._failing = True
        except Exception:
            log.exception("refresh_failed")
        else:
            if self._failing:
                log.info("snapshot_confirmed_again")
            self._failing = False
