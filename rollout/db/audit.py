"""Rows of the audit chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from rollout.core.audit import Entry
from rollout.db.engine import Tx
from rollout.db.tables import audit


def last_seq(tx: Tx) -> int:
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(audit.c.seq), 0))).scalar_one())


def add(tx: Tx, entries: list[Entry]) -> None:
    tx.execute(sa.insert(audit), [{**asdict(entry), "hash": entry.hash()} for entry in entries])


def walk(tx: Tx) -> Iterator[tuple[Entry, str]]:
    """Every row in order, with the hash that was stored for it."""
    with tx.execute(sa.select(audit).order_by(audit.c.seq), execution_options={"yield_per": 1000}) as rows:
        for row in rows.mappings():
            values: dict[str, Any] = dict(row)
            stored = values.pop("hash")
            yield Entry(**values), stored


def page(
    tx: Tx, *, tenant: str | None, subject: str | None, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """Newest first; `before` is the `seq` to continue from."""
    query = sa.select(audit).order_by(audit.c.seq.desc()).limit(limit)
    if tenant is not None:
        query = query.where(audit.c.tenant_id == tenant)
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    if before is not None:
        query = query.where(audit.c.seq < before)
    return [dict(row) for row in tx.execute(query).mappings()]


def touched_tenants(tx: Tx, since: int) -> set[str]:
    """Tenants whose facts changed in revisions after `since`; a change that touches everyone names nobody."""
    rows = tx.execute(
        sa.select(audit.c.tenant_id)
        .where(audit.c.revision > since, audit.c.tenant_id.is_not(None))
        .distinct()
    )
    return set(rows.scalars())
