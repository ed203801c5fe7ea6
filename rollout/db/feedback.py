"""Rows of feedback, and the generation that it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from rollout.core.feedback import FeedbackItem, Opinion, Wanted
from rollout.db.engine import Tx
from rollout.db.tables import feedback, generation


@dataclass(frozen=True)
class Exposure:
    """What a generation was made with: what its feedback is credited to."""

    feature: str
    phase: str | None
    run: int | None
    vendor: str
    model: str


def exposure(tx: Tx, tenant_id: str, generation_id: str) -> Exposure | None:
    """Locks the generation until the transaction ends, so that what is said about it is written in turn."""
    made = generation.c
    query = sa.select(made.feature, made.phase, made.run, made.vendor, made.model)
    query = query.where(made.tenant_id == tenant_id, made.id == generation_id).with_for_update()
    row = tx.execute(query).mappings().one_or_none()
    return Exposure(**row) if row else None


def of(tx: Tx, tenant_id: str, generation_id: str, end_user: str) -> FeedbackItem | None:
    """What this end user said about this generation, locked until the transaction ends."""
    mine = (
        feedback.c.tenant_id == tenant_id,
        feedback.c.generation_id == generation_id,
        feedback.c.end_user == end_user,
    )
    return _one(tx, sa.select(feedback).where(*mine).with_for_update())


def get(tx: Tx, feedback_id: str, *, tenant: str | None = None, lock: bool = False) -> FeedbackItem | None:
    """`tenant` None: of any tenant, for admins. `lock`: nobody else changes it until the transaction ends."""
    query = sa.select(feedback).where(feedback.c.id == feedback_id)
    if tenant is not None:
        query = query.where(feedback.c.tenant_id == tenant)
    return _one(tx, query.with_for_update() if lock else query)


def page(tx: Tx, wanted: Wanted, *, before: str | None, limit: int) -> list[FeedbackItem]:
    """Newest first; `before` is the id to continue from."""
    equals = {
        feedback.c.tenant_id: wanted.tenant,
        feedback.c.generation_id: wanted.generation,
        feedback.c.state: wanted.state,
        feedback.c.rating: wanted.rating,
        feedback.c.phase: wanted.phase,
    }
    query = sa.select(feedback).order_by(feedback.c.id.desc()).limit(limit)
    query = query.where(*(column == value for column, value in equals.items() if value is not None))
    if before is not None:
        query = query.where(feedback.c.id < before)
    return [_feedback(row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: FeedbackItem) -> None:
    tx.execute(sa.insert(feedback).values(_values(new)))


def put(tx: Tx, changed: FeedbackItem) -> None:
    mine = (feedback.c.tenant_id == changed.tenant_id, feedback.c.id == changed.id)
    tx.execute(sa.update(feedback).where(*mine).values(_values(changed)))


def _one(tx: Tx, query: sa.Select[Any]) -> FeedbackItem | None:
    row = tx.execute(query).mappings().one_or_none()
    return _feedback(row) if row else None


def _values(value: FeedbackItem) -> dict[str, Any]:
    return {
        "tenant_id": value.tenant_id,
        "id": value.id,
        "generation_id": value.generation_id,
        "end_user": value.end_user,
        "rating": value.opinion.rating,
        "reasons": list(value.opinion.reasons),
        "comment": value.opinion.comment,
        "state": value.state,
        "feature": value.feature,
        "phase": value.phase,
        "run": value.run,
        "vendor": value.vendor,
        "model": value.model,
        "version": value.version,
        "created_at": value.created_at,
        "updated_at": value.updated_at,
    }


def _feedback(row: sa.RowMapping) -> FeedbackItem:
    fields: dict[str, Any] = dict(row)
    said = Opinion(fields.pop("rating"), tuple(fields.pop("reasons")), fields.pop("comment"))
    return FeedbackItem(opinion=said, **fields)
