"""Rows of access requests; the place in the queue is counted, not stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from rollout.core.decisions import FEATURES
from rollout.core.grants import AccessRequest, Standing
from rollout.db.engine import Tx
from rollout.db.tables import access_request

_WAITING = "waiting"


def get(tx: Tx, request_id: str) -> Standing | None:
    return _one(tx, access_request.c.id == request_id)


def of_tenant(tx: Tx, tenant_id: str, request_id: str) -> Standing | None:
    return _one(tx, access_request.c.tenant_id == tenant_id, access_request.c.id == request_id)


def waiting(tx: Tx, tenant_id: str, feature: str) -> Standing | None:
    """The tenant's open request for the feature: there is at most one."""
    return _one(
        tx,
        access_request.c.tenant_id == tenant_id,
        access_request.c.feature == feature,
        access_request.c.state == _WAITING,
    )


def page(
    tx: Tx, *, tenant: str | None, feature: str | None, state: str | None, after: str | None, limit: int
) -> list[Standing]:
    """In the order in which they were asked, beginning after the id `after`.

    Those in one state come from each feature's queue in turn: that is how the index has them.
    """
    equals = {access_request.c.tenant_id: tenant, access_request.c.state: state}
    query = sa.select(access_request).order_by(access_request.c.id).limit(limit)
    query = query.where(*(column == wanted for column, wanted in equals.items() if wanted is not None))
    if after is not None:
        query = query.where(access_request.c.id > after)
    if feature is None and state is None:
        queries = [query]
    else:
        features = FEATURES if feature is None else (feature,)
        queries = [query.where(access_request.c.feature == one) for one in features]
    found = [AccessRequest(**row) for one in queries for row in tx.execute(one).mappings()]
    return _standings(tx, sorted(found, key=lambda request: request.id)[:limit])


def add(tx: Tx, new: AccessRequest) -> None:
    tx.execute(sa.insert(access_request).values(asdict(new)))


def put(tx: Tx, changed: AccessRequest) -> None:
    which = sa.and_(access_request.c.tenant_id == changed.tenant_id, access_request.c.id == changed.id)
    tx.execute(sa.update(access_request).where(which).values(asdict(changed)))


def _one(tx: Tx, *which: sa.ColumnElement[bool]) -> Standing | None:
    row = tx.execute(sa.select(access_request).where(*which)).mappings().one_or_none()
    return _standings(tx, [AccessRequest(**row)])[0] if row else None


def _standings(tx: Tx, found: Sequence[AccessRequest]) -> list[Standing]:
    """Requests, in order of id and with none that waits left out, and their places: each queue is counted once, up to its first."""
    places: dict[str, int] = {}
    standings = []
    for request in found:
        place = None
        if request.state == _WAITING:
            ahead = places.get(request.feature)
            place = places[request.feature] = _ahead(tx, request) + 1 if ahead is None else ahead + 1
        standings.append(Standing(request, place))
    return standings


def _ahead(tx: Tx, request: AccessRequest) -> int:
    """How many wait for the feature that asked earlier."""
    query = (
        sa.select(sa.func.count())
        .select_from(access_request)
        .where(
            access_request.c.feature == request.feature,
            access_request.c.state == _WAITING,
            access_request.c.id < request.id,
        )
    )
    return int(tx.execute(query).scalar_one())
