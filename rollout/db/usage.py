"""What was used and what it cost, added up by the database.

Who used what stands on the generation or analysis, how it ended and what it cost on its hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from rollout.core.holds import OPEN
from rollout.core.usage import QUARTER, Figures, Tally
from rollout.db.engine import Tx
from rollout.db.tables import analysis, generation, hold

_COLUMNS = {
    "model": "model",
    "key": "api_key_id",
    "feature": "feature",
    "end_user": "end_user",
    "tenant": "tenant_id",
    "phase": "phase",
    "vendor": "vendor",
}


def tallies(
    tx: Tx, *, tenant: str | None, since: int, until: int, by: Sequence[str], limit: int
) -> list[Tally]:
    """Live uses (not those by test keys) that began from `since` up to `until`, grouped by the names in `by`.

    `day` groups by the quarter of an hour. `tenant` None: of all. At most `limit` groups.
    """
    rows: list[sa.RowMapping] = []
    for use in (generation, analysis):
        rows += tx.execute(_query(use, tenant, since, until, by, limit)).mappings().all()
    return [_tally(row, by) for row in rows[:limit]]


def _query(
    use: sa.Table, tenant: str | None, since: int, until: int, by: Sequence[str], limit: int
) -> sa.Select[Any]:
    began = use.c.created_at
    groups = [
        (began - began % QUARTER if name == "day" else use.c[_COLUMNS[name]]).label(name) for name in by
    ]
    settled, pending = hold.c.state == "settled", hold.c.state.in_(OPEN)
    figures = {
        "requests": _sum(1, settled | pending),
        "images": _sum(_told("images"), settled),
        "input_tokens": _sum(_told("input") + _told("cache_write") + _told("cache_read"), settled),
        "output_tokens": _sum(_told("output"), settled),
        "cost_usd_micro": _sum(hold.c.cost_usd_micro, settled),
        "pending_usd_micro": _sum(hold.c.cost_usd_micro, pending),
    }
    query = (
        sa.select(*groups, *(column.label(name) for name, column in figures.items()))
        .join_from(use, hold, (hold.c.tenant_id == use.c.tenant_id) & (hold.c.id == use.c.hold_id))
        .where(began >= since, began < until, use.c.mode == "live", settled | pending)
        .group_by(*groups)
        .limit(limit)
    )
    return query if tenant is None else query.where(use.c.tenant_id == tenant)


def _told(name: str) -> sa.ColumnElement[int]:
    """A figure of the hold's usage; 0 where the vendor told none."""
    return sa.func.coalesce(hold.c.usage[name].as_integer(), 0)


def _sum(amount: Any, where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((where, amount), else_=0)), 0)


def _tally(row: sa.RowMapping, by: Sequence[str]) -> Tally:
    figures = Figures(*(int(row[item.name]) for item in fields(Figures)))
    return Tally(row.get("day"), {name: row[name] for name in by if name != "day"}, figures)
