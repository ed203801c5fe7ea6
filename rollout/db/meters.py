"""Rows of meters and their buckets, and the locks of the ledger.

One order of locking everywhere, so that nothing deadlocks: gates, tenants, holds, buckets (shared ones last).
What tenants share has no owner to lock: it changes under the exclusive gates of its features, and every hold is
made under the shared one. SQLite has one writer at a time and needs none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from rollout.core.holds import Gates
from rollout.core.kills import EVERYONE, vendor_of
from rollout.core.meters import PLATFORM, Bucket, BucketKey, BucketTopUp, Meter
from rollout.db.driver import NOTHING, Row, Statement, insert_many, run, select_many, update_many
from rollout.db.engine import Tx
from rollout.db.tables import bucket, kill, meter, quota_owner

METER = [meter.c[column.name] for column in fields(Meter)]
BUCKET = [bucket.c[name] for name in Bucket._fields]
_CHANGING = ("cap", "used", "held", "topups", "topped", "alerted", "exhausted_at")
_KEY = ("tenant_id", "meter_id", "subject", "start")


# -- locks -------------------------------------------------------------------------------------------------


def lock_gate(tx: Tx, feature: str, exclusive: bool) -> None:
    run(tx, gate(tx, feature, exclusive=exclusive))


def gate(tx: Tx, feature: str, *, exclusive: bool) -> Statement:
    """Every hold is made with the gates of its feature and its vendor shared; who stops one of them takes its gate exclusively.

    So no hold commits after the stop did. Held until the transaction ends.
    """
    if tx.dialect.name != "postgresql":
        return NOTHING
    lock = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    return Statement(f"select {lock}(hashtextextended(%s, 0))", (f"gate {feature}",))


def lock_owners(tx: Tx, tenant_ids: Collection[str]) -> dict[str, int]:
    """Lock the first row of each tenant's quota; by tenant the `meter_rev`."""
    _, found = run(tx, owners_made(tx, tenant_ids), owners(tx, tenant_ids, lock=True))
    return revisions(found)


def owners_made(tx: Tx, tenant_ids: Collection[str]) -> Statement:
    """For those that may have no row yet. To be run before any is locked: who locks some and then makes others has no order."""
    new = [(tenant_id, 0) for tenant_id in sorted(tenant_ids)]
    return insert_many(tx, quota_owner, new, missing_only=True)


def owners(tx: Tx, tenant_ids: Collection[str], *, lock: bool) -> Statement:
    """Answers what `revisions` reads. PLATFORM's is true without a lock until the transaction ends if a gate is locked."""
    wanted = [(tenant_id,) for tenant_id in tenant_ids]
    return select_many(tx, quota_owner, ("tenant_id", "meter_rev"), ("tenant_id",), wanted, lock=lock)


def revisions(rows: Iterable[Row]) -> dict[str, int]:
    return {tenant_id: int(revision) for tenant_id, revision in rows}


def bump_meter_rev(tx: Tx, tenant_id: str) -> None:
    """Tell holds in the making that the tenant's meters changed; the caller holds the owner's lock."""
    raised = {"meter_rev": quota_owner.c.meter_rev + 1}
    tx.execute(sa.update(quota_owner).where(quota_owner.c.tenant_id == tenant_id).values(raised))


def stops(tx: Tx, switches: Collection[str], tenant_ids: Collection[str]) -> Statement:
    """Answers what `gates` reads of features and vendors' switches; true until the transaction ends if their gates are locked."""
    places = [(name, EVERYONE, 1) for name in switches]
    places += [(name, tenant_id, 1) for name in switches if not vendor_of(name) for tenant_id in tenant_ids]
    return select_many(tx, kill, ("tenant_id", "feature"), ("feature", "tenant_id", "killed"), places)


def gates(stopped: Sequence[Row]) -> Gates:
    return Gates(
        killed=frozenset(feature for tenant_id, feature in stopped if tenant_id == EVERYONE),
        halted=frozenset((item[0], item[1]) for item in stopped if item[0] != EVERYONE),
    )


# -- meters ------------------------------------------------------------------------------------------------


def live(tx: Tx, tenant_id: str) -> tuple[Meter, ...]:
    """The tenant's meters that are not archived, in order of id."""
    return tuple(page(tx, tenant=tenant_id, after=None, limit=None))


