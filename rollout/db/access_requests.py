"""Rows of access requests; the place in the queue is counted, not stored."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from rollout.core.grants import AccessRequest, Standing
from rollout.db.engine import Tx
from rollout.db.tables import access_request

_WAITING = "waiting"


def get(tx: Tx, request_id: str) -> Standing | None:
    row = tx.execute(_standings().where(access_request.c.id == request_id)).mappings().one_or_none()
    return _standing(row) if row else None


def of_tenant(tx: Tx, tenant_id: str, request_id: str) -> Standing | None:
    which = sa.and_(access_request.c.tenant_id == tenant_id, access_request.c.id == request_id)
    row = tx.execute(_standings().where(which)).mappings().one_or_none()
    return _standing(row) if row else None


def waiting(tx: Tx, tenant_id: str, feature: str) -> Standing | None:
    """The tenant's open request for the feature: there is at most one."""
    query = _standings().where(
        access_request.c.tenant_id == tenant_id,
        access_request.c.feature == feature,
        access_request.c.state == _WAITING,
    )
    row = tx.execute(query).mappings().one_or_none()
    return _standing(row) if row else None


def page(
    tx: Tx, *, tenant: str | None, feature: str | None, state: str | None, after: str | None, limit: int
) -> list[Standing]:
    """In the order in which they were asked, beginning after the id `after`."""
    query = _standings().order_by(access_request.c.id).limit(limit)
    for column, wanted in (
        (access_request.c.tenant_id, tenant),
        (access_request.c.feature, feature),
        (access_request.c.state, state),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if after is not None:
        query = query.where(access_request.c.id > after)
    return [_standing(row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: AccessRequest) -> None:
    tx.execute(sa.insert(access_request).values(asdict(new)))


def put(tx: Tx, changed: AccessRequest) -> None:
    which = sa.and_(access_request.c.tenant_id == changed.tenant_id, access_request.c.id == changed.id)
    tx.execute(sa.update(access_request).where(which).values(asdict(changed)))


def _standings() -> sa.Select[Any]:
    """Requests with the place in their feature's queue: how many wait that asked no later."""
    ahead = access_request.alias("ahead")
    place = (
        sa.select(sa.func.count())
        .select_from(ahead)
        .where(
            ahead.c.feature == access_request.c.feature,
            ahead.c.state == _WAITING,
            ahead.c.id <= access_request.c.id,
        )
        .scalar_subquery()
    )
    return sa.select(access_request, sa.case((access_request.c.state == _WAITING, place)).label("position"))


def _standing(row: sa.RowMapping) -> Standing:
    values = dict(row)
    position = values.pop("position")
    return Standing(AccessRequest(**values), position)
