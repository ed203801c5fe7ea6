"""Rows of analyses."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from rollout.core.uses import Analysis
from rollout.db.engine import Tx
from rollout.db.tables import analysis


def add(tx: Tx, new: Analysis) -> None:
    tx.execute(sa.insert(analysis).values(dataclasses.asdict(new)))


def find(tx: Tx, analysis_id: str) -> Analysis | None:
    """Of any tenant, for admins."""
    return _one(tx, analysis.c.id == analysis_id)


def is_of(tx: Tx, tenant_id: str, analysis_id: str) -> bool:
    """Whether the tenant made it."""
    found = find(tx, analysis_id)
    return found is not None and found.tenant_id == tenant_id


def of_hold(tx: Tx, tenant_id: str, hold_id: str) -> Analysis | None:
    return _one(tx, analysis.c.tenant_id == tenant_id, analysis.c.hold_id == hold_id)


def _one(tx: Tx, *which: sa.ColumnElement[bool]) -> Analysis | None:
    row = tx.execute(sa.select(analysis).where(*which)).mappings().one_or_none()
    return Analysis(**row) if row else None
