"""Rows of segments."""

from __future__ import annotations

import sqlalchemy as sa

from rollout.core.segments import MAX_ID, Segment
from rollout.db.engine import Tx
from rollout.db.tables import segment


def get(tx: Tx, segment_id: int) -> Segment | None:
    if segment_id > MAX_ID:
        return None
    row = tx.execute(sa.select(segment).where(segment.c.id == segment_id)).mappings().one_or_none()
    return Segment(**row) if row else None


def all_(tx: Tx) -> list[Segment]:
    """In order of number."""
    return [Segment(**row) for row in tx.execute(sa.select(segment).order_by(segment.c.id)).mappings()]


def page(tx: Tx, *, after: int | None, limit: int) -> list[Segment]:
    """In order of number, beginning after `after`."""
    query = sa.select(segment).order_by(segment.c.id).limit(limit)
    if after is not None:
        query = query.where(segment.c.id > after)
    return [Segment(**row) for row in tx.execute(query).mappings()]


def named(tx: Tx, name: str) -> Segment | None:
    """The first of this name: imported ones may share it."""
    query = sa.select(segment).where(segment.c.name == name).order_by(segment.c.id).limit(1)
    row = tx.execute(query).mappings().one_or_none()
    return Segment(**row) if row else None


def add(tx: Tx, new: Segment) -> None:
    tx.execute(sa.insert(segment).values(vars(new)))


def put(tx: Tx, changed: Segment) -> None:
    tx.execute(sa.update(segment).where(segment.c.id == changed.id).values(vars(changed)))


def remove(tx: Tx, gone: Segment) -> None:
    tx.execute(sa.delete(segment).where(segment.c.id == gone.id))
