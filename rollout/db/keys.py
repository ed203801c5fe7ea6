"""Rows of API keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from rollout.core.tenants import Key
from rollout.db.engine import Tx
from rollout.db.tables import api_key


def get(tx: Tx, tenant_id: str, key_id: str) -> Key | None:
    query = sa.select(api_key).where(api_key.c.tenant_id == tenant_id, api_key.c.id == key_id)
    row = tx.execute(query).mappings().one_or_none()
    return _key(row) if row else None


def owner(tx: Tx, key_id: str) -> str | None:
    """The tenant that has this key; looks through all keys, of which a tenant has a few."""
    return tx.execute(sa.select(api_key.c.tenant_id).where(api_key.c.id == key_id)).scalar()


def page(tx: Tx, tenant_id: str, *, after: str | None, limit: int, usable_at: int | None = None) -> list[Key]:
    """One tenant's keys in order of id, beginning after `after`; `usable_at`: only those that open something then."""
    query = sa.select(api_key).where(api_key.c.tenant_id == tenant_id).order_by(api_key.c.id).limit(limit)
    if after is not None:
        query = query.where(api_key.c.id > after)
    if usable_at is not None:
        lasts = api_key.c.expires_at.is_(None) | (api_key.c.expires_at > usable_at)
        query = query.where(api_key.c.revoked_at.is_(None), lasts)
    return [_key(row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: Key) -> None:
    tx.execute(sa.insert(api_key).values(_values(new)))


def put(tx: Tx, changed: Key) -> None:
    which = sa.and_(api_key.c.tenant_id == changed.tenant_id, api_key.c.id == changed.id)
    tx.execute(sa.update(api_key).where(which).values(_values(changed)))


def _values(value: Key) -> dict[str, Any]:
    return {**asdict(value), "scopes": list(value.scopes)}


def _key(row: sa.RowMapping) -> Key:
    return Key(**{**row, "scopes": tuple(row["scopes"])})
