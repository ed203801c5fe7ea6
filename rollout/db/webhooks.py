"""Rows of webhooks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from rollout.core.webhooks import Webhook
from rollout.db.driver import run, select_many
from rollout.db.engine import Tx
from rollout.db.tables import webhook

_COLUMNS = tuple(column.name for column in webhook.columns)


def of(tx: Tx, tenant_ids: Collection[str]) -> list[Webhook]:
    """All webhooks of these tenants: they are few."""
    these = [(tenant_id,) for tenant_id in tenant_ids]
    (rows,) = run(tx, select_many(tx, webhook, _COLUMNS, ("tenant_id",), these))
    return [_webhook(dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def get(tx: Tx, webhook_id: str) -> Webhook | None:
    row = tx.execute(sa.select(webhook).where(webhook.c.id == webhook_id)).mappings().one_or_none()
    return _webhook(row) if row else None


def page(tx: Tx, *, tenant: str | None, before: str | None, limit: int) -> list[Webhook]:
    """Newest first, of one tenant or all; `before` is the id to continue from."""
    query = sa.select(webhook).order_by(webhook.c.id.desc()).limit(limit)
    if tenant is not None:
        query = query.where(webhook.c.tenant_id == tenant)
    if before is not None:
        query = query.where(webhook.c.id < before)
    return [_webhook(row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: Webhook) -> None:
    tx.execute(sa.insert(webhook).values(_values(new)))


def put(tx: Tx, changed: Webhook) -> None:
    tx.execute(sa.update(webhook).where(*_this(changed)).values(_values(changed)))


def remove(tx: Tx, gone: Webhook) -> None:
    tx.execute(sa.delete(webhook).where(*_this(gone)))


def _this(one: Webhook) -> tuple[sa.ColumnElement[bool], ...]:
    return webhook.c.tenant_id == one.tenant_id, webhook.c.id == one.id


def _values(one: Webhook) -> dict[str, Any]:
    return vars(one) | {"types": list(one.types)}


def _webhook(row: Mapping[str, Any] | sa.RowMapping) -> Webhook:
    return Webhook(**{**row, "types": tuple(row["types"])})
