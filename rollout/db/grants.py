"""Rows of grants: at most one for a tenant and a feature."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from rollout.core.grants import Grant, GrantState
from rollout.db.engine import Tx
from rollout.db.tables import grant


def get(tx: Tx, grant_id: str) -> Grant | None:
    return _one(tx, grant.c.id == grant_id)


def of(tx: Tx, tenant_id: str, feature: str) -> Grant | None:
    """The tenant's grant of the feature, in whatever state."""
    return _one(tx, sa.and_(grant.c.tenant_id == tenant_id, grant.c.feature == feature))


def page(
    tx: Tx,
    *,
    tenant: str | None,
    feature: str | None,
    state: GrantState | None,
    now: int,
    before: str | None,
    limit: int,
) -> list[Grant]:
    """Newest first; `state` as it is at `now`; `before` is the id to continue from."""
    query = sa.select(grant).order_by(grant.c.id.desc()).limit(limit)
    if tenant is not None:
        query = query.where(grant.c.tenant_id == tenant)
    if feature is not None:
        query = query.where(grant.c.feature == feature)
    if state is not None:
        query = query.where(_is(state, now))
    if before is not None:
        query = query.where(grant.c.id < before)
    return [Grant(**row) for row in tx.execute(query).mappings()]


def over(tx: Tx, now: int, limit: int) -> list[Grant]:
    """Those that time has ended and nobody has written down, the longest ago first."""
    query = sa.select(grant).where(grant.c.state == "active", grant.c.expires_at <= now)
    found = tx.execute(query.order_by(grant.c.expires_at, grant.c.id).limit(limit)).mappings()
    return [Grant(**row) for row in found]


def add(tx: Tx, new: Grant) -> None:
    tx.execute(sa.insert(grant).values(asdict(new)))


def put(tx: Tx, changed: Grant) -> None:
    """Overwrite the tenant's grant of that feature, its id too."""
    which = sa.and_(grant.c.tenant_id == changed.tenant_id, grant.c.feature == changed.feature)
    tx.execute(sa.update(grant).where(which).values(asdict(changed)))


def _is(state: GrantState, now: int) -> sa.ColumnElement[bool]:
    """The condition of `core.grants.as_of`: time ends a grant before anybody writes it down."""
    written = grant.c.state == state
    if state == "revoked":
        return written
    is_over = grant.c.expires_at.is_not(None) & (grant.c.expires_at <= now)
    return written & ~is_over if state == "active" else written | (grant.c.state == "active") & is_over


def _one(tx: Tx, which: sa.ColumnElement[bool]) -> Grant | None:
    row = tx.execute(sa.select(grant).where(which)).mappings().one_or_none()
    return Grant(**row) if row else None
