"""Meters: a tenant's quotas, added, changed, archived.

The meter, the cap of its open windows, the tenant's `meter_rev`, the audit entry and the revision are one transaction: the next
hold is decided on the new value, whatever its caller had in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rollout.core.audit import Actor
from rollout.core.decisions import FEATURES
from rollout.core.meters import Bucket, Limit, Meter, default_name, limit_of, open_bucket, revise
from rollout.db import entries, meters, plans
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services import tenants
from rollout.services.changes import Change, Changes, as_json
from rollout.services.ids import NewId

LOOKED_AT_HOLDS = 100
"""How many of a tenant's latest pieces of work are searched for those that a meter counted."""


@dataclass(frozen=True)
class Booked:
    """What one hold changed in a window, and the window's `used` after it, as if holds were booked one after another.

    `at`: when it last changed it, UTC epoch seconds. Amounts in the meter's unit.
    """

    hold_id: str
    at: int
    d_used: int
    d_held: int
    used: int


class Meters:
    def __init__(self, database: Database, changes: Changes, new_id: NewId) -> None:
        self._database, self._changes, self._new_id = database, changes, new_id

    def page(self, *, tenant: str | None, after: str | None, limit: int) -> list[Meter]:
        """Meters that are not archived, of one tenant or all, in order of id."""
        with self._database.read() as tx:
            return meters.page(tx, tenant=tenant, after=after, limit=limit)

    def get(self, meter_id: str) -> Meter:
        """Raises NotFound, for an archived one too."""
        with self._database.read() as tx:
            return _require(tx, meter_id)

    def limits(
        self,
        *,
        tenant: str | None = None,
        feature: str | None = None,
        unit: str | None = None,
        above: int = 0,
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> list[Limit]:
        """How meters stand in their window of now, in order of tenant and id, from after those of `after`.

        `above`: only those of which more than so many percent are used or held.
        """
        with self._database.read() as tx:
            now = self._database.now(tx)
            found = meters.with_windows(
                tx, now, tenant=tenant, feature=feature, unit=unit, above=above, after=after, limit=limit
            )
        return [_standing(meter, bucket, now) for meter, bucket in found]

    def standing(self, meter_id: str) -> tuple[Limit, list[Booked]]:
        """How a meter stands in its window of now, and what counted there lately, newest first. Raises NotFound."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            meter = _require(tx, meter_id)
            key = open_bucket(meter, now).key
            limit = _standing(meter, meters.read_buckets(tx, [key]).get(key), now)
            rows = entries.of_bucket(tx, key, LOOKED_AT_HOLDS)
        booked, used = [], limit.used
        for hold_id, at, d_used, d_held in rows:
            booked.append(Booked(hold_id, at, d_used, d_held, used))
            used -= d_used
        return limit, booked

    def names(self, tenant_id: str, ids: Collection[str]) -> dict[str, str]:
        """What these meters of the tenant are called, by id; those that are archived too."""
        with self._database.read() as tx:
            return meters.names(tx, tenant_id, ids)

    def named(self, tenant_id: str, name: str) -> Meter:
        """The tenant's meter of that name. Raises NotFound, which lists the names there are."""
        with self._database.read() as tx:
            of_tenant = meters.live(tx, tenants.require(tx, tenant_id).id)
        for meter in of_tenant:
            if meter.name == name:
                return meter
        names = ", ".join(meter.name for meter in of_tenant) or "none"
        raise NotFound(f"{tenant_id} has no meter {name!r}; it has: {names}.", param="meter")

    def add(
        self,
        actor: Actor,
        tenant_id: str,
        fields: Mapping[str, Any],
        reason: str | None,
        *,
        dry_run: bool = False,
    ) -> Meter:
        """A new meter; `fields` are those of `Meter`, of which unit, period and cap are needed.

        By default it is hard, of level `feature`, in the tenant's time zone, and called after what it counts; without a feature
        it is of level `tenant` and not hard. Raises NotFound, InvalidRequest, Conflict when the name is taken.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            tenant = tenants.require(change.tx, tenant_id)
            added = new_meter(self._new_id("mtr"), tenant_id, tenant.tz, change.now, fields)
            meters.lock_owners(change.tx, [tenant_id])
            if any(other.name == added.name for other in meters.live(change.tx, tenant_id)):
                raise Conflict(
                    f"{tenant_id} has a meter {added.name!r} already.",
                    param="name",
                    remedy="Change that meter, or give this one a name of its own.",
                )
            meters.add(change.tx, added)
            meters.bump_meter_rev(change.tx, tenant_id)
            _record(change, "meter.added", None, added)
        return added

    def change(
        self,
        actor: Actor,
        meter_id: str,
        fields: Mapping[str, Any],
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Meter:
        """Set `cap` and `hard`, from the next hold on. A cap below what is used refuses new work and cancels nothing.

        Raises NotFound, StaleVersion, InvalidRequest.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, meter_id)
            tenants.check_version(based_on, before.version, as_json(before))
            after = revise(before, fields)
            if after is before:
                return before
            meters.lock_owners(change.tx, [after.tenant_id])
            meters.put(change.tx, after)
            meters.set_caps(change.tx, after, change.now)
            meters.bump_meter_rev(change.tx, after.tenant_id)
            _record(change, "meter.changed", before, after)
        return after

    def archive(
        self,
        actor: Actor,
        meter_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Meter:
        """It limits nothing from the next hold on; its books stay, and its name is free. Raises NotFound, StaleVersion."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, meter_id)
            tenants.check_version(based_on, before.version, as_json(before))
            meters.lock_owners(change.tx, [before.tenant_id])
            meters.archive(change.tx, before, change.now)
            meters.bump_meter_rev(change.tx, before.tenant_id)
            _record(change, "meter.archived", before, None)
        return before


def new_meter(meter_id: str, tenant_id: str, tz: str, now: int, fields: Mapping[str, Any]) -> Meter:
    """A meter from what was said of it, with the defaults that `Meters.add` promises. Raises InvalidRequest."""
    given = {name: value for name, value in fields.items() if value is not None}
    for name in ("unit", "period", "cap"):
        if name not in given:
            raise InvalidRequest(f"A meter needs a {name}.", param=name)
    feature = given.get("feature")
    if feature is not None and feature not in FEATURES:
        raise InvalidRequest(
            f"There is no feature {feature!r}; there are {', '.join(FEATURES)}.", param="feature"
        )
    stated = {
        "name": default_name(given["unit"], given["period"]),
        "level": "tenant" if feature is None else "feature",
        "feature": None,
        "tz": tz,
        "hard": feature is not None,
        **given,
    }
    return Meter(id=meter_id, tenant_id=tenant_id, created_at=now, **stated)


def give_quota(
    change: Change,
    new_id: NewId,
    tenant_id: str,
    feature: str,
    wanted: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[Meter, ...]:
    """The part of a change that gives a tenant its meters of a feature; those that it added or changed.

    `wanted` are the fields of each; None: the quota of the current phase, unless the tenant has a hard meter of the feature, so
    that nobody is let in without a limit. A meter that is there already gets the new cap. Raises NotFound, InvalidRequest.
    """
    tenant = tenants.require(change.tx, tenant_id)
    meters.lock_owners(change.tx, [tenant_id])
    live = meters.live(change.tx, tenant_id)
    if wanted is None:
        has_its_own = any(meter.hard and meter.feature == feature for meter in live)
        wanted = () if has_its_own else _quota_of_phase(change.tx, feature)
    by_name = {meter.name: meter for meter in live}
    given = []
    for position, fields in enumerate(wanted):
        with _in_list(position):
            meter = new_meter(new_id("mtr"), tenant_id, tenant.tz, change.now, {"feature": feature, **fields})
            by_name[meter.name] = _give(change, by_name.get(meter.name), meter)
            given.append(meter.name)
    if given:
        meters.bump_meter_rev(change.tx, tenant_id)
    return tuple(by_name[name] for name in given)


def _quota_of_phase(tx: Tx, feature: str) -> Sequence[Mapping[str, Any]]:
    plan = plans.get(tx, feature)
    return plan.phase.quota if plan else ()


@contextmanager
def _in_list(position: int) -> Iterator[None]:
    """An InvalidRequest from the block says which one of the list is wrong."""
    try:
        yield
    except InvalidRequest as wrong:
        where = f"meters.{position}.{wrong.members['param']}"
        raise InvalidRequest(wrong.message, remedy=wrong.remedy_text, param=where) from None


def _give(change: Change, before: Meter | None, wanted: Meter) -> Meter:
    """Add the meter, or give the one of that name the wanted cap; raises InvalidRequest when that one counts something else."""
    if before is None:
        meters.add(change.tx, wanted)
        _record(change, "meter.added", None, wanted)
        return wanted
    if _counts(before) != _counts(wanted):
        raise InvalidRequest(
            f"{before.tenant_id} has a meter {before.name!r} that counts something else.",
            param="name",
            remedy="Choose another name.",
        )
    after = revise(before, {"cap": wanted.cap, "hard": wanted.hard})
    if after is not before:
        meters.put(change.tx, after)
        meters.set_caps(change.tx, after, change.now)
        _record(change, "meter.changed", before, after)
    return after


def _counts(meter: Meter) -> tuple[str, str | None, str, str]:
    return meter.level, meter.feature, meter.unit, meter.period


def _standing(meter: Meter, found: Bucket | None, now: int) -> Limit:
    """`found` is the meter's last window; that of now may not have begun by any use."""
    window = open_bucket(meter, now)
    return limit_of(meter, found if found is not None and found.key == window.key else window, now)


def _require(tx: Tx, meter_id: str) -> Meter:
    found = meters.get(tx, meter_id)
    if found is None:
        raise NotFound(f"There is no meter {meter_id!r}.", param="meter")
    return found


def _record(change: Change, action: str, before: Meter | None, after: Meter | None) -> None:
    shown = [as_json(meter) if meter else None for meter in (before, after)]
    one = after or before
    assert one is not None
    change.record(action, subject=one.id, tenant=one.tenant_id, before=shown[0], after=shown[1])
