"""A clock that stands still until it is told, and a database that goes by it."""

from __future__ import annotations

from rollout.db.driver import Statement
from rollout.db.engine import Database


class Clock:
    """UTC epoch seconds that pass only when told: 2026-11-22 12:00:00 at first, a Sunday."""

    def __init__(self) -> None:
        self.now = 1_795_348_800.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class ClockedDatabase(Database):
    """Tells the time of the test's clock on PostgreSQL too, where `Database` asks the server."""

    def time(self) -> Statement:
        return Statement("select ?" if self.is_sqlite else "select %s::float", (self.clock(),))
