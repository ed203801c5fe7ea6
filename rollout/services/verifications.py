"""The books added up, each night and when somebody asks: what was found is kept, and a difference tells those who want to know.

Failure behaviour: with the database away nothing is found and nothing kept; the night's turn comes again at the next look.
"""

from __future__ import annotations

import time

import structlog

from rollout.core.verifications import Verification, is_due
from rollout.db import verifications
from rollout.db.engine import Database, Tx
from rollout.services.events import Events
from rollout.services.ids import NewId
from rollout.services.ledger import Ledger
from rollout.services.statements import Statements

log = structlog.get_logger()

NIGHTLY = "system:nightly"

KEPT = 100
"""Differences that are kept of one verification; a sentence says how many more there were."""

TOLD = 20
"""Differences that an event carries."""


class Verifications:
    def __init__(
        self, database: Database, ledger: Ledger, statements: Statements, events: Events, new_id: NewId
    ) -> None:
        self._database, self._ledger, self._statements = database, ledger, statements
        self._events, self._new_id = events, new_id

    def differences(self) -> list[str]:
        """Compare every sum with every bucket, hold and statement: a sentence for each difference."""
        return [*self._ledger.verify(), *self._statements.verify()]

    def run(self, actor: str) -> Verification:
        """Look for differences and keep what was found; any are told by one event `ledger.mismatch`."""
        wrong, seconds = self._look()
        with self._database.write() as tx:
            return self._keep(tx, wrong, seconds, actor)

    def nightly(self) -> Verification | None:
        """Run unless that was done since the last 03:00 UTC, or another process was quicker."""
        with self._database.read() as tx:
            if not self._is_due(tx):
                return None
        wrong, seconds = self._look()
        with self._database.write() as tx:
            return self._keep(tx, wrong, seconds, NIGHTLY) if self._is_due(tx) else None

    def page(self, *, cursor: str | None, limit: int) -> list[Verification]:
        """Newest first, from before the id `cursor`."""
        with self._database.read() as tx:
            return verifications.page(tx, before=cursor, limit=limit)

    def _is_due(self, tx: Tx) -> bool:
        last = verifications.page(tx, limit=1)
        return is_due(last[0].at if last else None, self._database.now(tx))

    def _look(self) -> tuple[list[str], int]:
        """What is wrong, and how many seconds it took to see it."""
        began = time.monotonic()
        return self.differences(), round(time.monotonic() - began)

    def _keep(self, tx: Tx, wrong: list[str], seconds: int, actor: str) -> Verification:
        now = self._database.now(tx)
        done = Verification(self._new_id("ver"), now, seconds, _kept(wrong), actor)
        verifications.add(tx, done)
        if wrong:
            told = {"verification": done.id, "count": len(wrong), "differences": wrong[:TOLD]}
            self._events.emit(tx, now, "ledger.mismatch", None, told)
            log.error("ledger_mismatch", verification=done.id, count=len(wrong), first=wrong[0])
        return done


def _kept(wrong: list[str]) -> tuple[str, ...]:
    rest = [f"and {len(wrong) - KEPT} more"] if len(wrong) > KEPT else []
    return (*wrong[:KEPT], *rest)
