"""Holds as a retry without an Idempotency-Key looks for them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import sqlalchemy as sa

from rollout.core.holds import State, StoredResult
from rollout.db.engine import Tx
from rollout.db.tables import hold

RUNNING: tuple[State, ...] = ("held", "dispatched")


class Found(NamedTuple):
    """What became of a hold; `unsent`: its answer did not reach the caller."""

    id: str
    state: State
    unsent: bool
    result: StoredResult | None


def of_retry(tx: Tx, tenant_id: str, api_key_id: str, fingerprint: str, since: str) -> list[str]:
    """Ids from `since` on of the same request's holds that run, or ended without telling their caller; oldest first."""
    untold = sa.and_(hold.c.unsent, hold.c.state.in_(("settled", "unknown")))
    query = sa.select(hold.c.id).where(
        hold.c.tenant_id == tenant_id,
        hold.c.id >= since,
        hold.c.fingerprint == fingerprint,
        hold.c.api_key_id == api_key_id,
        hold.c.idem_key.is_(None),
        sa.or_(hold.c.state.in_(RUNNING), untold),
    )
    return list(tx.execute(query.order_by(hold.c.id)).scalars())


def read(tx: Tx, tenant_id: str, ids: Collection[str]) -> list[Found]:
    """Oldest first."""
    query = sa.select(hold.c.id, hold.c.state, hold.c.unsent, hold.c.result)
    these = query.where(hold.c.tenant_id == tenant_id, hold.c.id.in_(ids))
    return [_found(*row) for row in tx.execute(these.order_by(hold.c.id))]


def mark(tx: Tx, tenant_id: str, hold_id: str, *, unsent: bool) -> bool:
    """Whether it was marked otherwise before."""
    this = sa.update(hold).where(hold.c.tenant_id == tenant_id, hold.c.id == hold_id)
    return tx.execute(this.where(hold.c.unsent != unsent).values(unsent=unsent)).rowcount == 1


def _found(hold_id: str, state: State, unsent: bool, result: dict[str, Any] | None) -> Found:
    return Found(hold_id, state, unsent, None if result is None else StoredResult(**result))
