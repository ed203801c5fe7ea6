"""/admin/api/v1/features"""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint

from rollout.web.conditional import versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import actor, admin, editor, viewer

routes = Blueprint("features", __name__)


class KillIn(Shape):
    """`tenant`: for this one alone; `in_flight`: what the vendor already has is charged, and delivered or withheld."""

    reason: str | None = None
    tenant: str | None = None
    in_flight: Literal["finish", "withhold"] = "finish"
    remind_at: Moment | None = None


class ReviveIn(Shape):
    reason: str | None = None
    tenant: str | None = None


class AcksOut(Shape):
    expected: int
    received: int
    slowest_ms: int | None
    gone: int


class SwitchedOut(Shape):
    feature: str
    tenant: str | None
    killed: bool
    revision: int
    acks: AcksOut
    in_flight: dict[str, int]
    last_allowed_at: str | None


class FeatureOut(Shape):
    feature: str
    killed: bool
    kill: dict[str, Any] | None
    halts: list[dict[str, Any]]
    phase: str | None
    phase_state: str | None
    revision: int
    acks: AcksOut
    in_flight: dict[str, int]
    last_allowed_at: str | None


@routes.get("/features")
@operation("List features", auth=viewer)
def list_features() -> Answer:
    return {"data": services().features.list(), "next_cursor": None}


@routes.get("/features/<feature>")
@operation("Show a feature, and how far its last stop has spread", auth=viewer, answer=FeatureOut)
def show_feature(feature: str) -> Answer:
    shown = services().features.get(feature)
    return versioned(shown, shown["revision"])


@routes.post("/features/<feature>/kill")
@operation("Stop a feature, for all or for one tenant", auth=editor, body=KillIn, answer=SwitchedOut)
def kill_feature(feature: str, body: KillIn) -> Answer:
    return services().features.kill(
        actor(),
        feature,
        body.reason,
        tenant=body.tenant,
        in_flight=body.in_flight,
        remind_at=epoch_or_none(body.remind_at),
    )


@routes.post("/features/<feature>/revive")
@operation("Undo a stop", auth=admin, body=ReviveIn, answer=SwitchedOut)
def revive_feature(feature: str, body: ReviveIn) -> Answer:
    return services().features.revive(actor(), feature, body.reason, tenant=body.tenant)
