"""Rows of generations."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

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


def ids_of_holds(tx: Tx, keys: Collection[tuple[str, str]]) -> dict[str, str]:
    """By hold's id, of those holds (tenant_id, id) that are a generation's."""
    these = (
        generation.c.tenant_id.in_(sorted({tenant_id for tenant_id, _ in keys})),
        generation.c.hold_id.in_(sorted(hold_id for _, hold_id in keys)),
    )
    rows = tx.execute(sa.select(generation.c.hold_id, generation.c.id).where(*these)) if keys else ()
    return {row.hold_id: row.id for row in rows}


def _one(tx: Tx, *which: sa.ColumnElement[bool]) -> Generation | None:
    row = tx.execute(sa.select(generation).where(*which)).mappings().one_or_none()
    return Generation(**row) if row else None
