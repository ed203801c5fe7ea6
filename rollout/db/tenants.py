"""Rows of tenants."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from rollout.core.tenants import Tenant
from rollout.db.engine import Tx
from rollout.db.tables import tenant


def get(tx: Tx, tenant_id: str) -> Tenant | None:
    row = tx.execute(sa.select(tenant).where(tenant.c.id == tenant_id)).mappings().one_or_none()
    return _tenant(row) if row else None


def among(tx: Tx, ids: Collection[str]) -> set[str]:
    """Those of `ids` that tenants have."""
    return set(tx.execute(sa.select(tenant.c.id).where(tenant.c.id.in_(ids))).scalars())


def page(
    tx: Tx, *, after: str | None, limit: int, search: str | None = None, state: str | None = None
) -> list[Tenant]:
    """In order of id, beginning after `after`; `search`: how the id begins, or any part of the name."""
    query = sa.select(tenant).order_by(tenant.c.id).limit(limit)
    if after is not None:
        query = query.where(tenant.c.id > after)
    if search:
        by_id = tenant.c.id.startswith(search.lower(), autoescape=True)
        query = query.where(by_id | tenant.c.name.icontains(search, autoescape=True))
    if state is not None:
        query = query.where(tenant.c.state == state)
    return [_tenant(row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: Tenant) -> None:
    tx.execute(sa.insert(tenant).values(_values(new)))


def put(tx: Tx, changed: Tenant) -> None:
    tx.execute(sa.update(tenant).where(tenant.c.id == changed.id).values(_values(changed)))


def _values(value: Tenant) -> dict[str, Any]:
    return {
        "id": value.id,
        "name": value.name,
        "tz": value.tz,
        "state": value.state,
        "attributes": dict(value.attributes),
        "vendors": None if value.vendors is None else list(value.vendors),
        "retired_models": value.retired_models,
        "thinking_budgets": value.thinking_budgets,
        "version": value.version,
        "created_at": value.created_at,
    }


def _tenant(row: sa.RowMapping) -> Tenant:
    return Tenant(**row)