def page(tx: Tx, *, tenant: str | None, after: str | None, limit: int | None) -> list[Meter]:
    """Those that are not archived, in order of id, beginning after `after`."""
    query = sa.select(*METER).where(meter.c.archived_at.is_(None)).order_by(meter.c.id).limit(limit)
    if tenant is not None:
        query = query.where(meter.c.tenant_id == tenant)
    if after is not None:
        query = query.where(meter.c.id > after)
    return [meter_of(row) for row in tx.execute(query).mappings()]


def get(tx: Tx, meter_id: str) -> Meter | None:
    """None for one that is archived, too."""
    query = sa.select(*METER).where(meter.c.id == meter_id, meter.c.archived_at.is_(None))
    row = tx.execute(query).mappings().one_or_none()
    return meter_of(row) if row else None


def names(tx: Tx, tenant_id: str, ids: Collection[str]) -> dict[str, str]:
    """What these meters are called, by id; those that are archived too."""
    query = sa.select(meter.c.id, meter.c.name).where(meter.c.tenant_id == tenant_id, meter.c.id.in_(ids))
    return {row.id: row.name for row in tx.execute(query)}


def with_windows(
    tx: Tx,
    now: int,
    *,
    tenant: str | None = None,
    feature: str | None = None,
    unit: str | None = None,
    above: int = 0,
    shared: bool = True,
    after: tuple[str, str] = ("", ""),
    limit: int,
) -> list[tuple[Meter, Bucket | None]]:
    """Those that are not archived, in order of tenant and id, beginning after `after`; each with the window that began last.

    That window may have ended. Not `shared`: without those of PLATFORM. `above`: only those of whose open window more than so many
    percent of the cap are taken.
    """
    other = bucket.alias()
    last = sa.select(sa.func.max(other.c.start)).where(
        other.c.tenant_id == meter.c.tenant_id,
        other.c.meter_id == meter.c.id,
        other.c.subject == "",
        other.c.start <= now,
    )
    window = sa.and_(
        bucket.c.tenant_id == meter.c.tenant_id,
        bucket.c.meter_id == meter.c.id,
        bucket.c.subject == "",
        bucket.c.start == last.scalar_subquery(),
    )
    query = (
        sa.select(*METER, *(column.label(f"bucket_{column.name}") for column in BUCKET))
        .select_from(meter.join(bucket, window, isouter=not above))
        .where(meter.c.archived_at.is_(None), sa.tuple_(meter.c.tenant_id, meter.c.id) > after)
        .order_by(meter.c.tenant_id, meter.c.id)
        .limit(limit)
    )
    if not shared:
        query = query.where(meter.c.tenant_id != PLATFORM)
    wanted = {meter.c.tenant_id: tenant, meter.c.feature: feature, meter.c.unit: unit}
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    if above:
        is_open = bucket.c.ends.is_(None) | (bucket.c.ends > now)
        query = query.where(is_open, (bucket.c.used + bucket.c.held) * 100 > bucket.c.cap * above)
    return [_with_window(row) for row in tx.execute(query).mappings()]


def due(tx: Tx, now: int, limit: int) -> list[str]:
    """The ids of meters of which something that was planned has come, earliest first."""
    query = sa.select(meter.c.id).where(meter.c.due_at <= now, meter.c.archived_at.is_(None))
    return list(tx.execute(query.order_by(meter.c.due_at).limit(limit)).scalars())


def add(tx: Tx, new: Meter) -> None:
    tx.execute(sa.insert(meter).values(_meter_values(new)))


def put(tx: Tx, changed: Meter) -> None:
    tx.execute(_this(changed).values(_meter_values(changed)))


def archive(tx: Tx, old: Meter, now: int) -> None:
    """It counts no more; its buckets and entries stay."""
    tx.execute(_this(old).values(archived_at=now))


def meter_of(row: sa.RowMapping) -> Meter:
    """From a row that has the columns METER."""
    values = {column.name: row[column.name] for column in METER}
    for name in ("thresholds", "scheduled", "zones"):
        values[name] = tuple(tuple(item) if isinstance(item, list) else item for item in values[name] or ())
    return Meter(**values)


def bucket_of(row: Sequence[Any]) -> Bucket:
    """From the columns BUCKET, in their order."""
    one = Bucket(*row)
    return one._replace(topups=tuple(BucketTopUp(*item) for item in one.topups or ()))


def _with_window(row: sa.RowMapping) -> tuple[Meter, Bucket | None]:
    if row["bucket_start"] is None:
        return meter_of(row), None
    return meter_of(row), bucket_of([row[f"bucket_{column.name}"] for column in BUCKET])


