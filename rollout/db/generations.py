"""Rows of generations."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from rollout.core.uses import Generation
from rollout.db.engine import Tx
from rollout.db.tables import generation


def add(tx: Tx, new: Generation) -> None:
    tx.execute(sa.insert(generation).values(dataclasses.asdict(new)))


def find(tx: Tx, generation_id: str) -> Generation | None:
    """Of any tenant, for admins."""
    return _one(tx, generation.c.id == generation_id)


def of_hold(tx: Tx, tenant_id: str, hold_id: str) -> Generation | None:
    return _one(tx, generation.c.tenant_id == tenant_id, generation.c.hold_id == hold_id)


def _one(tx: Tx, *which: sa.ColumnElement[bool]) -> Generation | None:
    row = tx.execute(sa.select(generation).where(*which)).mappings().one_or_none()
    return Generation(**row) if row else None
