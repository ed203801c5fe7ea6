"""Rows of the audit chain as they stood at a time: the last word on each thing that a decision is made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    about = audit.c.after["feature"].as_string() == feature
    return _last(tx, until, audit.c.tenant_id == tenant_id, audit.c.action.startswith("grant."), about)


def kill(tx: Tx, feature: str, tenant_id: str | None, until: int) -> Mapping[str, Any] | None:
    """The bit for one tenant, or (None) for everyone."""
    return _last(
        tx, until, audit.c.subject == feature, audit.c.tenant_id == tenant_id, audit.c.action.in_(KILLS)
    )


def plans(tx: Tx, feature: str, until: int) -> Iterator[Mapping[str, Any]]:
    """What each change of the plan left behind, newest first."""
    query = _before(until, audit.c.subject == feature, audit.c.action.startswith("plan."))
    yield from tx.execute(query).scalars()


def _last(tx: Tx, until: int, *which: sa.ColumnElement[bool]) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = tx.execute(_before(until, *which).limit(1)).scalar()
    return found


def _before(until: int, *which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(audit.c.after).where(audit.c.seq < until, *which).order_by(audit.c.seq.desc())
