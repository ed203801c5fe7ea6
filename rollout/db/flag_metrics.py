"""Rows of how often flags were on and off, an hour, app and flag each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

import sqlalchemy as sa

from rollout.core.flag_metrics import FlagMetric
from rollout.db.engine import Tx, insert_missing
from rollout.db.tables import flag_metric

_KEY = (flag_metric.c.environment, flag_metric.c.flag, flag_metric.c.app_name, flag_metric.c.hour)
_AT_ONCE = 200

_ADD = sa.update(flag_metric).where(*(column == sa.bindparam(f"b_{column.name}") for column in _KEY))


def add(tx: Tx, counted: Collection[FlagMetric]) -> None:
    """Add these to what was counted; rows are locked in one order, so that processes wait for one another but never in a ring."""
    ordered = sorted(counted, key=_key)
    for start in range(0, len(ordered), _AT_ONCE):
        some = ordered[start : start + _AT_ONCE]
        insert_missing(tx, flag_metric, [{**asdict(one), "yes": 0, "no": 0, "variants": {}} for one in some])
        locked = sa.select(flag_metric).where(sa.tuple_(*_KEY).in_([_key(one) for one in some]))
        rows = tx.execute(locked.order_by(*_KEY).with_for_update()).mappings()
        found = {_key(one): one for one in (FlagMetric(**row) for row in rows)}
        tx.execute(_ADD, [_change(found[_key(one)].plus(one.yes, one.no, one.variants)) for one in some])


def page(
    tx: Tx,
    environment: str,
    flag: str,
    *,
    since: int,
    after: tuple[int, str] | None,
    limit: int,
) -> list[FlagMetric]:
    """A flag's hours since then (UTC epoch seconds), newest first, from behind the (hour, app) `after`."""
    query = sa.select(flag_metric).where(
        flag_metric.c.environment == environment, flag_metric.c.flag == flag, flag_metric.c.hour >= since
    )
    if after is not None:
        hour, app = after
        later = (flag_metric.c.hour == hour) & (flag_metric.c.app_name > app)
        query = query.where((flag_metric.c.hour < hour) | later)
    rows = tx.execute(query.order_by(flag_metric.c.hour.desc(), flag_metric.c.app_name).limit(limit))
    return [FlagMetric(**row) for row in rows.mappings()]


def forget(tx: Tx, before: int, limit: int) -> int:
    """Remove about `limit` of the hours before then, the oldest first; how many it were."""
    oldest = sa.select(flag_metric.c.hour).where(flag_metric.c.hour < before).order_by(flag_metric.c.hour)
    hours = tx.execute(oldest.limit(limit)).scalars().all()
    if not hours:
        return 0
    return tx.execute(sa.delete(flag_metric).where(flag_metric.c.hour <= hours[-1])).rowcount


def _key(metric: FlagMetric) -> tuple[str, str, str, int]:
    return metric.environment, metric.flag, metric.app_name, metric.hour


def _change(metric: FlagMetric) -> dict[str, object]:
    key = zip(_KEY, _key(metric), strict=True)
    counted = {"yes": metric.yes, "no": metric.no, "variants": dict(metric.variants)}
    return {**{f"b_{column.name}": value for column, value in key}, **counted}
