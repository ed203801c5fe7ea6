"""Meters: what tenants, their keys and end users, and all of them together may use; added, changed, archived.

The meter, the cap of its open windows, the owner's `meter_rev`, the audit entry and the revision are one transaction: the next
hold is decided on the new value, whatever its caller had in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rollout.core.audit import Actor
from rollout.core.meters import PLATFORM, Bucket, Limit, Meter, limit_of, open_bucket
from rollout.core.quota import new_meter
from rollout.core.schedule import revise
from rollout.core.times import check_ahead
from rollout.db import entries, keys, meters, plans
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services import meter_changes, tenants
from rollout.services.changes import Change, Changes, as_json
from rollout.services.ids import NewId

SCHEDULE = Actor("system:schedule")

LOOKED_AT_HOLDS = 100
"""How many of a tenant's latest pieces of work are searched for those that a meter counted."""

EXAMINED_SUBJECTS = 10_000
"""Of how many keys or end users the fullest windows are sought."""


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
        """Meters that are not archived, of one tenant (PLATFORM: the shared ones) or all, in order of id."""
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
        shared: bool = True,
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> list[Limit]:
        """How meters stand in their window of now, in order of tenant and id, from after those of `after`; of one tenant
        (PLATFORM: the shared ones), or of all, with those that they share or (not `shared`) without.

        One that has a window for each key or end user counts 0 here: see `windows`. `above`: only those of which more than so many
        percent are used or held.
        """
        with self._database.read() as tx:
            now = self._database.now(tx)
            found = meters.with_windows(
                tx,
                now,
                tenant=tenant,
                feature=feature,
                unit=unit,
                above=above,
                shared=shared,
                after=after,
                limit=limit,
            )
            of_one = [open_bucket(meter, now, meter.only_subject) for meter, _ in found if meter.only_subject]
            own = {
                bucket.meter_id: bucket
                for bucket in meters.read_buckets(tx, [it.key for it in of_one]).values()
            }
        return [_standing(meter, own.get(meter.id, bucket), now) for meter, bucket in found]

    def windows(self, meter: Meter, *, limit: int) -> list[Limit]:
        """How a meter stands in its window of now; where each key or end user has one, in the fullest of (at most 10,000) them."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            if meter.only_subject is None:
                start = open_bucket(meter, now).start
                full = meters.fullest(tx, meter, start, among=EXAMINED_SUBJECTS, limit=limit)
                return [limit_of(meter, bucket, now) for bucket in full]
            key = open_bucket(meter, now, meter.only_subject).key
            return [_standing(meter, meters.read_buckets(tx, [key]).get(key), now)]

    def standing(self, meter_id: str) -> tuple[Limit, list[Booked]]:
        """How a meter stands in its window of now, and what counted there lately, newest first. Raises NotFound."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            meter = _require(tx, meter_id)
            key = open_bucket(meter, now, meter.only_subject or "").key
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

    def named(self, tenant_id: str | None, name: str) -> Meter:
        """The tenant's meter of that name, or (None) the shared one. Raises NotFound, which lists the names there are."""
        with self._database.read() as tx:
            found = meters.live(tx, PLATFORM if tenant_id is None else tenants.require(tx, tenant_id).id)
        for meter in found:
            if meter.name == name:
                return meter
        names = ", ".join(meter.name for meter in found) or "none"
        if tenant_id is None:
            raise NotFound(
                f"No meter that tenants share is called {name!r}; there are: {names}.", param="meter"
            )
        raise NotFound(f"{tenant_id} has no meter {name!r}; it has: {names}.", param="meter")

    def add(
        self,
        actor: Actor,
        tenant_id: str | None,
        fields: Mapping[str, Any],
        reason: str | None,
        *,
        dry_run: bool = False,
    ) -> Meter:
        """A new meter of a tenant, or (None) one that all share; `fields` are those of `Meter`, of which unit, period and cap are
        needed.

        By default it is hard, of level `feature`, in the tenant's time zone, and called after what it counts; without a feature
        it is of level `tenant` and not hard. A shared one is of level `platform`, in UTC. Raises NotFound, InvalidRequest, Conflict
        when the name is taken or another counts the same.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            tz = "UTC" if tenant_id is None else tenants.require(change.tx, tenant_id).tz
            added = new_meter(self._new_id("mtr"), tenant_id or PLATFORM, tz, change.now, fields)
            check_ahead(added.until, change.now, "until")
            _check_subject(change.tx, added)
            meter_changes.lock(change, added.tenant_id, added.feature)
            meter_changes.add(change, added)
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
        """Change what `core.schedule.revise` lets change, from the next hold on. A cap below what is used refuses new work and
        cancels nothing.

        Raises NotFound, StaleVersion, InvalidRequest.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, meter_id)
            tenants.check_version(based_on, before.version, as_json(before))
            after = revise(before, fields, change.now)
            meter_changes.lock(change, after.tenant_id, after.feature)
            meter_changes.put(change, before, after)
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
            meter_changes.lock(change, before.tenant_id, before.feature)
            meter_changes.archive(change, before)
        return before

    def carry_out_plans(self, limit: int = 100) -> int:
        """Write down what was planned and has come: caps, time zones, ends. How many meters it were, at most `limit`.

        Holds are decided on the plan itself and wait for nobody; this is for who reads.
        """
        with self._database.read() as tx:
            due = meters.due(tx, self._database.now(tx), limit)
        for meter_id in due:
            with self._changes.begin(SCHEDULE, "as planned") as change:
                meter = meters.get(change.tx, meter_id)
                if meter is None:
                    continue
                meter_changes.lock(change, meter.tenant_id, meter.feature)
                if meter.until is not None and meter.until <= change.now:
                    meter_changes.archive(change, meter)
                else:
                    meter_changes.put(change, meter, revise(meter, {}, change.now))
        return len(due)


