"""Rows of generations."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from rollout.core.uses import Generation
from rollout.db.engine import Tx
from rollout.db.tables import generation


def add(tx: Tx, new: Generation) -> None:
    tx.execute(sa.insert(generation).values(dataclasses.asdict(new)))


def get(tx: Tx, tenant_id: str, generation_id: str) -> Generation | None:
    query = sa.select(generation).where(generation.c.tenant_id == tenant_id, generation.c.id == generation_id)
    row = tx.execute(query).mappings().one_or_none()
    return Generation(**row) if row else None
