"""Rows of schedules."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from rollout.core.schedules import OPEN, Schedule
from rollout.core.steps import parse_step, step_json
from rollout.db.engine import Tx
from rollout.db.tables import schedule


def add(tx: Tx, new: Schedule) -> None:
    tx.execute(sa.insert(schedule).values(_row(new)))


def put(tx: Tx, changed: Schedule) -> None:
    """Write its state; the caller holds the revision row."""
    tx.execute(sa.update(schedule).where(schedule.c.id == changed.id).values(_row(changed)))


def get(tx: Tx, schedule_id: str) -> Schedule | None:
    return next(iter(_load(tx, sa.select(schedule).where(schedule.c.id == schedule_id))), None)


def pending(tx: Tx, feature: str) -> list[Schedule]:
    """In order of their time."""
    query = sa.select(schedule).where(schedule.c.feature == feature, schedule.c.state == "pending")
    return _load(tx, query.order_by(schedule.c.at, schedule.c.id))


def open_(tx: Tx, feature: str | None = None) -> list[Schedule]:
    """Those that are to come or that a person must decide on, of one plan or all, in order of their time."""
    query = sa.select(schedule).where(schedule.c.state.in_(OPEN)).order_by(schedule.c.at, schedule.c.id)
    return _load(tx, query if feature is None else query.where(schedule.c.feature == feature))


def page(tx: Tx, *, feature: str | None, state: str | None, before: str | None, limit: int) -> list[Schedule]:
    """The newest written first, from after the id `before` on."""
    query = sa.select(schedule).order_by(schedule.c.id.desc()).limit(limit)
    if feature is not None:
        query = query.where(schedule.c.feature == feature)
    if state is not None:
        query = query.where(schedule.c.state == state)
    return _load(tx, query if before is None else query.where(schedule.c.id < before))


def _row(item: Schedule) -> dict[str, Any]:
    return {**vars(item), "step": step_json(item.step)}


def _load(tx: Tx, query: sa.Select[Any]) -> list[Schedule]:
    return [Schedule(**{**row, "step": parse_step(row["step"])}) for row in tx.execute(query).mappings()]
