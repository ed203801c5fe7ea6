"""Rows of holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from rollout.core.holds import OPEN, Hold, Line, State, StoredResult
from rollout.core.kills import vendor_of
from rollout.db.driver import Row, Statement, insert_many, select_many, update_many
from rollout.db.engine import Tx
from rollout.db.tables import hold, job

HoldId = tuple[str, str]
"""(tenant_id, id)"""

_COLUMNS = tuple(column.name for column in hold.columns)
_KEY = ("tenant_id", "id")
_CHANGING = (
    "state", "idem_key", "price_id", "cost_usd_micro", "settled_from", "usage", "lease_until", "upstream_id", "result",
    "resolution", "settled_at", "unsent", "evidence",
)  # fmt: skip
_IS_OPEN = hold.c.lease_until.is_not(None)


def by_id(tx: Tx, ids: Collection[HoldId]) -> Statement:
    """Locks them and answers what `each_once` reads."""
    return select_many(tx, hold, _COLUMNS, _KEY, ids, lock=True)


def by_key(tx: Tx, keys: Collection[tuple[str, str]]) -> Statement:
    """The same for those with these (tenant_id, Idempotency-Key)."""
    return select_many(tx, hold, _COLUMNS, ("tenant_id", "idem_key"), keys, lock=True)


def each_once(rows: Iterable[Row]) -> list[Hold]:
    found = [of_row(dict(zip(_COLUMNS, row, strict=True))) for row in rows]
    return list({one.id: one for one in found}.values())


def get(tx: Tx, hold_id: str) -> Hold | None:
    row = tx.execute(sa.select(hold).where(hold.c.id == hold_id)).mappings().one_or_none()
    return of_row(row) if row else None


def of_request(tx: Tx, request_id: str) -> Hold | None:
    row = (
        tx.execute(sa.select(hold).where(hold.c.request_id == request_id).order_by(hold.c.id))
        .mappings()
        .first()
    )
    return of_row(row) if row else None


def page(
    tx: Tx, *, tenant: str | None, states: Sequence[State] | None, before: str | None, limit: int
) -> list[Hold]:
    """Newest first; `before` is the id to continue from."""
    newest_first = hold.c.id.desc()
    query = sa.select(hold).limit(limit)
    if tenant is not None:
        query = query.where(hold.c.tenant_id == tenant)
    if states is not None:
        query = query.where(hold.c.state.in_(states))
    if states is not None and set(states) <= set(OPEN):
        # These are few. Ordered by the bare id SQLite would walk through all holds by its index to find them.
        query, newest_first = query.where(_IS_OPEN), sa.func.coalesce(hold.c.id, "").desc()
    if before is not None:
        query = query.where(hold.c.id < before)
    return [of_row(row) for row in tx.execute(query.order_by(newest_first)).mappings()]


def added(tx: Tx, new: Sequence[Hold]) -> Statement:
    return insert_many(tx, hold, [_row(one, _COLUMNS) for one in new])


def changed(tx: Tx, moved: Sequence[Hold]) -> Statement:
    return update_many(tx, hold, _KEY, _CHANGING, [_row(one, (*_CHANGING, *_KEY)) for one in moved])


def overdue(
    tx: Tx, states: Sequence[State], now: int, limit: int, *, but: Collection[str] = ()
) -> list[Hold]:
    """Those whose lease or grace has passed, oldest first, without those of the models `but`."""
    query = sa.select(hold).where(hold.c.lease_until <= now, hold.c.state.in_(states))
    if but:
        query = query.where(hold.c.model.not_in(sorted(but)))
    return [of_row(row) for row in tx.execute(query.order_by(hold.c.lease_until).limit(limit)).mappings()]


def renew(tx: Tx, ids: Collection[HoldId], until: int) -> None:
    """Prolong the leases of those that still have one; a row that is locked is being moved on by another."""
    alive = sa.select(hold.c.tenant_id, hold.c.id).where(
        *_these(ids), hold.c.state.in_(("held", "dispatched"))
    )
    _set(tx, alive, lease_until=until)


def renew_left(tx: Tx, until: int, limit: int) -> int:
    """Prolong that many leases, or graces, those that end first, of holds that an open job goes on with; how many it were."""
    goes_on = sa.exists().where(
        job.c.tenant_id == hold.c.tenant_id,
        job.c.kind == "generation",
        job.c.dedupe == hold.c.id,
        sa.text("job.state in ('ready', 'running')"),
    )
    left = sa.select(hold.c.tenant_id, hold.c.id).where(
        _IS_OPEN, hold.c.lease_until < until, hold.c.state.in_(OPEN), goes_on
    )
    return _set(tx, left.order_by(hold.c.lease_until).limit(limit), lease_until=until)


def held(tx: Tx, switch: str, tenant_id: str | None) -> list[Hold]:
    """Those of the feature or vendor, for one tenant or all, of which nothing has left yet."""
    query = sa.select(hold).where(_IS_OPEN, hold.c.state == "held", *_behind(switch, tenant_id))
    return [of_row(row) for row in tx.execute(query).mappings()]


def count_dispatched(tx: Tx, switch: str, tenant_id: str | None) -> int:
    query = sa.select(sa.func.count()).where(
        _IS_OPEN, hold.c.state == "dispatched", *_behind(switch, tenant_id)
    )
    return int(tx.execute(query).scalar_one())


def forget_keys(tx: Tx, made_until: int, limit: int) -> int:
    """Clear key and stored result of that many ended holds made until then; how many it were."""
    old = sa.select(hold.c.tenant_id, hold.c.id).where(
        hold.c.idem_key.is_not(None),
        hold.c.created_at <= made_until,
        hold.c.state.in_(("settled", "void")),
    )
    return _set(tx, old.limit(limit), idem_key=None, result=None)


def all_open(tx: Tx) -> Iterator[Hold]:
    """Every hold that reserves something, by its state."""
    query = sa.select(hold).where(hold.c.state.in_(OPEN))
    for row in tx.execution_options(yield_per=1000).execute(query).mappings():
        yield of_row(row)


def _behind(switch: str, tenant_id: str | None) -> list[sa.ColumnElement[bool]]:
    """Holds that this switch stops."""
    vendor = vendor_of(switch)
    found = [hold.c.feature == switch if vendor is None else hold.c.vendor == vendor]
    return found if tenant_id is None else [*found, hold.c.tenant_id == tenant_id]


def _set(tx: Tx, which: sa.Select[tuple[str, str]], **values: Any) -> int:
    """Change those that nobody has locked, without waiting; how many it were."""
    ids = [(row.tenant_id, row.id) for row in tx.execute(which.with_for_update(skip_locked=True))]
    if ids:
        tx.execute(sa.update(hold).where(*_these(ids)).values(**values))
    return len(ids)


def _these(ids: Collection[HoldId]) -> tuple[sa.ColumnElement[bool], ...]:
    """Found by index on both databases; SQLite scans the table for row values."""
    return (
        hold.c.tenant_id.in_(sorted({tenant_id for tenant_id, _ in ids})),
        hold.c.id.in_(sorted(hold_id for _, hold_id in ids)),
    )


def _row(one: Hold, columns: Sequence[str]) -> list[Any]:
    values = _values(one)
    return [values[name] for name in columns]


def _values(one: Hold) -> dict[str, Any]:
    result = one.result
    return vars(one) | {
        "lines": [list(line) for line in one.lines],
        "usage": None if one.usage is None else dict(one.usage),
        "result": None if result is None else {**vars(result), "headers": dict(result.headers)},
        "evidence": [dict(item) for item in one.evidence] or None,
    }


def of_row(row: Mapping[str, Any] | sa.RowMapping) -> Hold:
    """The hold that a row of its table is."""
    return Hold(
        **{
            **row,
            "lines": tuple(Line(*line) for line in row["lines"]),
            "result": None if row["result"] is None else StoredResult(**row["result"]),
            "unsent": bool(row["unsent"]),
            "evidence": tuple(row["evidence"] or ()),
        }
    )
