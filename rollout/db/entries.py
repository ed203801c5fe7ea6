"""Rows of the ledger: written once, never changed. The sums that `verify` compares are made here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter

import sqlalchemy as sa

from rollout.core.holds import Entry
from rollout.core.meters import PLATFORM, BucketKey
from rollout.db import meters
from rollout.db.driver import Statement, insert_many
from rollout.db.engine import Tx
from rollout.db.tables import bucket, entry, hold, meter

_USED, _HELD = sa.func.sum(entry.c.d_used), sa.func.sum(entry.c.d_held)

_ROW = attrgetter(*(column.name for column in entry.columns))

LineKey = tuple[str, str, str, str, int]
"""(tenant_id, hold_id, meter_id, subject, start)"""


def added(tx: Tx, new: Sequence[Entry]) -> Statement:
    return insert_many(tx, entry, list(map(_ROW, new)))


def of_hold(tx: Tx, tenant_id: str, hold_id: str) -> list[Entry]:
    """In the order in which they were written, as far as their times tell."""
    query = sa.select(entry).where(entry.c.tenant_id.in_((tenant_id, PLATFORM)), entry.c.hold_id == hold_id)
    return [Entry(**row) for row in tx.execute(query.order_by(entry.c.at, entry.c.id)).mappings()]


def of_bucket(tx: Tx, key: BucketKey, holds: int) -> list[tuple[str, int, int, int]]:
    """(hold_id, time of the last entry, d_used, d_held) of what the tenant's last `holds` holds booked there, newest first; all
    tenants' last ones where they share it."""
    tenant_id, meter_id, subject, start = key
    newest = sa.select(hold.c.id).order_by(hold.c.id.desc()).limit(holds)
    if tenant_id != PLATFORM:
        newest = newest.where(hold.c.tenant_id == tenant_id)
    query = (
        sa.select(entry.c.hold_id, sa.func.max(entry.c.at), _USED, _HELD)
        .where(
            entry.c.tenant_id == tenant_id,
            entry.c.hold_id.in_(newest),
            entry.c.meter_id == meter_id,
            entry.c.subject == subject,
            entry.c.start == start,
        )
        .group_by(entry.c.hold_id)
        .order_by(entry.c.hold_id.desc())
    )
    return [(row[0], row[1], int(row[2]), int(row[3])) for row in tx.execute(query)]


def wrong_buckets(tx: Tx) -> Iterator[str]:
    """A sentence for each bucket that is not the sum of its entries."""
    window = (entry.c.tenant_id, entry.c.meter_id, entry.c.subject, entry.c.start)
    sums = sa.select(*window, _USED.label("used"), _HELD.label("held")).group_by(*window).subquery()
    same = sa.and_(*(bucket.c[column.name] == sums.c[column.name] for column in window))
    used, held = sa.func.coalesce(sums.c.used, 0), sa.func.coalesce(sums.c.held, 0)
    differing = (
        sa.select(bucket, used.label("sum_used"), held.label("sum_held"))
        .select_from(bucket.outerjoin(sums, same))
        .where(sa.or_(bucket.c.used != used, bucket.c.held != held))
    )
    for row in tx.execute(differing):
        yield (
            f"bucket {row.meter_id} of {row.tenant_id} from {row.start} has used {row.used}, held {row.held}; "
            f"its entries make used {row.sum_used}, held {row.sum_held}"
        )
    missing = sa.select(sums).where(~sa.exists().where(same), sa.or_(sums.c.used != 0, sums.c.held != 0))
    for row in tx.execute(missing):
        yield f"bucket {row.meter_id} of {row.tenant_id} from {row.start} is missing; it has entries"


def held_lines(tx: Tx) -> dict[LineKey, int]:
    """What each hold still reserves in each bucket by its entries; without zeros."""
    line = (entry.c.tenant_id, entry.c.hold_id, entry.c.meter_id, entry.c.subject, entry.c.start)
    query = sa.select(*line, _HELD.label("held")).group_by(*line).having(_HELD != 0)
    return {(row[0], row[1], row[2], row[3], row[4]): int(row.held) for row in tx.execute(query)}


def wrong_charges(tx: Tx) -> Iterator[str]:
    """A sentence for each hold whose money meters were charged anything but its cost, once."""
    cost = sa.case((hold.c.state == "settled", hold.c.cost_usd_micro), else_=0)
    of_meter = sa.and_(meter.c.tenant_id == entry.c.tenant_id, meter.c.id == entry.c.meter_id)
    of_hold = hold.c.id == entry.c.hold_id  # entries of shared meters are not the tenant's
    query = (
        sa.select(hold.c.tenant_id, hold.c.id, meter.c.name, cost.label("cost"), _USED.label("charged"))
        .select_from(entry.join(meter, of_meter).join(hold, of_hold))
        .where(meter.c.unit == "usd_micro")
        .group_by(hold.c.tenant_id, hold.c.id, hold.c.state, hold.c.cost_usd_micro, meter.c.id, meter.c.name)
        .having(cost != _USED)
    )
    for row in tx.execute(query):
        yield (
            f"hold {row.id} of {row.tenant_id} cost {row.cost}; its entries charge {row.name} {row.charged}"
        )


def wrong_caps(tx: Tx) -> Iterator[str]:
    """A sentence for each bucket whose top-ups are not the sum of its entries."""
    window = (entry.c.tenant_id, entry.c.meter_id, entry.c.subject, entry.c.start)
    sums = sa.select(*window, sa.func.sum(entry.c.d_cap)).where(entry.c.d_cap != 0).group_by(*window)
    booked = {(row[0], row[1], row[2], row[3]): int(row[4]) for row in tx.execute(sums)}
    topped = sa.select(*meters.BUCKET).where(sa.or_(bucket.c.topups.is_not(None), bucket.c.topped != 0))
    stand = {}
    for row in tx.execute(topped):
        one = meters.bucket_of(row)
        stand[one.key] = one.topped + sum(topup.amount for topup in one.topups)
    for key in sorted(booked.keys() | stand.keys()):
        if booked.get(key, 0) != stand.get(key, 0):
            tenant_id, meter_id, _, start = key
            yield (
                f"bucket {meter_id} of {tenant_id} from {start} is topped up by {stand.get(key, 0)}; "
                f"its entries say {booked.get(key, 0)}"
            )


def charged_twice(tx: Tx) -> Iterator[str]:
    """A sentence for each line of a hold that was settled more than once."""
    line = (entry.c.tenant_id, entry.c.hold_id, entry.c.meter_id, entry.c.subject)
    query = (
        sa.select(*line)
        .where(entry.c.kind.in_(("settle", "late")))
        .group_by(*line)
        .having(sa.func.count() > 1)
    )
    for row in tx.execute(query):
        yield f"hold {row.hold_id} of {row.tenant_id} was charged to {row.meter_id} more than once"
