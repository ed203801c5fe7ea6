"""Rows of verifications."""

from __future__ import annotations

import sqlalchemy as sa

from rollout.core.verifications import Verification
from rollout.db.engine import Tx
from rollout.db.tables import verification


def add(tx: Tx, new: Verification) -> None:
    tx.execute(sa.insert(verification).values(vars(new) | {"wrong": list(new.wrong)}))


def page(tx: Tx, *, before: str | None = None, limit: int) -> list[Verification]:
    """Newest first; `before` is the id to continue from."""
    query = sa.select(verification).order_by(verification.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(verification.c.id < before)
    rows = tx.execute(query).mappings()
    return [Verification(**{**row, "wrong": tuple(row["wrong"])}) for row in rows]
