"""Rows of plans, their phases and their runs."""

from __future__ import annotations

import sqlalchemy as sa

from rollout.core.gates import CONDITIONS, parse_gate
from rollout.core.plans import Phase, Plan, Run, RunningPlan, parse_audience, phase_json
from rollout.db.engine import Tx
from rollout.db.tables import phase, phase_run, plan


def get(tx: Tx, feature: str) -> RunningPlan | None:
    return _load(tx, feature).get(feature)


def all_(tx: Tx) -> dict[str, RunningPlan]:
    """By feature."""
    return _load(tx, None)


def runs(tx: Tx, feature: str, *, limit: int) -> list[Run]:
    """Newest first."""
    query = (
        sa.select(phase_run)
        .where(phase_run.c.feature == feature)
        .order_by(phase_run.c.run.desc())
        .limit(limit)
    )
    return [_run(row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: RunningPlan, now: int) -> None:
    """A plan with its phases and its first run."""
    made = new.plan
    values = {"feature": made.feature, "salt": made.salt, "created_at": now}
    tx.execute(sa.insert(plan).values(**values, version=made.version, four_eyes=made.four_eyes))
    put_phases(tx, made)
    put_run(tx, made.feature, new.run)


def put(tx: Tx, changed: Plan) -> None:
    """Its version and its rules; the phases are for `put_phases`."""
    values = {"version": changed.version, "four_eyes": changed.four_eyes}
    tx.execute(sa.update(plan).where(plan.c.feature == changed.feature).values(values))


def put_phases(tx: Tx, changed: Plan) -> None:
    tx.execute(sa.delete(phase).where(phase.c.feature == changed.feature))
    rows = [
        {"feature": changed.feature, "position": position, **phase_json(item)}
        for position, item in enumerate(changed.phases)
    ]
    tx.execute(sa.insert(phase), rows)


def remove(tx: Tx, feature: str) -> None:
    """The plan with its phases and its runs."""
    for table in (phase_run, phase, plan):
        tx.execute(sa.delete(table).where(table.c.feature == feature))


def put_run(tx: Tx, feature: str, run: Run) -> None:
    """Write a run, new or changed; the caller holds the revision row."""
    tx.execute(sa.delete(phase_run).where(phase_run.c.feature == feature, phase_run.c.run == run.number))
    values = {
        "feature": feature,
        "run": run.number,
        "phase": run.phase,
        "state": run.state,
        "entered_at": run.entered_at,
        "entered_by": run.entered_by,
        "left_at": run.left_at,
        "open_to": run.open_to,
    }
    tx.execute(sa.insert(phase_run).values(values))


def _load(tx: Tx, feature: str | None) -> dict[str, RunningPlan]:
    latest = (
        sa.select(phase_run.c.feature, sa.func.max(phase_run.c.run).label("run"))
        .group_by(phase_run.c.feature)
        .subquery()
    )
    plans = sa.select(plan)
    phases = sa.select(phase).order_by(phase.c.feature, phase.c.position)
    current = sa.select(phase_run).join(
        latest, sa.and_(latest.c.feature == phase_run.c.feature, latest.c.run == phase_run.c.run)
    )
    if feature is not None:
        plans, phases = plans.where(plan.c.feature == feature), phases.where(phase.c.feature == feature)
        current = current.where(phase_run.c.feature == feature)
    by_feature: dict[str, list[Phase]] = {}
    for row in tx.execute(phases).mappings():
        by_feature.setdefault(row["feature"], []).append(_phase(row))
    standing = {row["feature"]: _run(row) for row in tx.execute(current).mappings()}
    return {
        row.feature: RunningPlan(
            Plan(row.feature, row.salt, tuple(by_feature[row.feature]), row.version, row.four_eyes),
            standing[row.feature],
        )
        for row in tx.execute(plans)
    }


def _phase(row: sa.RowMapping) -> Phase:
    return Phase(
        row["key"],
        row["title"],
        parse_audience(row["audience"]),
        tuple(row["quota"]),
        None if row["vendors"] is None else tuple(row["vendors"]),
        **{kind: None if row[kind] is None else parse_gate(row[kind], kind, kind) for kind in CONDITIONS},
        moves_on=row["moves_on"],
    )


def _run(row: sa.RowMapping) -> Run:
    return Run(
        row["run"],
        row["phase"],
        row["state"],
        row["entered_at"],
        row["entered_by"],
        row["left_at"],
        row["open_to"],
    )
