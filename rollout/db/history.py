"""Rows of the audit chain as they stood at a time: the last word on each thing that a decision is made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from rollout.db.engine import Tx
from rollout.db.tables import audit

KILLS = ("feature.killed", "feature.revived")


def revision(tx: Tx, until: int) -> int:
    """The number of the last change before the `seq` `until`; 0: there was none."""
    query = sa.select(audit.c.revision).where(audit.c.seq < until).order_by(audit.c.seq.desc()).limit(1)
    return int(tx.execute(query).scalar() or 0)


def tenant(tx: Tx, tenant_id: str, until: int) -> Mapping[str, Any] | None:
    return _last(tx, until, audit.c.subject == tenant_id, audit.c.action.startswith("tenant."))


def grant(tx: Tx, tenant_id: str, feature: str, until: int) -> Mapping[str, Any] | None:
    which = (audit.c.tenant_id == tenant_id, audit.c.action.startswith("grant."), _of_feature(feature))
    return _last(tx, until, *which)


def kill(tx: Tx, feature: str, tenant_id: str | None, until: int) -> Mapping[str, Any] | None:
    """The bit for one tenant, or (None) for everyone."""
    return _last(
        tx, until, audit.c.subject == feature, audit.c.tenant_id == tenant_id, audit.c.action.in_(KILLS)
    )


def plans(tx: Tx, feature: str, until: int) -> Iterator[Mapping[str, Any] | None]:
    """What each change of the plan left behind, newest first; None where it ended."""
    query = _before(until, audit.c.subject == feature, audit.c.action.startswith("plan."))
    yield from tx.execute(query).scalars()


def has_ended(tx: Tx, feature: str, since: int) -> bool:
    """Whether the plan that there was has ended, from the `seq` `since` on."""
    ends = (audit.c.seq >= since, audit.c.subject == feature, audit.c.action == "plan.ended")
    return tx.execute(sa.select(sa.select(audit).where(*ends).exists())).scalar_one()


def changes(tx: Tx, feature: str, since: int) -> Sequence[Mapping[str, Any]]:
    """What changed tenants and their grants of the feature from the `seq` `since` on, oldest first."""
    of_grant = audit.c.action.startswith("grant.") & _of_feature(feature)
    query = (
        sa.select(audit.c.at, audit.c.action, audit.c.tenant_id, audit.c.before, audit.c.after)
        .where(audit.c.seq >= since, audit.c.action.startswith("tenant.") | of_grant)
        .order_by(audit.c.seq)
    )
    return [dict(row) for row in tx.execute(query).mappings()]


def _last(tx: Tx, until: int, *which: sa.ColumnElement[bool]) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = tx.execute(_before(until, *which).limit(1)).scalar()
    return found


def _before(until: int, *which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(audit.c.after).where(audit.c.seq < until, *which).order_by(audit.c.seq.desc())


def _of_feature(feature: str) -> sa.ColumnElement[bool]:
    about: sa.ColumnElement[bool] = audit.c.after["feature"].as_string() == feature
    return about
