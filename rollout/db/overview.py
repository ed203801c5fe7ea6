"""What happened lately and what is open, over all tenants: each answer comes from an index and looks at a bounded number of rows."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from rollout.core.decisions import FEATURES
from rollout.core.figures import Thumbs
from rollout.core.grants import AccessRequest
from rollout.core.holds import OPEN
from rollout.core.meters import Limit, limit_of
from rollout.core.overview import FULL_PERCENT, Asked, Calls, Doubt
from rollout.db import meters
from rollout.db.engine import Tx
from rollout.db.tables import access_request, api_key, bucket, feedback, hold, meter, refusal

COUNTED = 50_000
"""So many of the newest calls, refusals and ratings are counted."""

COUNTED_OPEN = 10_000

HOUR = 3600


def calls(tx: Tx, since: int) -> tuple[int, list[tuple[int, str, Calls]]]:
    """(hour's number from `since` on, feature, calls) by live keys; and since when they were counted: `since`, or later."""
    lately = sa.select(hold.c.created_at).where(hold.c.created_at >= since).order_by(hold.c.created_at.desc())
    last = tx.execute(lately.offset(COUNTED).limit(1)).scalar()
    counted_since = since if last is None else last + 1
    age = hold.c.created_at - since
    hour = (age - age % HOUR).label("hour")
    pictures = sa.func.coalesce(hold.c.usage["images"].as_integer(), 0)
    rehearsing = sa.select(api_key.c.id).where(api_key.c.mode == "test")
    query = (
        sa.select(
            hour,
            hold.c.feature,
            hold.c.state,
            sa.func.count().label("calls"),
            sa.func.sum(pictures).label("pictures"),
            sa.func.sum(hold.c.cost_usd_micro).label("cost"),
        )
        .where(hold.c.created_at >= counted_since, hold.c.api_key_id.not_in(rehearsing))
        .group_by(hour, hold.c.feature, hold.c.state)
    )
    return counted_since, [(row.hour // HOUR, row.feature, _calls(row)) for row in tx.execute(query)]


def refused(tx: Tx, since: int) -> list[tuple[str, int]]:
    """Refusals by code, the most frequent first."""
    newest = sa.select(refusal.c.code).where(refusal.c.at >= since).order_by(refusal.c.at.desc())
    counted, count = newest.limit(COUNTED).subquery(), sa.func.count()
    query = sa.select(counted.c.code, count).group_by(counted.c.code).order_by(count.desc(), counted.c.code)
    return [(row[0], row[1]) for row in tx.execute(query)]


def ratings(tx: Tx, first_id: str, end_id: str) -> Thumbs:
    """Of feedback with ids from `first_id` up to `end_id`; what does not count elsewhere does not here."""
    newest = (
        sa.select(feedback.c.rating)
        .where(feedback.c.id >= first_id, feedback.c.id < end_id)
        .where(feedback.c.state.not_in(("spam", "withdrawn")))
        .order_by(feedback.c.id.desc())
        .limit(COUNTED)
        .subquery()
    )
    query = sa.select(newest.c.rating, sa.func.count()).group_by(newest.c.rating)
    return Thumbs(**{row[0]: row[1] for row in tx.execute(query)})


def open_and_bad(tx: Tx) -> int:
    """Thumbs down that nobody has looked into."""
    newest = sa.select(feedback.c.rating).where(feedback.c.state == "open").order_by(feedback.c.id.desc())
    some = newest.limit(COUNTED_OPEN).subquery()
    return int(tx.execute(sa.select(sa.func.count()).where(some.c.rating == "down")).scalar_one())


def asked(tx: Tx) -> Asked | None:
    """A tenant has at most one waiting request for a feature."""
    waiting = (access_request.c.feature.in_(FEATURES), access_request.c.state == "waiting")
    count, oldest = tx.execute(
        sa.select(sa.func.count(), sa.func.min(access_request.c.id)).where(*waiting)
    ).one()
    if not count:
        return None
    row = tx.execute(sa.select(access_request).where(access_request.c.id == oldest)).mappings().one()
    return Asked(count, AccessRequest(**row))


def fullest(tx: Tx, now: int, limit: int) -> list[Limit]:
    """Hard limits that waiting a minute does not help, the fullest first; only windows of now are looked at.

    One that each key or each end user has is theirs to wait for. A cap that was planned may have come since its window was written.
    """
    taken = bucket.c.used + bucket.c.held
    query = (
        sa.select(
            *meters.METER,
            *(column.label(f"bucket_{column.name}") for column in meters.BUCKET),
        )
        .join_from(
            bucket, meter, (meter.c.tenant_id == bucket.c.tenant_id) & (meter.c.id == bucket.c.meter_id)
        )
        .where(
            bucket.c.ends.is_(None) | (bucket.c.ends > now),
            bucket.c.start <= now,
            bucket.c.cap > 0,
            taken * 100 > bucket.c.cap * FULL_PERCENT,
            meter.c.hard,
            (bucket.c.subject == "") | meter.c.subject.is_not(None),
            meter.c.archived_at.is_(None),
            meter.c.period.in_(("day", "month", "life")),
        )
        .order_by((taken * 1.0 / bucket.c.cap).desc(), meter.c.id)
        .limit(limit)
    )
    found = [_limit(row, now) for row in tx.execute(query).mappings()]
    return [one for one in found if 0 < one.cap * FULL_PERCENT < (one.used + one.held) * 100]


def doubt(tx: Tx, *, of: Collection[str] | None = None, but: Collection[str] = ()) -> Doubt | None:
    """Unknown holds of the models `of` (all), without those of the models `but`."""
    query = sa.select(sa.func.count(), sa.func.sum(hold.c.cost_usd_micro), sa.func.min(hold.c.lease_until))
    query = query.where(hold.c.model.not_in(sorted(but)))
    if of is not None:
        query = query.where(hold.c.model.in_(sorted(of)))
    row = tx.execute(query.where(hold.c.lease_until.is_not(None), hold.c.state == "unknown")).one()
    return Doubt(row[0], int(row[1]), row[2]) if row[0] else None


def _calls(row: sa.Row[tuple[int, str, str, int, int, int]]) -> Calls:
    cost, is_settled = int(row.cost), row.state == "settled"
    return Calls(
        calls=row.calls if row.state != "void" else 0,
        failed=row.calls if row.state == "void" else 0,
        pictures=int(row.pictures) if is_settled else 0,
        cost_usd_micro=cost if is_settled else 0,
        pending_usd_micro=cost if row.state in OPEN else 0,
    )


def _limit(row: sa.RowMapping, now: int) -> Limit:
    window = meters.bucket_of([row[f"bucket_{column.name}"] for column in meters.BUCKET])
    return limit_of(meters.meter_of(row), window, now)
