"""Rows of refusals: a tenant's calls that were answered by an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from rollout.core.refusals import Refusal
from rollout.db.engine import Tx, insert_missing
from rollout.db.tables import refusal

_NEWEST_FIRST = (refusal.c.at.desc(), refusal.c.request_id.desc())


@dataclass(frozen=True)
class Group:
    """How many refusals a route gave by one code and status, and when the last one was (UTC epoch seconds)."""

    code: str
    status: int
    route: str
    count: int
    last_at: int


def add(tx: Tx, new: Sequence[Refusal]) -> None:
    """Write those that are not there yet, so that a batch may be written again."""
    insert_missing(tx, refusal, [asdict(one) for one in new])


def of_request(tx: Tx, request_id: str) -> Refusal | None:
    row = tx.execute(sa.select(refusal).where(refusal.c.request_id == request_id)).mappings().first()
    return Refusal(**row) if row else None


def page(
    tx: Tx, *, tenant: str | None, code: str | None, since: int | None, before: Refusal | None, limit: int
) -> list[Refusal]:
    """Newest first, from behind `before`; `since` in UTC epoch seconds."""
    query = sa.select(refusal).order_by(*_NEWEST_FIRST).limit(limit)
    if tenant is not None:
        query = query.where(refusal.c.tenant_id == tenant)
    if code is not None:
        query = query.where(refusal.c.code == code)
    if since is not None:
        query = query.where(refusal.c.at >= since)
    if before is not None:
        older = (refusal.c.at < before.at) | (refusal.c.request_id < before.request_id)
        query = query.where(refusal.c.at <= before.at, older)
    return [Refusal(**row) for row in tx.execute(query).mappings()]


def groups(tx: Tx, since: int, newest: int) -> tuple[list[Group], int]:
    """The `newest` refusals since then by code and route, the most frequent first; and since when they count."""
    counted = (
        sa.select(refusal.c.code, refusal.c.status, refusal.c.route, refusal.c.at)
        .where(refusal.c.at >= since)
        .order_by(refusal.c.at.desc())
        .limit(newest)
        .subquery()
    )
    kind, count = (counted.c.code, counted.c.status, counted.c.route), sa.func.count()
    query = (
        sa.select(
            *kind,
            count.label("many"),
            sa.func.max(counted.c.at).label("last_at"),
            sa.func.min(counted.c.at).label("first_at"),
        )
        .group_by(*kind)
        .order_by(count.desc(), *kind)
    )
    rows = tx.execute(query).all()
    found = [Group(row.code, row.status, row.route, row.many, row.last_at) for row in rows]
    all_counted = sum(group.count for group in found) < newest
    return found, since if all_counted else min(row.first_at for row in rows)


def forget(tx: Tx, made_before: int, limit: int) -> int:
    """Remove about `limit` of those made before then, the oldest first; how many it were."""
    oldest = sa.select(refusal.c.at).where(refusal.c.at < made_before).order_by(refusal.c.at).limit(limit)
    moments = tx.execute(oldest).scalars().all()
    if not moments:
        return 0
    return tx.execute(sa.delete(refusal).where(refusal.c.at <= moments[-1])).rowcount
