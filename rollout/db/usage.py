"""What was used, what it cost and how that was corrected, added up by the database.

Who used what stands on the generation or analysis, how it ended and what it cost on its hold.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from rollout.core.holds import OPEN
from rollout.core.statements import MoneyMonth
from rollout.core.usage import QUARTER, Correction, Figures, Period, Tally
from rollout.db.engine import Tx
from rollout.db.tables import adjustment, analysis, bucket, generation, hold, meter

_COLUMNS = {
    "model": "model",
    "key": "api_key_id",
    "feature": "feature",
    "end_user": "end_user",
    "tenant": "tenant_id",
    "phase": "phase",
    "vendor": "vendor",
}

Tenants = Collection[str] | None
"""None: all."""


def tallies(
    tx: Tx, tenants: Tenants, period: Period, by: Sequence[str], *, limit: int | None = None
) -> list[Tally]:
    """Live uses (not those by test keys) that began in the period, grouped by the names in `by`.

    `day` groups by the quarter of an hour, `settled_from` by what the cost was taken from. At most `limit` groups (None: all).
    """
    rows: list[sa.RowMapping] = []
    for use in (generation, analysis):
        rows += tx.execute(_query(use, tenants, period, by).limit(limit)).mappings().all()
    return [_tally(row, by) for row in rows[:limit]]


def corrections(tx: Tx, tenants: Tenants, period: Period, *, limit: int | None = None) -> list[Correction]:
    """Adjustments booked in the period, in order of their time."""
    query = (
        sa.select(*(adjustment.c[item.name] for item in fields(Correction)))
        .where(*_within(adjustment.c.at, period), *_of(adjustment, tenants))
        .order_by(adjustment.c.at, adjustment.c.id)
        .limit(limit)
    )
    return [Correction(**row) for row in tx.execute(query).mappings()]


def _query(use: sa.Table, tenants: Tenants, period: Period, by: Sequence[str]) -> sa.Select[Any]:
    groups = [_group(use, name).label(name) for name in by]
    settled, pending = hold.c.state == "settled", hold.c.state.in_(OPEN)
    figures = {
        "requests": _sum(1, settled | pending),
        "images": _sum(_told("images"), settled),
        "input_tokens": _sum(_told("input") + _told("cache_write") + _told("cache_read"), settled),
        "output_tokens": _sum(_told("output"), settled),
        "cost_usd_micro": _sum(hold.c.cost_usd_micro, settled),
        "pending_usd_micro": _sum(hold.c.cost_usd_micro, pending),
    }
    return (
        sa.select(*groups, *(column.label(name) for name, column in figures.items()))
        .join_from(use, hold, (hold.c.tenant_id == use.c.tenant_id) & (hold.c.id == use.c.hold_id))
        .where(
            *_within(use.c.created_at, period), *_of(use, tenants), use.c.mode == "live", settled | pending
        )
        .group_by(*groups)
    )


def _group(use: sa.Table, name: str) -> sa.ColumnElement[Any]:
    if name == "settled_from":
        return hold.c.settled_from
    began = use.c.created_at
    return began - began % QUARTER if name == "day" else use.c[_COLUMNS[name]]


def _within(moment: sa.Column[int], period: Period) -> tuple[sa.ColumnElement[bool], ...]:
    return (moment >= period.since, moment < period.until)


def _of(table: sa.Table, tenants: Tenants) -> list[sa.ColumnElement[bool]]:
    return [] if tenants is None else [table.c.tenant_id.in_(sorted(tenants))]


def _told(name: str) -> sa.ColumnElement[int]:
    """A figure of the hold's usage; 0 where the vendor told none."""
    return sa.func.coalesce(hold.c.usage[name].as_integer(), 0)


def _sum(amount: Any, where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((where, amount), else_=0)), 0)


def _tally(row: sa.RowMapping, by: Sequence[str]) -> Tally:
    figures = Figures(*(int(row[item.name]) for item in fields(Figures)))
    return Tally(row.get("day"), {name: row[name] for name in by if name != "day"}, figures)


def money_months(tx: Tx, tenants: Tenants, *, since: int) -> list[MoneyMonth]:
    """Months from `since` on over which a tenant's own money meter counted from their first second."""
    same_meter = (meter.c.tenant_id == bucket.c.tenant_id) & (meter.c.id == bucket.c.meter_id)
    query = (
        sa.select(
            bucket.c.tenant_id,
            bucket.c.meter_id,
            meter.c.name,
            meter.c.feature,
            bucket.c.start,
            bucket.c.ends,
            bucket.c.used,
        )
        .join_from(bucket, meter, same_meter)
        .where(
            *_of(bucket, tenants),
            bucket.c.ends > since,
            bucket.c.start >= since,
            meter.c.unit == "usd_micro",
            meter.c.period == "month",
            meter.c.level.in_(("tenant", "feature")),
            meter.c.created_at < bucket.c.start,
            meter.c.effective_at.is_(None) | (meter.c.effective_at <= bucket.c.start),
            meter.c.until.is_(None) | (meter.c.until >= bucket.c.ends),
            meter.c.archived_at.is_(None) | (meter.c.archived_at >= bucket.c.ends),
        )
        .order_by(bucket.c.tenant_id, meter.c.name, bucket.c.start)
    )
    return [MoneyMonth(**row) for row in tx.execute(query).mappings()]
