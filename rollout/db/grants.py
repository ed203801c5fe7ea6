"""Rows of grants: at most one for a tenant and a feature."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from rollout.core.grants import Grant
from rollout.db.engine import Tx
from rollout.db.tables import grant


def get(tx: Tx, grant_id: str) -> Grant | None:
    return _one(tx, grant.c.id == grant_id)


def of(tx: Tx, tenant_id: str, feature: str) -> Grant | None:
    """The tenant's grant of the feature, in whatever state."""
    return _one(tx, sa.and_(grant.c.tenant_id == tenant_id, grant.c.feature == feature))


def page(tx: Tx, *, tenant: str | None, feature: str | None, before: str | None, limit: int) -> list[Grant]:
    """Newest first; `before` is the id to continue from."""
    query = sa.select(grant).order_by(grant.c.id.desc()).limit(limit)
    if tenant is not None:
        query = query.where(grant.c.tenant_id == tenant)
    if feature is not None:
        query = query.where(grant.c.feature == feature)
    if before is not None:
        query = query.where(grant.c.id < before)
    return [Grant(**row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: Grant) -> None:
    tx.execute(sa.insert(grant).values(asdict(new)))


def put(tx: Tx, changed: Grant) -> None:
    """Overwrite the tenant's grant of that feature, its id too."""
    which = sa.and_(grant.c.tenant_id == changed.tenant_id, grant.c.feature == changed.feature)
    tx.execute(sa.update(grant).where(which).values(asdict(changed)))


def _one(tx: Tx, which: sa.ColumnElement[bool]) -> Grant | None:
    row = tx.execute(sa.select(grant).where(which)).mappings().one_or_none()
    return Grant(**row) if row else None
