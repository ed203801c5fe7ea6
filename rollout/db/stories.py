"""What the story of a request adds to the rows of other nouns: its entries as they count, who held a full window, who corrected it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields

import sqlalchemy as sa

from rollout.core.adjustments import Adjustment
from rollout.core.bills import Booked
from rollout.core.holds import Entry
from rollout.core.meters import PLATFORM, BucketKey
from rollout.db.engine import Tx
from rollout.db.tables import adjustment, bucket, entry, meter

_WINDOW = ("tenant_id", "meter_id", "subject", "start")


def booked(tx: Tx, tenant_id: str, hold_id: str) -> list[Booked]:
    """The hold's entries in order of time, in the windows of those who share a meter too."""
    later = entry.alias()
    in_order = sa.or_(later.c.hold_id.is_(None), later.c.id > entry.c.id)
    is_later = sa.and_(later.c.at >= entry.c.at, sa.or_(later.c.at > entry.c.at, in_order))
    in_window = [later.c[name] == entry.c[name] for name in _WINDOW]
    since = sa.select(sa.func.coalesce(sa.func.sum(later.c.d_used), 0)).where(*in_window, is_later)
    of_meter = sa.and_(meter.c.tenant_id == entry.c.tenant_id, meter.c.id == entry.c.meter_id)
    columns = [entry.c[name] for name in Entry._fields]
    used = (bucket.c.used - since.scalar_subquery()).label("used")
    query = (
        sa.select(*columns, meter.c.name, meter.c.level, meter.c.unit, bucket.c.ends, used)
        .join_from(entry, bucket, sa.and_(*(bucket.c[name] == entry.c[name] for name in _WINDOW)))
        .join(meter, of_meter)
        .where(entry.c.tenant_id.in_((tenant_id, PLATFORM)), entry.c.hold_id == hold_id)
        .order_by(entry.c.at, entry.c.id)
    )
    many = len(columns)
    return [
        Booked(Entry(*row[:many]), row.name, row.level, row.unit, row.ends, int(row.used))
        for row in tx.execute(query)
    ]


def holding(tx: Tx, key: BucketKey, at: int, limit: int) -> list[tuple[str, int]]:
    """(hold_id, amount) of those that held something of the window in that second, the largest first."""
    given_back_before = sa.and_(entry.c.d_held < 0, entry.c.at < at)
    held = sa.func.sum(sa.case((sa.or_(entry.c.d_held > 0, given_back_before), entry.c.d_held), else_=0))
    query = (
        sa.select(entry.c.hold_id, held)
        .where(
            *(entry.c[name] == value for name, value in zip(_WINDOW, key, strict=True)),
            entry.c.hold_id.is_not(None),
            entry.c.at <= at,
        )
        .group_by(entry.c.hold_id)
        .having(held > 0)
        .order_by(held.desc(), entry.c.hold_id)
        .limit(limit)
    )
    return [(row[0], int(row[1])) for row in tx.execute(query)]


def corrections(tx: Tx, tenant_id: str, named: Collection[str], limit: int) -> list[Adjustment]:
    """The tenant's adjustments whose reasons name one of these, oldest first."""
    names = [adjustment.c.reason.contains(name, autoescape=True) for name in named]
    columns = (adjustment.c[field.name] for field in fields(Adjustment))
    query = sa.select(*columns).where(adjustment.c.tenant_id == tenant_id, sa.or_(*names))
    rows = tx.execute(query.order_by(adjustment.c.id).limit(limit)).mappings()
    return [Adjustment(**row) for row in rows]
