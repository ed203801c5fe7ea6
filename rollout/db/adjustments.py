"""Rows of adjustments."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, fields

import sqlalchemy as sa

from rollout.core.adjustments import Adjustment
from rollout.core.meters import Bucket, Meter
from rollout.db import meters
from rollout.db.engine import Tx
from rollout.db.tables import adjustment, bucket, meter

_QUERY = sa.select(*(adjustment.c[column.name] for column in fields(Adjustment)))


def get(tx: Tx, adjustment_id: str) -> Adjustment | None:
    row = tx.execute(_QUERY.where(adjustment.c.id == adjustment_id)).mappings().one_or_none()
    return Adjustment(**row) if row else None


def page(tx: Tx, *, tenant: str | None, before: str | None, limit: int) -> list[Adjustment]:
    """In order of id, last first, from before the id `before`."""
    query = _QUERY.order_by(adjustment.c.id.desc()).limit(limit)
    if tenant is not None:
        query = query.where(adjustment.c.tenant_id == tenant)
    if before is not None:
        query = query.where(adjustment.c.id < before)
    return [Adjustment(**row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: Adjustment) -> None:
    tx.execute(sa.insert(adjustment).values(asdict(new)))


def meters_at(tx: Tx, tenant_id: str, at: int) -> list[Meter]:
    """The meters that the tenant had at that time; some of them may be archived since."""
    query = sa.select(*meters.METER).where(
        meter.c.tenant_id == tenant_id,
        meter.c.created_at <= at,
        meter.c.archived_at.is_(None) | (meter.c.archived_at > at),
    )
    return [meters.meter_of(row) for row in tx.execute(query).mappings()]


def windows_at(tx: Tx, tenant_id: str, meter_ids: Collection[str], at: int) -> dict[str, Bucket]:
    """The windows of these meters, by meter, in which that time lies, as far as there are any; not those of one key or user."""
    query = sa.select(*meters.BUCKET).where(
        bucket.c.tenant_id == tenant_id,
        bucket.c.meter_id.in_(meter_ids),
        bucket.c.subject == "",
        bucket.c.start <= at,
        bucket.c.ends.is_(None) | (bucket.c.ends > at),
    )
    return {one.meter_id: one for one in map(meters.bucket_of, tx.execute(query))}
