"""Which worker processes there are, and which revision each decides on: the proof that a change has
arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from rollout.core.times import rfc3339
from rollout.db import audit, revision, workers
from rollout.db.engine import Database, Tx
from rollout.db.workers import WorkerRow
from rollout.errors import LedgerUnavailable

log = structlog.get_logger()

SEEN_SECONDS = 10
"""How often an idle worker says that it is alive: on SQLite each time costs a flush to disk."""

GONE_SECONDS = 30
"""Not heard of for longer: gone. Such a worker cannot confirm its state either, so it denies generation."""

BEHIND_SECONDS = 5
"""A revision that a worker has not taken for longer is too late: by then it denies generation, if it cannot see it at all."""

FORGET_SECONDS = 3600
"""Gone for longer: somebody else serves in its place. One that comes back is counted again."""

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Acks:
    """`slowest_ms`: from the change to the last acknowledgement; None while nobody's is known for this very
    revision."""

    expected: int
    received: int
    slowest_ms: int | None
    gone: int

    def as_json(self) -> dict[str, int | None]:
        return {
            "expected": self.expected,
            "received": self.received,
            "slowest_ms": self.slowest_ms,
            "gone": self.gone,
        }


class Worker:
    """This process among the workers. `revision()` is what it decides on now, `troubles()` what is wrong with vendors here;
    `monotonic` seconds that only pass."""

    def __init__(
        self,
        database: Database,
        worker_id: str,
        host: str,
        pid: int,
        revision: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        troubles: Callable[[], Mapping[str, Mapping[str, Any]]] = dict,
    ) -> None:
        self._database, self.id, self._host, self._pid = database, worker_id, host, pid
        self._revision, self._troubles, self._monotonic = revision, troubles, monotonic
        self._acknowledged, self._said, self._said_at = -1, frozenset[tuple[str, str]](), 0.0

    def register(self) -> None:
        """Be counted from now on. Raises LedgerUnavailable."""
        number, at = self._revision(), self._monotonic()
        with self._database.write() as tx:
            now = self._database.now(tx)
            workers.forget(tx, now - FORGET_SECONDS)
            here = WorkerRow(self.id, self._host, self._pid, now, now, number, self._database.now_ms(tx))
            workers.add(tx, here)
        self._acknowledged, self._said, self._said_at = number, frozenset(), at

    def report(self) -> None:
        """Be counted; then acknowledge a new revision, tell of a vendor's new trouble, or say now and then that we are alive.
        Raises LedgerUnavailable."""
        if self._acknowledged < 0:
            self.register()
            return
        number, at, troubles = self._revision(), self._monotonic(), self._troubles()
        said = frozenset((vendor, trouble["state"]) for vendor, trouble in troubles.items())
        is_news = number != self._acknowledged or said != self._said
        if not is_news and at - self._said_at < SEEN_SECONDS:
            return
        with self._database.write() as tx:
            if number != self._acknowledged:
                workers.acknowledge(tx, self.id, number, self._database.now_ms(tx))
            known = workers.seen(tx, self.id, self._database.now(tx), troubles)
        if known:
            self._acknowledged, self._said, self._said_at = number, said, at
        else:
            self.register()

    def stop(self) -> None:
        """Be counted no longer; without a database the others will find this worker gone."""
        try:
            with self._database.write() as tx:
                workers.stopped(tx, self.id, self._database.now(tx))
        except LedgerUnavailable:
            log.warning("worker_stopped_unseen", worker=self.id)


class Workers:
    """All workers, seen from any process. `sleep` is for tests."""

    def __init__(self, database: Database, sleep: Callable[[float], None] = time.sleep) -> None:
        self._database, self._sleep = database, sleep

    def list(self) -> list[dict[str, Any]]:
        """Those not known to have stopped, oldest first: running, behind, or gone."""
        with self._database.read() as tx:
            return standing(self._database, tx)

    def acks(self, tx: Tx, number: int, changed_at_ms: int | None) -> Acks:
        """Who decides on revision `number` (made at `changed_at_ms`, if that is known) or a later one."""
        now = self._database.now(tx)
        rows = workers.running(tx, now - FORGET_SECONDS)
        alive = [row for row in rows if not _is_gone(row, now)]
        received = [row for row in alive if row.revision >= number]
        exact = [row.acknowledged_at_ms for row in received if row.revision == number]
        slowest = max(0, max(exact) - changed_at_ms) if exact and changed_at_ms is not None else None
        return Acks(len(alive), len(received), slowest, len(rows) - len(alive))

    def wait_for(self, number: int, changed_at_ms: int, seconds: float) -> Acks:
        """The same, after at most `seconds` for the stragglers."""
        left = round(seconds / POLL_SECONDS)
        while True:
            with self._database.read() as tx:
                acks = self.acks(tx, number, changed_at_ms)
            if acks.received == acks.expected or left <= 0:
                return acks
            self._sleep(POLL_SECONDS)
            left -= 1


def standing(database: Database, tx: Tx) -> list[dict[str, Any]]:
    """Each worker with its `state`: `gone` after GONE_SECONDS of silence, `behind` when it has not taken a revision for more
    than BEHIND_SECONDS, else `running`."""
    now, newest = database.now(tx), revision.current(tx)
    rows = workers.running(tx, now - FORGET_SECONDS)
    missed = audit.made_at(tx, {row.revision + 1 for row in rows if row.revision < newest})
    return [_worker_json(row, now, newest, missed.get(row.revision + 1)) for row in rows]


def _is_gone(row: WorkerRow, now: int) -> bool:
    return now - row.seen_at > GONE_SECONDS


def _worker_json(row: WorkerRow, now: int, newest: int, missed_at: int | None) -> dict[str, Any]:
    """`missed_at`: when the first revision was made that it has not taken."""
    behind = 0 if missed_at is None else max(0, now - missed_at)
    state = "behind" if behind > BEHIND_SECONDS else "running"
    return {
        "id": row.id,
        "host": row.host,
        "pid": row.pid,
        "state": "gone" if _is_gone(row, now) else state,
        "revision": row.revision,
        "behind_by": max(0, newest - row.revision),
        "behind_seconds": behind,
        "breakers": row.breakers or {},
        "started_at": rfc3339(row.started_at),
        "seen_at": rfc3339(row.seen_at),
    }
