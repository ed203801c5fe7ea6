"""Rows of figures: ratings counted while they are written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import sqlalchemy as sa

from rollout.core.figures import Cell, FiguresQuery, Thumbs
from rollout.core.usage import Line, Period
from rollout.db.engine import Tx, insert_missing
from rollout.db.tables import figure

_COLUMNS = {"tenant": "tenant_id"}


def add(tx: Tx, moves: Sequence[tuple[Cell, Thumbs]]) -> None:
    """Move the figures, in the order given; locks their rows until the transaction ends."""
    if not moves:
        return
    insert_missing(tx, figure, [{**asdict(cell), "up": 0, "down": 0} for cell, _ in moves])
    for cell, moved in moves:
        mine = (figure.c[name] == value for name, value in asdict(cell).items())
        then = {"up": figure.c.up + moved.up, "down": figure.c.down + moved.down}
        tx.execute(sa.update(figure).where(*mine).values(then))


def lines(tx: Tx, query: FiguresQuery, asked: Period, limit: int) -> list[Line[Thumbs]]:
    """Ratings of the period, added up by the names in `query.by`; at most `limit` groups, in no order."""
    groups = [figure.c[_COLUMNS.get(name, name)].label(name) for name in query.by]
    up, down = sa.func.sum(figure.c.up), sa.func.sum(figure.c.down)
    wanted = (
        sa.select(*groups, up.label("up"), down.label("down"))
        .where(figure.c.day >= asked.since, figure.c.day < asked.until)
        .group_by(*groups)
        .having(up + down > 0)
        .limit(limit)
    )
    if query.tenant is not None:
        wanted = wanted.where(figure.c.tenant_id == query.tenant)
    if query.feature is not None:
        wanted = wanted.where(figure.c.feature == query.feature)
    return [_line(row, query.by) for row in tx.execute(wanted).mappings()]


def _line(row: sa.RowMapping, by: Sequence[str]) -> Line[Thumbs]:
    names = {name: _day(row[name]) if name == "day" else row[name] or None for name in by}
    return Line(names, Thumbs(int(row["up"]), int(row["down"])))


def _day(midnight: int) -> str:
    return datetime.fromtimestamp(midnight, UTC).date().isoformat()
