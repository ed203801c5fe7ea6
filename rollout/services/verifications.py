"""The books added up, each night and when somebody asks: what was found is kept, and a difference tells those who want to know.

Failure behaviour: with the database away nothing is found and nothing kept; the night's turn comes again at the next look.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from rollout.core.verifications import Verification, is_due
from rollout.db import verifications
from rollout.db.engine import Database
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
        self,
        database: Database,
        ledger: Ledger,
        statements: Statements,
        events: Events,
        new_id: NewId,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._ledger, self._statements = database, ledger, statements
        self._events, self._new_id, self._monotonic = events, new_id, monotonic

    def differences(self) -> list[str]:
        """Compare every sum with every bucket, hold and statement: a sentence for each difference."""
        return [*self._ledger.verify(), *self._statements.verify()]

    def run(self, actor: str) -> Verification:
        """Look for differences and keep what was found; any are told by one event `ledger.mismatch`."""
        began = self._monotonic()
        wrong = self.differences()
        seconds = round(self._monotonic() - began)
        with self._database.write() as tx:
            now = self._database.now(tx)
            done = Verification(self._new_id("ver"), now, seconds, _kept(wrong), actor)
            verifications.add(tx, done)
            if wrong:
                self._events.emit(
                    tx,
                    now,
                    "ledger.mismatch",
                    None,
                    {"verification": done.id, "count": len(wrong), "differences": wrong[:TOLD]},
                )
        if wrong:
            log.error("ledger_mismatch", verification=done.id, count=len(wrong), first=wrong[0])
        return done

    def nightly(self) -> Verification | None:
        """Run unless that was done since the last 03:00 UTC."""
        with self._database.read() as tx:
            last, now = verifications.page(tx, limit=1), self._database.now(tx)
        return self.run(NIGHTLY) if is_due(last[0].at if last else None, now) else None

    def page(self, *, cursor: str | None, limit: int) -> list[Verification]:
        """Newest first, from before the id `cursor`."""
        with self._database.read() as tx:
            return verifications.page(tx, before=cursor, limit=limit)


def _kept(wrong: list[str]) -> tuple[str, ...]:
    rest = [f"and {len(wrong) - KEPT} more"] if len(wrong) > KEPT else []
    return (*wrong[:KEPT], *rest)
