"""Rows of holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple
from typing import Any

import sqlalchemy as sa

from rollout.core.holds import OPEN, Hold, Line, State, StoredResult
from rollout.db.engine import Tx
from rollout.db.tables import hold

HoldId = tuple[str, str]
"""(tenant_id, id)"""

_ID = sa.tuple_(hold.c.tenant_id, hold.c.id)
_KEY = sa.tuple_(hold.c.tenant_id, hold.c.idem_key)
_IS_OPEN = hold.c.lease_until.is_not(None)


def lock(tx: Tx, ids: Collection[HoldId], keys: Collection[tuple[str, str]]) -> list[Hold]:
    """Those with these ids, and those with these (tenant_id, Idempotency-Key), locked; each once."""
    found = _locked(tx, _ID.in_(sorted(ids))) if ids else []
    if keys:
        known = {(one.tenant_id, one.id) for one in found}
        found += [one for one in _locked(tx, _KEY.in_(sorted(keys))) if (one.tenant_id, one.id) not in known]
    return found


def get(tx: Tx, hold_id: str) -> Hold | None:
    row = tx.execute(sa.select(hold).where(hold.c.id == hold_id)).mappings().one_or_none()
    return _hold(row) if row else None


def by_key(tx: Tx, tenant_id: str, idem_key: str) -> Hold | None:
    query = sa.select(hold).where(hold.c.tenant_id == tenant_id, hold.c.idem_key == idem_key)
    row = tx.execute(query).mappings().one_or_none()
    return _hold(row) if row else None


def page(
    tx: Tx, *, tenant: str | None, states: Sequence[State] | None, before: str | None, limit: int
) -> list[Hold]:
    """Newest first; `before` is the id to continue from."""
    query = sa.select(hold).order_by(hold.c.id.desc()).limit(limit)
    if tenant is not None:
        query = query.where(hold.c.tenant_id == tenant)
    if states is not None:
        query = query.where(hold.c.state.in_(states))
        query = query.where(_IS_OPEN) if set(states) <= set(OPEN) else query
    if before is not None:
        query = query.where(hold.c.id < before)
    return [_hold(row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: Sequence[Hold]) -> None:
    if new:
        tx.execute(sa.insert(hold), [_values(one) for one in new])


def put(tx: Tx, changed: Sequence[Hold]) -> None:
    for one in changed:
        this = sa.update(hold).where(hold.c.tenant_id == one.tenant_id, hold.c.id == one.id)
        tx.execute(this.values(_values(one)))


def overdue(tx: Tx, states: Sequence[State], now: int, limit: int) -> list[Hold]:
    """Those whose lease or grace has passed, oldest first."""
    query = sa.select(hold).where(hold.c.lease_until <= now, hold.c.state.in_(states))
    return [_hold(row) for row in tx.execute(query.order_by(hold.c.lease_until).limit(limit)).mappings()]


def renew(tx: Tx, ids: Collection[HoldId], until: int) -> None:
    """Prolong the leases of those that still have one; a row that is locked is being moved on by another."""
    alive = sa.select(hold.c.tenant_id, hold.c.id).where(
        _ID.in_(sorted(ids)), hold.c.state.in_(("held", "dispatched"))
    )
    tx.execute(
        sa.update(hold).where(_ID.in_(alive.with_for_update(skip_locked=True))).values(lease_until=until)
    )


def held(tx: Tx, feature: str, tenant_id: str | None) -> list[Hold]:
    """Those of the feature, for one tenant or all, of which nothing has left yet."""
    query = sa.select(hold).where(_IS_OPEN, hold.c.state == "held", hold.c.feature == feature)
    if tenant_id is not None:
        query = query.where(hold.c.tenant_id == tenant_id)
    return [_hold(row) for row in tx.execute(query).mappings()]


def count_dispatched(tx: Tx, feature: str, tenant_id: str | None) -> int:
    query = sa.select(sa.func.count()).where(
        _IS_OPEN, hold.c.state == "dispatched", hold.c.feature == feature
    )
    if tenant_id is not None:
        query = query.where(hold.c.tenant_id == tenant_id)
    return int(tx.execute(query).scalar_one())


def forget_keys(tx: Tx, made_until: int, limit: int) -> int:
    """Clear key and stored result of that many ended holds made until then; how many it were."""
    old = sa.select(hold.c.tenant_id, hold.c.id).where(
        hold.c.idem_key.is_not(None), hold.c.created_at <= made_until, hold.c.state.in_(("settled", "void"))
    )
    some = old.limit(limit).with_for_update(skip_locked=True)
    return tx.execute(sa.update(hold).where(_ID.in_(some)).values(idem_key=None, result=None)).rowcount


def all_open(tx: Tx) -> Iterator[Hold]:
    """Every hold that reserves something, by its state."""
    query = sa.select(hold).where(hold.c.state.in_(OPEN))
    for row in tx.execution_options(yield_per=1000).execute(query).mappings():
        yield _hold(row)


def _locked(tx: Tx, which: sa.ColumnElement[bool]) -> list[Hold]:
    query = sa.select(hold).where(which).order_by(hold.c.tenant_id, hold.c.id).with_for_update()
    return [_hold(row) for row in tx.execute(query).mappings()]


def _values(one: Hold) -> dict[str, Any]:
    result = one.result
    return vars(one) | {
        "lines": [list(astuple(line)) for line in one.lines],
        "usage": None if one.usage is None else dict(one.usage),
        "result": None if result is None else {**vars(result), "headers": dict(result.headers)},
    }


def _hold(row: sa.RowMapping) -> Hold:
    return Hold(
        **{
            **row,
            "lines": tuple(Line(*line) for line in row["lines"]),
            "result": None if row["result"] is None else StoredResult(**row["result"]),
        }
    )
