"""Rows of top-ups; what is left of one stands in its bucket."""

from __future__ import annotations

from dataclasses import asdict, fields

import sqlalchemy as sa

from rollout.core.topups import TopUp
from rollout.db.engine import Tx
from rollout.db.tables import bucket, topup

_WINDOW = ("tenant_id", "meter_id", "subject", "start")
_QUERY = sa.select(
    *(bucket.c.ends if column.name == "ends" else topup.c[column.name] for column in fields(TopUp))
).join_from(
    topup,
    bucket,
    sa.and_(*(bucket.c[name] == topup.c[name] for name in _WINDOW)),
    isouter=True,  # of a void one the window may be gone
)


def get(tx: Tx, topup_id: str) -> TopUp | None:
    row = tx.execute(_QUERY.where(topup.c.id == topup_id)).mappings().one_or_none()
    return TopUp(**row) if row else None


def page(tx: Tx, *, tenant: str | None, meter: str | None, before: str | None, limit: int) -> list[TopUp]:
    """In order of id, last first, from before the id `before`."""
    query = _QUERY.order_by(topup.c.id.desc()).limit(limit)
    if tenant is not None:
        query = query.where(topup.c.tenant_id == tenant)
    if meter is not None:
        query = query.where(topup.c.meter_id == meter)
    if before is not None:
        query = query.where(topup.c.id < before)
    return [TopUp(**row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: TopUp) -> None:
    values = asdict(new)
    del values["ends"]
    tx.execute(sa.insert(topup).values(values))


def void(tx: Tx, old: TopUp, now: int) -> None:
    this = (topup.c.tenant_id == old.tenant_id, topup.c.id == old.id)
    tx.execute(sa.update(topup).where(*this).values(voided_at=now))