def _meter_values(one: Meter) -> dict[str, Any]:
    lists = {name: list(vars(one)[name]) for name in ("thresholds", "scheduled", "zones")}
    return vars(one) | lists | {"due_at": one.due_at}


def _this(one: Meter) -> sa.Update:
    return sa.update(meter).where(meter.c.tenant_id == one.tenant_id, meter.c.id == one.id)


# -- buckets -----------------------------------------------------------------------------------------------


def lock_buckets(
    tx: Tx, keys: Collection[BucketKey], opened: Sequence[Bucket] = ()
) -> dict[BucketKey, Bucket]:
    """Those with these keys, after those of `opened` were made that do not exist yet; `opened` in order of key."""
    names = [column.name for column in bucket.columns]
    new = [[values[name] for name in names] for values in map(_bucket_values, opened)]
    _, rows = run(tx, insert_many(tx, bucket, new, missing_only=True), _buckets(tx, keys, lock=True))
    return _by_key(rows)


def read_buckets(tx: Tx, keys: Collection[BucketKey]) -> dict[BucketKey, Bucket]:
    (rows,) = run(tx, _buckets(tx, keys, lock=False))
    return _by_key(rows)


def buckets_changed(tx: Tx, changed: Sequence[Bucket]) -> Statement:
    """Writes all but what an open window never changes."""
    rows = [[values[name] for name in (*_CHANGING, *_KEY)] for values in map(_bucket_values, changed)]
    return update_many(tx, bucket, _KEY, _CHANGING, rows)


def set_caps(tx: Tx, changed: Meter, now: int) -> None:
    """Give the meter's cap to its open windows, beside their top-ups; the caller holds the owner's lock."""
    is_open = bucket.c.ends.is_(None) | (bucket.c.ends > now)
    of_meter = sa.and_(bucket.c.tenant_id == changed.tenant_id, bucket.c.meter_id == changed.id, is_open)
    plain = sa.update(bucket).where(of_meter, bucket.c.topups.is_(None))
    tx.execute(plain.values(cap=changed.cap_at(now) + bucket.c.topped))
    for one in topped(tx, changed, now).values():
        this = [column == value for column, value in zip(bucket.primary_key, one.key, strict=True)]
        tx.execute(sa.update(bucket).where(*this).values(cap=one.cap_by(changed, now)))


def topped(tx: Tx, of: Meter, now: int) -> dict[BucketKey, Bucket]:
    """The meter's open windows, and those ahead, that have top-ups; locked."""
    query = sa.select(*BUCKET).where(
        bucket.c.tenant_id == of.tenant_id,
        bucket.c.meter_id == of.id,
        bucket.c.ends.is_(None) | (bucket.c.ends > now),
        bucket.c.topups.is_not(None),
    )
    found = map(bucket_of, tx.execute(query.order_by(*bucket.primary_key).with_for_update()))
    return {one.key: one for one in found}


def close_ahead(tx: Tx, of: Meter, since: int) -> bool:
    """Remove the meter's windows that begin at `since` or later; False where one of them has something in it."""
    ahead = sa.and_(bucket.c.tenant_id == of.tenant_id, bucket.c.meter_id == of.id, bucket.c.start >= since)
    filled = (bucket.c.used + bucket.c.held + bucket.c.topped != 0) | bucket.c.topups.is_not(None)
    if tx.execute(sa.select(sa.exists().where(ahead, filled))).scalar_one():
        return False
    tx.execute(sa.delete(bucket).where(ahead))
    return True


def fullest(tx: Tx, of: Meter, start: int, *, among: int, limit: int) -> list[Bucket]:
    """The windows that began at `start` and have most used and held, of at most `among`."""
    window = sa.select(*BUCKET).where(
        bucket.c.tenant_id == of.tenant_id, bucket.c.meter_id == of.id, bucket.c.start == start
    )
    looked_at = window.limit(among).subquery()
    taken = looked_at.c.used + looked_at.c.held
    top = sa.select(looked_at).order_by(taken.desc(), looked_at.c.subject).limit(limit)
    return [bucket_of(row) for row in tx.execute(top)]


def _buckets(tx: Tx, keys: Collection[BucketKey], *, lock: bool) -> Statement:
    return select_many(tx, bucket, Bucket._fields, _KEY, keys, lock=lock)


def _by_key(rows: Iterable[Row]) -> dict[BucketKey, Bucket]:
    return {one.key: one for one in map(bucket_of, rows)}


def _bucket_values(one: Bucket) -> dict[str, Any]:
    return one._asdict() | {"topups": [list(item) for item in one.topups] or None}
