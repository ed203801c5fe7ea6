"""Rows of feedback, and the generation that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from rollout.core.feedback import FeedbackItem, InboxItem, Opinion, Wanted
from rollout.db.engine import Tx
from rollout.db.tables import feedback, generation, image

MANY = 100
"""Others on the same generation are counted up to this."""

_ABOUT = ("prompt", "request_id", "requested_model", "picture", "picture_until", "others")


@dataclass(frozen=True)
class Exposure:
    """What a generation was made with: what its feedback is credited to."""

    feature: str
    phase: str | None
    run: int | None
    vendor: str
    model: str


def exposure(tx: Tx, tenant_id: str, generation_id: str, *, lock: bool) -> Exposure | None:
    """`lock`: until the transaction ends, so that what is said about the generation is written in turn."""
    made = generation.c
    query = sa.select(made.feature, made.phase, made.run, made.vendor, made.model)
    query = query.where(made.tenant_id == tenant_id, made.id == generation_id)
    row = tx.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return Exposure(**row) if row else None


def of(
    tx: Tx, tenant_id: str, generation_id: str, end_user: str, *, lock: bool = False
) -> FeedbackItem | None:
    """What this end user said about this generation. `lock`: nobody else changes it until the transaction ends."""
    mine = (
        feedback.c.tenant_id == tenant_id,
        feedback.c.generation_id == generation_id,
        feedback.c.end_user == end_user,
    )
    return _one(tx, sa.select(feedback).where(*mine), lock)


def get(tx: Tx, feedback_id: str, *, tenant: str | None = None, lock: bool = False) -> FeedbackItem | None:
    """`tenant` None: of any tenant, for admins. `lock` as above."""
    query = sa.select(feedback).where(feedback.c.id == feedback_id)
    if tenant is not None:
        query = query.where(feedback.c.tenant_id == tenant)
    return _one(tx, query, lock)


def locked(tx: Tx, ids: Sequence[str]) -> dict[str, FeedbackItem]:
    """Those that there are, by id, locked until the transaction ends; in order of id, so that two cannot wait for each other."""
    query = sa.select(feedback).where(feedback.c.id.in_(ids)).order_by(feedback.c.id).with_for_update()
    return {row["id"]: _feedback(dict(row)) for row in tx.execute(query).mappings()}


def page(tx: Tx, wanted: Wanted, *, before: str | None, limit: int) -> list[FeedbackItem]:
    """Newest first; `before` is the id to continue from."""
    return [_feedback(dict(row)) for row in tx.execute(_newest(wanted, before, limit)).mappings()]


def inbox(
    tx: Tx, wanted: Wanted, *, before: str | None, limit: int, now: int, only: str | None = None
) -> list[InboxItem]:
    """A page with what each item is about, or `only` the item with this id."""
    newest = _newest(wanted, before, limit)
    said = (newest if only is None else newest.where(feedback.c.id == only)).subquery("said")
    made = (generation.c.tenant_id == said.c.tenant_id) & (generation.c.id == said.c.generation_id)
    first = (
        (image.c.tenant_id == said.c.tenant_id)
        & (image.c.generation_id == said.c.generation_id)
        & (image.c.position == 0)
        & (image.c.expires_at > now)
    )
    about = (generation.c.prompt, generation.c.request_id, generation.c.requested_model)
    picture = (image.c.id.label("picture"), image.c.expires_at.label("picture_until"))
    query = (
        sa.select(said, *about, *picture, _others(said).label("others"))
        .select_from(said.outerjoin(generation, made).outerjoin(image, first))
        .order_by(said.c.id.desc())
    )
    return [_inbox_item(dict(row)) for row in tx.execute(query).mappings()]


def neighbours(tx: Tx, wanted: Wanted, feedback_id: str) -> tuple[str | None, str | None]:
    """The ids of the next newer and the next older item, where there is one."""
    ids = sa.select(feedback.c.id).where(*_equals(wanted)).limit(1)
    newer = ids.where(feedback.c.id > feedback_id).order_by(feedback.c.id)
    older = ids.where(feedback.c.id < feedback_id).order_by(feedback.c.id.desc())
    return tx.execute(newer).scalar(), tx.execute(older).scalar()


def add(tx: Tx, new: FeedbackItem) -> None:
    tx.execute(sa.insert(feedback).values(_values(new)))


def put(tx: Tx, changed: FeedbackItem) -> None:
    mine = (feedback.c.tenant_id == changed.tenant_id, feedback.c.id == changed.id)
    tx.execute(sa.update(feedback).where(*mine).values(_values(changed)))


def _newest(wanted: Wanted, before: str | None, limit: int) -> sa.Select[Any]:
    query = sa.select(feedback).where(*_equals(wanted)).order_by(feedback.c.id.desc()).limit(limit)
    return query if before is None else query.where(feedback.c.id < before)


def _equals(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    columns = {
        feedback.c.tenant_id: wanted.tenant,
        feedback.c.generation_id: wanted.generation,
        feedback.c.end_user: wanted.end_user,
        feedback.c.state: wanted.state,
        feedback.c.rating: wanted.rating,
        feedback.c.feature: wanted.feature,
        feedback.c.phase: wanted.phase,
        feedback.c.vendor: wanted.vendor,
        feedback.c.model: wanted.model,
    }
    return [column == value for column, value in columns.items() if value is not None]


def _others(said: sa.Subquery) -> sa.ScalarSelect[int]:
    other = feedback.alias("other")
    same = (other.c.tenant_id == said.c.tenant_id) & (other.c.generation_id == said.c.generation_id)
    some = sa.select(other.c.id).where(same, other.c.id != said.c.id).limit(MANY).correlate(said).subquery()
    return sa.select(sa.func.count()).select_from(some).scalar_subquery()


def _one(tx: Tx, query: sa.Select[Any], lock: bool) -> FeedbackItem | None:
    row = tx.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return _feedback(dict(row)) if row else None


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


def _inbox_item(fields: dict[str, Any]) -> InboxItem:
    about = {name: fields.pop(name) for name in _ABOUT}
    return InboxItem(_feedback(fields), **about)


def _feedback(fields: dict[str, Any]) -> FeedbackItem:
    said = Opinion(fields.pop("rating"), tuple(fields.pop("reasons")), fields.pop("comment"))
    return FeedbackItem(opinion=said, **fields)
