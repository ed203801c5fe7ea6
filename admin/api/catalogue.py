"""/admin/api/v1/catalogue"""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint

from rollout.web.operation import Answer, Shape, operation
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import actor, admin, editor, viewer
from .features import AcksOut

routes = Blueprint("catalogue", __name__)


class DisableIn(Shape):
    """`in_flight`: what the vendor already has is charged, and delivered or withheld."""

    reason: str | None = None
    in_flight: Literal["finish", "withhold"] = "finish"
    remind_at: Moment | None = None


class EnableIn(Shape):
    reason: str | None = None


class SwitchedVendorOut(Shape):
    vendor: str
    enabled: bool
    revision: int
    acks: AcksOut
    in_flight: dict[str, int]


class VendorOut(SwitchedVendorOut):
    kill: dict[str, Any] | None
    models: list[str]


@routes.get("/catalogue/vendors")
@operation("List the catalogue's vendors", auth=viewer)
def list_vendors() -> Answer:
    return {"data": services().vendors.list(), "next_cursor": None}


@routes.get("/catalogue/vendors/<name>")
@operation("Show a vendor, and how far its last switch has spread", auth=viewer, answer=VendorOut)
def show_vendor(name: str) -> Answer:
    return services().vendors.get(name)


@routes.post("/catalogue/vendors/<name>/disable")
@operation("Switch a vendor off", auth=editor, body=DisableIn, answer=SwitchedVendorOut)
def disable_vendor(name: str, body: DisableIn) -> Answer:
    return services().vendors.disable(
        actor(), name, body.reason, in_flight=body.in_flight, remind_at=epoch_or_none(body.remind_at)
    )


@routes.post("/catalogue/vendors/<name>/enable")
@operation("Switch a vendor on again", auth=admin, body=EnableIn, answer=SwitchedVendorOut)
def enable_vendor(name: str, body: EnableIn) -> Answer:
    return services().vendors.enable(actor(), name, body.reason)
