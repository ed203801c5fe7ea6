"""/admin/api/v1/meters"""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import StrictBool, StrictInt

from rollout.core.meters import Meter, meter_json
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("meters", __name__)


class MeterQuery(PageQuery):
    tenant: str | None = None


class MeterIn(Shape):
    """Without `level`, `name`, `tz`, `hard`: as the feature says, after what it counts, the tenant's, true with a feature."""

    tenant: str
    unit: str
    period: str
    cap: StrictInt
    feature: str | None = None
    level: str | None = None
    name: str | None = None
    tz: str | None = None
    hard: StrictBool | None = None
    reason: str | None = None


class MeterChange(Shape):
    cap: StrictInt | None = None
    hard: StrictBool | None = None
    reason: str | None = None


class MeterOut(Shape):
    id: str
    tenant: str
    name: str
    level: str
    feature: str | None
    unit: str
    period: str
    tz: str
    cap: int
    hard: bool


@routes.get("/meters")
@operation("List meters", auth=viewer, query=MeterQuery)
def list_meters(query: MeterQuery) -> Answer:
    rows = services().meters.page(tenant=query.tenant, after=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda meter: meter.id, meter_json)


@routes.post("/meters")
@operation("Add a meter", auth=editor, body=MeterIn, answer=MeterOut, status=201)
def add_meter(body: MeterIn) -> Answer:
    added = services().meters.add(actor(), body.tenant, _fields(body), body.reason)
    return _shown(added, 201)


@routes.get("/meters/<meter_id>")
@operation("Show a meter", auth=viewer, answer=MeterOut)
def show_meter(meter_id: str) -> Answer:
    return _shown(services().meters.get(meter_id))


@routes.patch("/meters/<meter_id>")
@operation("Change a meter's cap, or whether it refuses", auth=editor, body=MeterChange, answer=MeterOut)
def change_meter(meter_id: str, body: MeterChange) -> Answer:
    version = based_on(required=True)
    return _shown(services().meters.change(actor(), meter_id, _fields(body), body.reason, based_on=version))


@routes.delete("/meters/<meter_id>")
@operation("Archive a meter: it limits nothing from now on", auth=editor, body=Reason, answer=MeterOut)
def archive_meter(meter_id: str, body: Reason) -> Answer:
    return _shown(
        services().meters.archive(actor(), meter_id, body.reason, based_on=based_on(required=False))
    )


def _fields(body: Shape) -> dict[str, Any]:
    return body.model_dump(exclude={"tenant", "reason"}, exclude_none=True)


def _shown(meter: Meter, status: int = 200) -> Answer:
    return versioned(meter_json(meter), meter.version, status)
