"""/admin/api/v1/plans"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint

from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("plans", __name__)


class MoveIn(Shape):
    """`to`: the key of a phase further away than the next one."""

    reason: str | None = None
    to: str | None = None


class RunOut(Shape):
    run: int
    phase: str
    state: str
    entered_at: str
    entered_by: str
    left_at: str | None


class PlanOut(Shape):
    feature: str
    version: int
    run: RunOut
    phases: list[dict[str, Any]]


class PlanWithRuns(PlanOut):
    runs: list[RunOut]


class Came(Shape):
    """Counted over the first `examined` tenants; `complete`: these were all."""

    gained: int
    lost: int
    examined: int
    complete: bool


class PlanMoved(PlanOut):
    tenants: Came


@routes.get("/plans")
@operation("List plans", auth=viewer)
def list_plans() -> Answer:
    return {"data": services().plans.list(), "next_cursor": None}


@routes.get("/plans/<feature>")
@operation("Show a plan: its phases, where it stands, and its runs", auth=viewer, answer=PlanWithRuns)
def show_plan(feature: str) -> Answer:
    return _shown(services().plans.get(feature))


@routes.post("/plans/<feature>/advance")
@operation("Advance a plan; nobody loses access", auth=editor, body=MoveIn, answer=PlanMoved)
def advance_plan(feature: str, body: MoveIn) -> Answer:
    seen = based_on(required=False)
    return _shown(services().plans.advance(actor(), feature, body.reason, to=body.to, based_on=seen))


@routes.post("/plans/<feature>/rollback")
@operation("Roll a plan back", auth=editor, body=MoveIn, answer=PlanMoved)
def roll_back_plan(feature: str, body: MoveIn) -> Answer:
    seen = based_on(required=False)
    return _shown(services().plans.rollback(actor(), feature, body.reason, to=body.to, based_on=seen))


@routes.post("/plans/<feature>/pause")
@operation("Keep a plan where it is; who is in stays in", auth=editor, body=Reason, answer=PlanOut)
def pause_plan(feature: str, body: Reason) -> Answer:
    return _shown(services().plans.pause(actor(), feature, body.reason, based_on=based_on(required=False)))


@routes.post("/plans/<feature>/resume")
@operation("Undo a pause", auth=editor, body=Reason, answer=PlanOut)
def resume_plan(feature: str, body: Reason) -> Answer:
    return _shown(services().plans.resume(actor(), feature, body.reason, based_on=based_on(required=False)))


def _shown(plan: Mapping[str, Any]) -> Answer:
    return versioned(plan, plan["version"])
