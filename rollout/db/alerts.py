"""Rows of alerts: one a threshold and window, ever."""

from __future__ import annotations

import sqlalchemy as sa

from rollout.core.alerts import Alert, Place, Told
from rollout.db.engine import Tx
from rollout.db.meters import METER, meter_of
from rollout.db.tables import alert, bucket, meter

_PLACE = [alert.c[name] for name in Place._fields]
_WINDOW = ("tenant_id", "meter_id", "subject", "start")


def add(tx: Tx, new: Alert) -> None:
    tx.execute(sa.insert(alert).values(new._asdict()))


def page(
    tx: Tx, *, tenant: str | None, meter_id: str | None, since: int, before: Place | None, limit: int
) -> list[Told]:
    """Newest first, from before the place `before`; of archived meters too."""
    of_meter = sa.and_(meter.c.tenant_id == alert.c.tenant_id, meter.c.id == alert.c.meter_id)
    window = sa.and_(*(bucket.c[name] == alert.c[name] for name in _WINDOW))
    columns = [column.label(f"alert_{column.name}") for column in alert.columns]
    query = (
        sa.select(*columns, *METER, bucket.c.ends)
        .select_from(alert.join(meter, of_meter).join(bucket, window))
        .where(alert.c.at >= since)
        .order_by(*(column.desc() for column in _PLACE))
        .limit(limit)
    )
    if tenant is not None:
        query = query.where(alert.c.tenant_id == tenant)
    if meter_id is not None:
        query = query.where(alert.c.meter_id == meter_id)
    if before is not None:
        query = query.where(sa.tuple_(*_PLACE) < sa.tuple_(*before))
    return [
        Told(Alert(*(row[f"alert_{name}"] for name in Alert._fields)), meter_of(row), row["ends"])
        for row in tx.execute(query).mappings()
    ]
