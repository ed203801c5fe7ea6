"""/admin/api/v1/plans"""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import Field

from rollout.core.steps import Advance, Edit, Jump, Pause, Restart, Resume, RollBack, Step
from rollout.services.change_requests import Submitted
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .change_requests import ChangeRequestOut
from .schedules import ScheduleOut
from .tenants import Reason

routes = Blueprint("plans", __name__)


class NewPlan(Shape):
    """`template` or `phases`; it stands at `phase`, or at the first one."""

    feature: str
    reason: str | None = None
    template: str | None = None
    phases: list[Any] | None = None
    phase: str | None = None
    four_eyes: bool = False


class ContentIn(Shape):
    """All that a plan says. Phases may be sent as they are shown."""

    phases: list[Any]
    four_eyes: bool = False
    reason: str | None = None


class PatchIn(Shape):
    """A merge patch, RFC 7396; `phases` by key. A new one says by `after` behind which it stands, null removes one."""

    four_eyes: bool | None = None
    phases: dict[str, dict[str, Any] | None] | None = None
    reason: str | None = None


class MoveIn(Shape):
    """`to`: the key of a phase further away than the next one."""

    reason: str | None = None
    to: str | None = None


class JumpIn(Shape):
    to: str
    reason: str | None = None


class RestartIn(Shape):
    """`patch`: what to change of the phase, RFC 7396."""

    patch: dict[str, Any] = Field(default_factory=dict)
    reason: str | None = None


class RunOut(Shape):
    run: int
    phase: str
    state: str
    entered_at: str
    entered_by: str
    left_at: str | None
    open_to: str | None


class PlanOut(Shape):
    feature: str
    version: int
    four_eyes: bool
    run: RunOut
    phases: list[dict[str, Any]]


class WaitsFor(Shape):
    """What must be true before the plan goes on: `conditions` of gates, met or not, people, and change requests that wait for them."""

    conditions: list[dict[str, Any]]
    approvals_needed: int
    change_requests: list[ChangeRequestOut]


class PlanShown(PlanOut):
    """`schedules`: what is to come, and what a person must decide on."""

    runs: list[RunOut]
    waits_for: WaitsFor
    schedules: list[ScheduleOut]


class Came(Shape):
    """Counted over the first `examined` tenants; `complete`: these were all. Where the same audiences stay open, nobody is asked."""

    gained: int
    lost: int
    examined: int
    complete: bool


class PlanStepped(PlanOut):
    tenants: Came


@routes.get("/plans")
@operation("List plans", auth=viewer)
def list_plans() -> Answer:
    return {"data": services().plans.list(), "next_cursor": None}


@routes.get("/plans/templates")
@operation("List the templates of plans, with their phases", auth=viewer)
def list_templates() -> Answer:
    return {"data": services().plans.templates(), "next_cursor": None}


@routes.post("/plans")
@operation("Give a feature a plan, from a template or from phases", auth=editor, body=NewPlan, answer=PlanOut)
def add_plan(body: NewPlan) -> Answer:
    given = body.model_dump(include={"template", "phases", "phase", "four_eyes"})
    added = services().plans.add(actor(), body.feature, body.reason, **given)
    return versioned(added, added["version"], 201)


@routes.get("/plans/<feature>")
@operation(
    "Show a plan: its phases, its runs, where it stands and what it waits for", auth=viewer, answer=PlanShown
)
def show_plan(feature: str) -> Answer:
    plan = services().plans.get(feature)
    waits_for = services().change_requests.waits_for(feature)
    schedules = services().schedules.open_of(feature)
    return versioned({**plan, "waits_for": waits_for, "schedules": schedules}, plan["version"])


@routes.put("/plans/<feature>")
@operation("Write all that a plan says", auth=editor, body=ContentIn, answer=PlanStepped)
def put_plan(feature: str, body: ContentIn) -> Answer:
    seen = based_on(required=True)
    edit = services().plans.edit_to(feature, body.model_dump(include={"phases", "four_eyes"}))
    return _submit(feature, edit, body.reason, seen)


@routes.patch("/plans/<feature>")
@operation("Change what a plan says", auth=editor, body=PatchIn, answer=PlanStepped)
def patch_plan(feature: str, body: PatchIn) -> Answer:
    patch = {
        name: value
        for name, value in (("four_eyes", body.four_eyes), ("phases", body.phases))
        if value is not None
    }
    return _submit(feature, Edit(patch), body.reason, based_on(required=True))


@routes.post("/plans/<feature>/advance")
@operation("Advance a plan; nobody loses access", auth=editor, body=MoveIn, answer=PlanStepped)
def advance_plan(feature: str, body: MoveIn) -> Answer:
    return _submit(feature, Advance(body.to), body.reason, based_on(required=False))


@routes.post("/plans/<feature>/rollback")
@operation("Roll a plan back", auth=editor, body=MoveIn, answer=PlanStepped)
def roll_back_plan(feature: str, body: MoveIn) -> Answer:
    return _submit(feature, RollBack(body.to), body.reason, based_on(required=False))


@routes.post("/plans/<feature>/jump")
@operation(
    "Bring a plan to any phase, past time and evidence; nobody loses access",
    auth=editor,
    body=JumpIn,
    answer=PlanStepped,
)
def jump_plan(feature: str, body: JumpIn) -> Answer:
    return _submit(feature, Jump(body.to), body.reason, based_on(required=False))


@routes.post("/plans/<feature>/restart")
@operation(
    "Begin the phase of a plan anew, changed where you say so; nobody loses access",
    auth=editor,
    body=RestartIn,
    answer=PlanStepped,
)
def restart_plan(feature: str, body: RestartIn) -> Answer:
    return _submit(feature, Restart(body.patch), body.reason, based_on(required=False))


@routes.post("/plans/<feature>/pause")
@operation("Keep a plan where it is; who is in stays in", auth=editor, body=Reason, answer=PlanStepped)
def pause_plan(feature: str, body: Reason) -> Answer:
    return _submit(feature, Pause(), body.reason, based_on(required=False))


@routes.post("/plans/<feature>/resume")
@operation("Undo a pause", auth=editor, body=Reason, answer=PlanStepped)
def resume_plan(feature: str, body: Reason) -> Answer:
    return _submit(feature, Resume(), body.reason, based_on(required=False))


def submitted(found: Submitted) -> Answer:
    """The plan as the step left it, or 202 and the change request that waits for approvals."""
    if found.plan is not None:
        return versioned(found.plan, found.plan["version"])
    assert found.change_request is not None
    return versioned(found.change_request, found.change_request["version"], 202)


def _submit(feature: str, step: Step, reason: str | None, seen: int | None) -> Answer:
    return submitted(services().change_requests.submit(actor(), feature, step, reason, based_on=seen))
