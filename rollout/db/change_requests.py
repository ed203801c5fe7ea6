"""Rows of change requests and their approvals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from rollout.core.approvals import Approval, ChangeRequest
from rollout.db.engine import Tx
from rollout.db.tables import approval, change_request


def add(tx: Tx, new: ChangeRequest) -> None:
    tx.execute(sa.insert(change_request).values(_row(new)))


def approve(tx: Tx, request_id: str, new: Approval) -> None:
    tx.execute(sa.insert(approval).values(change_request_id=request_id, **vars(new)))


def put(tx: Tx, changed: ChangeRequest) -> None:
    """Write its state; the caller holds the revision row."""
    tx.execute(sa.update(change_request).where(change_request.c.id == changed.id).values(_row(changed)))


def get(tx: Tx, request_id: str) -> ChangeRequest | None:
    return next(iter(_load(tx, sa.select(change_request).where(change_request.c.id == request_id))), None)


def waiting(tx: Tx, feature: str) -> list[ChangeRequest]:
    """In order of their filing."""
    return _load(tx, _where(feature, "waiting").order_by(change_request.c.id))


def of_content(tx: Tx, feature: str, content_hash: str) -> bool:
    """Whether one was ever filed for this content."""
    query = _where(feature, None).where(change_request.c.content_hash == content_hash)
    return tx.execute(sa.select(query.exists())).scalar_one()


def page(
    tx: Tx, *, feature: str | None, state: str | None, before: str | None, limit: int
) -> list[ChangeRequest]:
    """Newest first, from after the id `before` on."""
    query = _where(feature, state).order_by(change_request.c.id.desc()).limit(limit)
    return _load(tx, query if before is None else query.where(change_request.c.id < before))


def _where(feature: str | None, state: str | None) -> sa.Select[Any]:
    query = sa.select(change_request)
    if feature is not None:
        query = query.where(change_request.c.feature == feature)
    return query if state is None else query.where(change_request.c.state == state)


def _row(request: ChangeRequest) -> dict[str, Any]:
    row = {item.name: getattr(request, item.name) for item in dataclasses.fields(request)}
    del row["approvals"]
    return {**row, "step": dict(request.step)}


def _load(tx: Tx, query: sa.Select[Any]) -> list[ChangeRequest]:
    rows: Sequence[sa.RowMapping] = tx.execute(query).mappings().all()
    by_request: dict[str, list[Approval]] = {row["id"]: [] for row in rows}
    given = sa.select(approval).where(approval.c.change_request_id.in_(by_request)).order_by(approval.c.at)
    for one in tx.execute(given).mappings():
        by_request[one["change_request_id"]].append(
            Approval(one["by"], one["content_hash"], one["reason"], one["at"])
        )
    return [ChangeRequest(**row, approvals=tuple(by_request[row["id"]])) for row in rows]
