"""Rows of worker processes: which revision each decides on, and when it was last heard of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from rollout.db.engine import Tx
from rollout.db.tables import worker


@dataclass(frozen=True)
class WorkerRow:
    """Times in UTC epoch seconds unless their name ends in `_ms`; `stopped_at` None: not known to have
    stopped. `breakers`: what is wrong with vendors, by vendor."""

    id: str
    host: str
    pid: int
    started_at: int
    seen_at: int
    revision: int
    acknowledged_at_ms: int
    breakers: Mapping[str, Any] | None = None
    stopped_at: int | None = None


def add(tx: Tx, new: WorkerRow) -> None:
    tx.execute(sa.insert(worker).values(asdict(new)))


def acknowledge(tx: Tx, worker_id: str, revision: int, now_ms: int) -> None:
    values = {"revision": revision, "acknowledged_at_ms": now_ms}
    tx.execute(sa.update(worker).where(worker.c.id == worker_id).values(values))


def seen(tx: Tx, worker_id: str, now: int, breakers: Mapping[str, Any]) -> bool:
    """False where the worker was forgotten meanwhile."""
    values = {"seen_at": now, "breakers": breakers or None}
    return tx.execute(sa.update(worker).where(worker.c.id == worker_id).values(values)).rowcount == 1


def stopped(tx: Tx, worker_id: str, now: int) -> None:
    tx.execute(sa.update(worker).where(worker.c.id == worker_id).values(seen_at=now, stopped_at=now))


def running(tx: Tx, unseen_since: int) -> list[WorkerRow]:
    """Those not known to have stopped, and heard of since then, oldest first."""
    query = sa.select(worker).where(worker.c.stopped_at.is_(None), worker.c.seen_at >= unseen_since)
    query = query.order_by(worker.c.started_at, worker.c.id)
    return [WorkerRow(**row) for row in tx.execute(query).mappings()]


def forget(tx: Tx, unseen_since: int) -> None:
    """Remove those not heard of since then."""
    tx.execute(sa.delete(worker).where(worker.c.seen_at < unseen_since))
