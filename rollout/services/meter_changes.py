"""The part of a change that writes meters: for who changes a meter, a grant, a plan, or a tenant's time zone.

    lock(change, tenant_id, feature)
    put(change, before, revise(before, fields, change.now))

The meter, the cap of its open windows and the owner's `meter_rev` are written in the change's transaction, so the next hold is
decided on the new value.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollout.core.decisions import FEATURES
from rollout.core.holds import Books
from rollout.core.meters import PLATFORM, Meter
from rollout.core.plans import Phase
from rollout.core.quota import new_meter
from rollout.core.schedule import overlaps, revise
from rollout.db import ledger, meters
from rollout.errors import Conflict
from rollout.services.changes import Change, as_json
from rollout.services.ids import NewId


def lock(change: Change, tenant_id: str, feature: str | None) -> None:
    """To be called before its meters are written: no hold is made on them until the change is done, and then on the new ones.

    Shared ones have no owner that holds lock, so that these wait at the gate of the meter's feature, or at all of them.
    """
    if tenant_id == PLATFORM:
        for name in sorted(FEATURES) if feature is None else [feature]:
            meters.lock_gate(change.tx, name, exclusive=True)
    meters.lock_owners(change.tx, [tenant_id])
    meters.bump_meter_rev(change.tx, tenant_id)


def add(change: Change, added: Meter) -> None:
    """Raises Conflict when the owner has a meter of that name, or one that counts exactly the same."""
    for other in meters.live(change.tx, added.tenant_id):
        if other.name == added.name:
            raise Conflict(
                f"There is a meter {added.name!r} already.",
                param="name",
                remedy="Change that meter, or give this one a name of its own.",
            )
        if overlaps(other, added):
            raise Conflict(
                f"The meter {other.name!r} counts the same already.",
                param="unit",
                meter=other.id,
                remedy="Change that meter.",
            )
    meters.add(change.tx, added)
    _record(change, "meter.added", None, added)


def put(change: Change, before: Meter, after: Meter) -> None:
    """Nothing is written where nothing changed."""
    if after is not before:
        _end_topups(change, before)
        _move_windows(change, before, after)
        meters.put(change.tx, after)
        meters.set_caps(change.tx, after, change.now)
        _record(change, "meter.changed", before, after)


def _end_topups(change: Change, before: Meter) -> None:
    """Those that have expired, by the caps under which they did."""
    topped = meters.topped(change.tx, before, change.now)
    rows = Books({before.id: before}, topped, (), change.now).rows()
    ledger.write(change.tx, rows)


def _move_windows(change: Change, before: Meter, after: Meter) -> None:
    """Windows that top-ups opened ahead in another time zone are opened anew when their time comes."""
    moved = [since for since, _ in {*before.zones} ^ {*after.zones} if since > change.now]
    if moved and not meters.close_ahead(change.tx, after, min(moved)):
        raise Conflict(
            f"{after.name} has top-ups in windows to come, which another time zone would move.",
            param="tz",
            remedy="Void them, change the time zone, and give them anew.",
        )


def archive(change: Change, old: Meter) -> None:
    meters.archive(change.tx, old, change.now)
    _record(change, "meter.archived", old, None)


def give(change: Change, wanted: Meter) -> Meter:
    """The meter that counts what `wanted` does, with its cap and hardness; `wanted` itself where there was none.

    Raises Conflict when one of that name counts something else.
    """
    for before in meters.live(change.tx, wanted.tenant_id):
        if overlaps(before, wanted):
            after = revise(before, {"cap": wanted.cap, "hard": wanted.hard}, change.now)
            put(change, before, after)
            return after
    add(change, wanted)
    return wanted


def give_budgets(change: Change, new_id: NewId, feature: str, phases: Sequence[Phase]) -> None:
    """What these phases may use of the feature, all tenants together that they let in: the part of their quota of level phase."""
    budgets = [
        (phase.key, fields) for phase in phases for fields in phase.quota if fields.get("level") == "phase"
    ]
    if budgets:
        lock(change, PLATFORM, feature)
    for key, fields in budgets:
        stated = {**fields, "feature": feature, "subject": key}
        give(change, new_meter(new_id("mtr"), PLATFORM, "UTC", change.now, stated))


def _record(change: Change, action: str, before: Meter | None, after: Meter | None) -> None:
    shown = [as_json(meter) if meter else None for meter in (before, after)]
    one = after or before
    assert one is not None
    tenant = None if one.shared else one.tenant_id
    change.record(action, subject=one.id, tenant=tenant, before=shown[0], after=shown[1])
