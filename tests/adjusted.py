"""Adjustments as the books keep them."""

from __future__ import annotations

import sqlalchemy as sa

from rollout.core.decisions import GENERATION
from rollout.core.meters import open_bucket
from rollout.db import meters, tables
from rollout.db.engine import Database
from rollout.services.ids import new_id


def adjust(
    database: Database,
    amount: int,
    at: int,
    *,
    tenant: str = "acme",
    feature: str = GENERATION,
    unit: str = "usd_micro",
    reason: str = "agreed by mail",
) -> str:
    """Its row, and one entry in the window at `at` of each of the tenant's own meters that count this; its id."""
    id_ = new_id("adj")
    booked = {"tenant_id": tenant, "id": id_, "feature": feature, "unit": unit, "amount": amount, "at": at}
    made = {"reason": reason, "created_by": "cli:test", "created_at": at}
    with database.write() as tx:
        tx.execute(sa.insert(tables.adjustment).values(booked | made))
        for meter in meters.live(tx, tenant):
            if meter.counts(feature, unit):
                window = open_bucket(meter, at)
                meters.open_buckets(tx, [window])
                used = tables.bucket.c.used + amount
                this = [
                    column == value
                    for column, value in zip(tables.bucket.primary_key, window.key, strict=True)
                ]
                tx.execute(sa.update(tables.bucket).where(*this).values(used=used))
                tx.execute(
                    sa.insert(tables.entry).values(
                        tenant_id=tenant,
                        id=f"{id_}:{meter.id}",
                        meter_id=meter.id,
                        subject="",
                        start=window.start,
                        kind="adjust",
                        d_used=amount,
                        d_held=0,
                        actor="cli:test",
                        reason=reason,
                        at=at,
                    )
                )
    return id_
