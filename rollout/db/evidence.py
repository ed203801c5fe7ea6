"""What one run of a phase came to, added up from what was made in it, how that ended and how it was rated."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from rollout.core.evaluations import POOR
from rollout.core.gates import Evidence
from rollout.core.plans import Run
from rollout.db.engine import Tx
from rollout.db.tables import evaluation, feedback, generation, hold

ENDED = ("settled", "void", "unknown")

COUNTED = 50_000
"""So many of the newest calls and ratings since the run began are looked at: about a fifth of a second."""


def of_run(tx: Tx, feature: str, run: Run, first_rating: str) -> Evidence:
    """By live keys; `first_rating`: the id below all feedback that came since the run began."""
    ratings = _ratings(tx, feature, run, first_rating)
    return Evidence(**_uses(tx, feature, run), **ratings, **_evaluations(tx, feature, run))


def _uses(tx: Tx, feature: str, run: Run) -> dict[str, int]:
    """A charge without pictures was a refusal, but for an estimate: nobody knows what that paid for."""
    newest = (
        sa.select(
            hold.c.tenant_id,
            hold.c.id,
            hold.c.state,
            hold.c.settled_from,
            hold.c.usage,
            hold.c.cost_usd_micro,
        )
        .where(hold.c.created_at >= run.entered_at, hold.c.feature == feature)
        .order_by(hold.c.created_at.desc())
        .limit(COUNTED)
        .subquery()
    )
    known = (newest.c.state == "settled") & (newest.c.settled_from != "estimate")
    pictures = sa.func.coalesce(newest.c.usage["images"].as_integer(), 0)
    figures = {
        "requests": sa.func.count(),
        "tenants": sa.func.count(newest.c.tenant_id.distinct()),
        "refused": _sum(1, known & (pictures == 0)),
        "failed": _sum(1, ~known),
        "images": _sum(pictures, known),
        "cost_usd_micro": _sum(newest.c.cost_usd_micro, known & (pictures > 0)),
    }
    query = (
        sa.select(*(figure.label(name) for name, figure in figures.items()))
        .join_from(
            newest,
            generation,
            (generation.c.tenant_id == newest.c.tenant_id) & (generation.c.hold_id == newest.c.id),
        )
        .where(newest.c.state.in_(ENDED), generation.c.run == run.number, generation.c.mode == "live")
    )
    return _ints(tx.execute(query).mappings().one())


def _ratings(tx: Tx, feature: str, run: Run, first_rating: str) -> dict[str, int]:
    """Each end user of a generation has one rating; what is spam or was taken back does not count."""
    newest = (
        sa.select(feedback)
        .where(feedback.c.id >= first_rating, feedback.c.feature == feature, feedback.c.run == run.number)
        .where(feedback.c.state.not_in(("spam", "withdrawn")))
        .order_by(feedback.c.id.desc())
        .limit(COUNTED)
        .subquery()
    )
    rated = (
        sa.select(
            newest.c.tenant_id,
            newest.c.end_user,
            sa.func.count().label("ratings"),
            sa.func.sum(sa.case((newest.c.rating == "down", 1), else_=0)).label("negative"),
        )
        .join_from(
            newest,
            generation,
            (generation.c.tenant_id == newest.c.tenant_id) & (generation.c.id == newest.c.generation_id),
        )
        .where(generation.c.mode == "live")
        .group_by(newest.c.tenant_id, newest.c.end_user)
        .subquery()
    )
    query = sa.select(
        sa.func.coalesce(sa.func.sum(rated.c.ratings), 0).label("ratings"),
        sa.func.coalesce(sa.func.sum(rated.c.negative), 0).label("negative"),
        sa.func.count().label("raters"),
    )
    return _ints(tx.execute(query).mappings().one())


def _evaluations(tx: Tx, feature: str, run: Run) -> dict[str, int]:
    newest = (
        sa.select(evaluation.c.tenant_id, evaluation.c.generation_id, evaluation.c.score)
        .where(evaluation.c.feature == feature, evaluation.c.run == run.number)
        .where(evaluation.c.created_at >= run.entered_at, evaluation.c.score.is_not(None))
        .order_by(evaluation.c.created_at.desc())
        .limit(COUNTED)
        .subquery()
    )
    query = (
        sa.select(sa.func.count().label("evaluations"), _sum(1, newest.c.score < POOR).label("poor"))
        .join_from(
            newest,
            generation,
            (generation.c.tenant_id == newest.c.tenant_id) & (generation.c.id == newest.c.generation_id),
        )
        .where(generation.c.mode == "live")
    )
    return _ints(tx.execute(query).mappings().one())


def _sum(amount: Any, where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((where, amount), else_=0)), 0)


def _ints(row: sa.RowMapping) -> dict[str, int]:
    return {name: int(value) for name, value in row.items()}
