"""Rows of guardrail events: what vendors refused for its content."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from rollout.core.guardrails import GuardrailEvent, Wanted
from rollout.db.engine import Tx
from rollout.db.tables import guardrail_event


def add(tx: Tx, new: GuardrailEvent) -> None:
    tx.execute(sa.insert(guardrail_event).values(asdict(new)))


def of_use(tx: Tx, tenant_id: str, use_id: str) -> GuardrailEvent | None:
    query = sa.select(guardrail_event).where(
        guardrail_event.c.tenant_id == tenant_id, guardrail_event.c.use_id == use_id
    )
    row = tx.execute(query).mappings().first()
    return GuardrailEvent(**row) if row else None


def page(tx: Tx, wanted: Wanted, *, before: str | None, limit: int) -> list[GuardrailEvent]:
    """Newest first; `before` is the id to continue from."""
    event, asked = guardrail_event.c, (wanted.tenant, wanted.category, wanted.source, wanted.feature)
    columns = (event.tenant_id, event.category, event.source, event.feature)
    query = sa.select(guardrail_event).order_by(event.id.desc()).limit(limit)
    query = query.where(*(column == value for column, value in zip(columns, asked, strict=True) if value))
    if wanted.since is not None:
        query = query.where(event.at >= wanted.since)
    if before is not None:
        query = query.where(event.id < before)
    return [GuardrailEvent(**row) for row in tx.execute(query).mappings()]


def forget(tx: Tx, made_before: int, limit: int) -> int:
    """Remove at most `limit` of those older than that, the oldest first; how many it were."""
    event = guardrail_event.c
    old = sa.select(event.tenant_id, event.id).where(event.at < made_before).order_by(event.id).limit(limit)
    gone = sa.delete(guardrail_event).where(sa.tuple_(event.tenant_id, event.id).in_(old))
    return tx.execute(gone).rowcount
