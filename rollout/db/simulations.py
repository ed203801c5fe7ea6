"""Decisions as they were recorded: uses by live keys, and refusals."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from rollout.core.simulations import Recorded
from rollout.db.engine import Tx
from rollout.db.tables import generation, refusal

AT_ONCE = 500
CODES = ("feature_not_enabled", "feature_killed")


def recorded(tx: Tx, feature: str, since: int) -> Iterator[Recorded]:
    """Each tenant's decisions on generation from `since` on (UTC epoch seconds), counted by how they went."""
    for row in tx.execute(_uses(feature, since)):
        yield Recorded(row.tenant_id, row.number, vendor=row.vendor)
    for row in tx.execute(_refusals(feature, since)):
        yield Recorded(row.tenant_id, row.number, ground=_ground(row))


def one_by_one(
    tx: Tx, feature: str, since: int, tenants: Collection[str], limit: int
) -> tuple[list[Recorded], bool]:
    """The same of these tenants, with the second of each; and whether these are all, which takes at most `limit` rows each."""
    found: list[Recorded] = []
    complete, ids = True, sorted(tenants)
    for first in range(0, len(ids), AT_ONCE):
        some = ids[first : first + AT_ONCE]
        uses = _uses(feature, since, generation.c.created_at.label("at"), generation.c.tenant_id.in_(some))
        refusals = _refusals(feature, since, refusal.c.at, refusal.c.tenant_id.in_(some))
        made, refused = tx.execute(uses.limit(limit)).all(), tx.execute(refusals.limit(limit)).all()
        found += [Recorded(row.tenant_id, row.number, row.at, vendor=row.vendor) for row in made]
        found += [Recorded(row.tenant_id, row.number, row.at, _ground(row)) for row in refused]
        complete = complete and max(len(made), len(refused)) < limit
    return found, complete


def _uses(feature: str, since: int, *more: Any) -> sa.Select[Any]:
    """`more`: a column to group by, too, and a condition."""
    groups = (generation.c.tenant_id, generation.c.vendor, *more[:1])
    which = (generation.c.feature == feature, generation.c.mode == "live", generation.c.created_at >= since)
    return _counted(groups, (*which, *more[1:]))


def _refusals(feature: str, since: int, *more: Any) -> sa.Select[Any]:
    reason, param = refusal.c.members["reason"].as_string(), refusal.c.members["param"].as_string()
    groups = (refusal.c.tenant_id, reason.label("reason"), param.label("param"), *more[:1])
    of_feature = refusal.c.members["feature"].as_string() == feature
    return _counted(groups, (refusal.c.code.in_(CODES), of_feature, refusal.c.at >= since, *more[1:]))


def _counted(groups: Sequence[Any], which: Sequence[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    return sa.select(*groups, sa.func.count().label("number")).where(*which).group_by(*groups)


def _ground(row: sa.Row[Any]) -> str:
    """Who may use the feature and not this model was refused for the model."""
    return "model" if row.param == "model" else row.reason
