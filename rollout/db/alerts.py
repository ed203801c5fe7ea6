"""Rows of alerts: one a threshold and window, ever."""

from __future__ import annotations

import sqlalchemy as sa

from rollout.core.alerts import Alert
from rollout.db.engine import Tx
from rollout.db.tables import alert


def add(tx: Tx, new: Alert) -> None:
    tx.execute(sa.insert(alert).values(new._asdict()))


def page(tx: Tx, *, tenant: str | None, since: int, limit: int) -> list[Alert]:
    """Newest first."""
    query = sa.select(alert).where(alert.c.at >= since).order_by(alert.c.at.desc()).limit(limit)
    if tenant is not None:
        query = query.where(alert.c.tenant_id == tenant)
    return [Alert(**row) for row in tx.execute(query).mappings()]
