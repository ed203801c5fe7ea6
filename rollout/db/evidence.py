"""What one run of a phase came to, added up from what was made in it, how that ended and how it was rated."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from rollout.core.gates import Evidence
from rollout.core.plans import Run
from rollout.db.engine import Tx
from rollout.db.tables import feedback, generation, hold

ENDED = ("settled", "void", "unknown")


def of_run(tx: Tx, feature: str, run: Run, first_rating: str) -> Evidence:
    """By live keys; `first_rating`: the id below all feedback that came since the run began.

    It looks at the calls and the ratings since the run began, by the indexes of their time.
    """
    return Evidence(**_uses(tx, feature, run), **_ratings(tx, feature, run, first_rating))


def _uses(tx: Tx, feature: str, run: Run) -> dict[str, int]:
    """A charge without pictures was a refusal, but for an estimate: nobody knows what that paid for."""
    known = (hold.c.state == "settled") & (hold.c.settled_from != "estimate")
    pictures = sa.func.coalesce(hold.c.usage["images"].as_integer(), 0)
    figures = {
        "requests": sa.func.count(),
        "tenants": sa.func.count(hold.c.tenant_id.distinct()),
        "refused": _sum(1, known & (pictures == 0)),
        "failed": _sum(1, ~known),
        "images": _sum(pictures, known),
        "cost_usd_micro": _sum(hold.c.cost_usd_micro, known & (pictures > 0)),
    }
    query = (
        sa.select(*(figure.label(name) for name, figure in figures.items()))
        .join_from(
            hold,
            generation,
            (generation.c.tenant_id == hold.c.tenant_id) & (generation.c.hold_id == hold.c.id),
        )
        .where(hold.c.created_at >= run.entered_at, hold.c.feature == feature, hold.c.state.in_(ENDED))
        .where(generation.c.run == run.number, generation.c.mode == "live")
    )
    return _ints(tx.execute(query).mappings().one())


def _ratings(tx: Tx, feature: str, run: Run, first_rating: str) -> dict[str, int]:
    """Each end user of a generation has one rating; what is spam or was taken back does not count."""
    bad = sa.case((feedback.c.rating == "down", 1), else_=0)
    rated = (
        sa.select(
            feedback.c.tenant_id,
            feedback.c.end_user,
            sa.func.count().label("ratings"),
            sa.func.sum(bad).label("negative"),
        )
        .join_from(
            feedback,
            generation,
            (generation.c.tenant_id == feedback.c.tenant_id) & (generation.c.id == feedback.c.generation_id),
        )
        .where(feedback.c.id >= first_rating, feedback.c.state.not_in(("spam", "withdrawn")))
        .where(feedback.c.feature == feature, feedback.c.run == run.number, generation.c.mode == "live")
        .group_by(feedback.c.tenant_id, feedback.c.end_user)
        .subquery()
    )
    query = sa.select(
        sa.func.coalesce(sa.func.sum(rated.c.ratings), 0).label("ratings"),
        sa.func.coalesce(sa.func.sum(rated.c.negative), 0).label("negative"),
        sa.func.count().label("raters"),
    )
    return _ints(tx.execute(query).mappings().one())


def _sum(amount: Any, where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((where, amount), else_=0)), 0)


def _ints(row: sa.RowMapping) -> dict[str, int]:
    return {name: int(value) for name, value in row.items()}
