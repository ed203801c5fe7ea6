"""/admin/api/v1/meters"""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import Field, StrictBool, StrictInt

from rollout.core.meters import PLATFORM, Limit, Meter, limit_json, meter_json, shortage
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("meters", __name__)


FULLEST = 20
"""So many keys or end users are shown of a meter that has a window for each."""


class MeterQuery(PageQuery):
    """`shared`: only those that all tenants share."""

    tenant: str | None = None
    shared: bool = False


class Planned(Shape):
    at: Moment
    cap: StrictInt


class MeterIn(Shape):
    """Without `tenant`: one that all tenants share, of level platform or phase.

    Without `level`, `name`, `tz`, `hard`: as the feature says, after what it counts, the tenant's (shared: UTC), true with a feature.
    `subject`: the phase, key or end user. It counts from `effective_at` up to `until`.
    """

    tenant: str | None = None
    unit: str
    period: str
    cap: StrictInt
    feature: str | None = None
    level: str | None = None
    subject: str | None = None
    name: str | None = None
    tz: str | None = None
    hard: StrictBool | None = None
    thresholds: list[StrictInt] | None = Field(None, max_length=10)
    effective_at: Moment | None = None
    until: Moment | None = None
    reason: str | None = None


class MeterChange(Shape):
    """`effective_at` and `until` say when the new cap holds: now, and up to the next that is planned. `scheduled` replaces the plan."""

    cap: StrictInt | None = None
    effective_at: Moment | None = None
    until: Moment | None = None
    scheduled: list[Planned] | None = None
    hard: StrictBool | None = None
    thresholds: list[StrictInt] | None = Field(None, max_length=10)
    tz: str | None = None
    period: str | None = None
    unit: str | None = None
    level: str | None = None
    feature: str | None = None
    subject: str | None = None
    name: str | None = None
    reason: str | None = None


class ZoneOut(Shape):
    since: str
    tz: str


class PlannedOut(Shape):
    at: str
    cap: int


class MeterOut(Shape):
    """`zones`: a change of `tz` to come."""

    id: str
    tenant: str | None
    name: str
    level: str
    subject: str | None
    feature: str | None
    unit: str
    period: str
    tz: str
    zones: list[ZoneOut]
    cap: int
    scheduled: list[PlannedOut]
    hard: bool
    thresholds: list[int]
    effective_at: str | None
    until: str | None


class WindowOut(Shape):
    """`subject`: the key, or a hash of the end user, where each has a window."""

    subject: str | None
    cap: int
    used: int
    held: int
    remaining: int
    resets_at: str | None


class MeterStanding(MeterOut):
    """`windows`: that of now, or the fullest where each key or end user has one; `note`: what follows from a cap below what is used."""

    windows: list[WindowOut]
    note: str | None


@routes.get("/meters")
@operation("List meters", auth=viewer, query=MeterQuery)
def list_meters(query: MeterQuery) -> Answer:
    tenant = PLATFORM if query.shared else query.tenant
    rows = services().meters.page(tenant=tenant, after=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda meter: meter.id, meter_json)


@routes.post("/meters")
@operation("Add a meter", auth=editor, body=MeterIn, answer=MeterStanding, status=201)
def add_meter(body: MeterIn) -> Answer:
    return _shown(services().meters.add(actor(), body.tenant, _fields(body), body.reason), 201)


@routes.get("/meters/<meter_id>")
@operation("Show a meter, and how it stands", auth=viewer, answer=MeterStanding)
def show_meter(meter_id: str) -> Answer:
    return _shown(services().meters.get(meter_id))


@routes.patch("/meters/<meter_id>")
@operation(
    "Change a meter: its cap, now or at a time, whether it refuses, when it warns, its time zone",
    auth=editor,
    body=MeterChange,
    answer=MeterStanding,
)
def change_meter(meter_id: str, body: MeterChange) -> Answer:
    version = based_on(required=True)
    return _shown(services().meters.change(actor(), meter_id, _fields(body), body.reason, based_on=version))


@routes.delete("/meters/<meter_id>")
@operation("Archive a meter: it limits nothing from now on", auth=editor, body=Reason, answer=MeterOut)
def archive_meter(meter_id: str, body: Reason) -> Answer:
    archived = services().meters.archive(actor(), meter_id, body.reason, based_on=based_on(required=False))
    return versioned(meter_json(archived), archived.version)


def _fields(body: MeterIn | MeterChange) -> dict[str, Any]:
    fields = body.model_dump(exclude={"tenant", "reason"}, exclude_none=True)
    fields |= {name: epoch(fields[name]) for name in ("effective_at", "until") if name in fields}
    if "thresholds" in fields:
        fields["thresholds"] = tuple(fields["thresholds"])
    if "scheduled" in fields:
        fields["scheduled"] = [(epoch(item["at"]), item["cap"]) for item in fields["scheduled"]]
    return fields


def _shown(meter: Meter, status: int = 200) -> Answer:
    windows = services().meters.windows(meter, limit=FULLEST)
    shown = {
        **meter_json(meter),
        "windows": [_window(limit) for limit in windows],
        "note": next(filter(None, map(shortage, windows)), None),
    }
    return versioned(shown, meter.version, status)


def _window(limit: Limit) -> dict[str, Any]:
    shown = limit_json(limit)
    return {
        name: limit.subject or None if name == "subject" else shown[name] for name in WindowOut.model_fields
    }
