"""Ticks: periodic work that one process does for all; who does it is settled by a lease in the database, on its clock.

Failure behaviour: a process that dies in the middle loses its lease and another one does the work at the next look; work that
fails is logged and comes again at its next time. Ticks that were missed fold into one.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from rollout.db import ticks
from rollout.db.engine import Database

log = structlog.get_logger()

LEASE_SECONDS = 60


class Ticks:
    """`owner` names this process, as no other process is named."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database, self._owner = database, owner

    def run(self, name: str, every: int, work: Callable[[], object]) -> bool:
        """Do `work` if it is due, no other process is at it, and the last time began at least `every` seconds ago.

        Tells whether it was done. Raises LedgerUnavailable; what else goes wrong in `work` is logged.
        """
        with self._database.write() as tx:
            now = self._database.now(tx)
            if not ticks.claim(tx, name, self._owner, now, now + LEASE_SECONDS):
                return False
        try:
            work()
        except Exception as error:
            log.exception("tick_failed", tick=name, error=repr(error))
        with self._database.write() as tx:
            ticks.finish(tx, name, self._owner, now + every)
        return True