def give_quota(
    change: Change,
    new_id: NewId,
    tenant_id: str,
    feature: str,
    wanted: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[Meter, ...]:
    """The part of a change that gives a tenant its meters of a feature; those that it added or changed.

    `wanted` are the fields of each; None: the quota of the current phase, unless the tenant has a hard meter of the feature, so
    that nobody is let in without a limit. A meter that counts the same already gets the new cap. Raises NotFound, InvalidRequest.
    """
    tenant = tenants.require(change.tx, tenant_id)
    meter_changes.lock(change, tenant_id, feature)
    if wanted is None:
        has_its_own = any(it.hard and it.feature == feature for it in meters.live(change.tx, tenant_id))
        wanted = () if has_its_own else _quota_of_phase(change.tx, feature)
    given = {}
    for position, fields in enumerate(wanted):
        with _in_list(position):
            meter = new_meter(new_id("mtr"), tenant_id, tenant.tz, change.now, {"feature": feature, **fields})
            meter = meter_changes.give(change, meter)
            given[meter.id] = meter
    return tuple(given.values())


def _quota_of_phase(tx: Tx, feature: str) -> Sequence[Mapping[str, Any]]:
    """What the current phase gives each tenant; what it gives all of them together is another matter."""
    plan = plans.get(tx, feature)
    return plan.phase.quota_of_each if plan else ()


@contextmanager
def _in_list(position: int) -> Iterator[None]:
    """What is wrong in the block is said of this one of the list."""
    try:
        yield
    except (InvalidRequest, Conflict) as wrong:
        where = f"meters.{position}.{wrong.members['param']}"
        raise InvalidRequest(wrong.message, remedy=wrong.remedy_text, param=where) from None


def _check_subject(tx: Tx, meter: Meter) -> None:
    """Raises InvalidRequest unless the key is the tenant's, or the phase the feature's."""
    if meter.subject is None:
        return
    if meter.level == "api_key" and keys.get(tx, meter.tenant_id, meter.subject) is None:
        raise InvalidRequest(f"{meter.tenant_id} has no key {meter.subject!r}.", param="subject")
    if meter.level == "phase" and meter.feature is not None:
        plan = plans.get(tx, meter.feature)
        known = [phase.key for phase in plan.plan.phases] if plan else []
        if meter.subject not in known:
            raise InvalidRequest(
                f"{meter.feature} has no phase {meter.subject!r}; it has: {', '.join(known) or 'none'}.",
                param="subject",
            )


def _standing(meter: Meter, found: Bucket | None, now: int) -> Limit:
    """`found` is the meter's last window; that of now may not have begun by any use."""
    window = open_bucket(meter, now, meter.only_subject or "")
    return limit_of(meter, found if found is not None and found.key == window.key else window, now)


def _require(tx: Tx, meter_id: str) -> Meter:
    found = meters.get(tx, meter_id)
    if found is None:
        raise NotFound(f"There is no meter {meter_id!r}.", param="meter")
    return found
