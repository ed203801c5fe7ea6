"""/admin/api/v1/schedules, and /admin/api/v1/plans/{feature}/schedule"""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from rollout.core.schedules import State
from rollout.core.steps import parse_step
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("schedules", __name__)


class ScheduleQuery(PageQuery):
    feature: str | None = None
    state: State | None = None


class ScheduleIn(Shape):
    """A step as `do` names it, with its `to` or `patch`; taken at `at`, after the plan's other schedules up to then."""

    at: Moment
    do: str
    to: str | None = None
    patch: dict[str, Any] | None = None
    reason: str | None = None


class ScheduleOut(Shape):
    """`stale`: the plan that it rests on is another one by now, so that it would be in conflict at its time."""

    id: str
    feature: str
    at: str
    step: dict[str, Any]
    base_version: int
    state: str
    stale: bool
    reason: str
    created_by: str
    created_at: str
    ended_at: str | None
    outcome: str | None
    version: int


@routes.post("/plans/<feature>/schedule")
@operation("Schedule a step of a plan", auth=editor, body=ScheduleIn, answer=ScheduleOut, status=201)
def schedule_step(feature: str, body: ScheduleIn) -> Answer:
    step = parse_step(body.model_dump(include={"do", "to", "patch"}))
    seen = based_on(required=False)
    added = services().schedules.add(actor(), feature, epoch(body.at), step, body.reason, based_on=seen)
    return versioned(added, 1, 201)


@routes.get("/schedules")
@operation("List schedules, newest first", auth=viewer, query=ScheduleQuery)
def list_schedules(query: ScheduleQuery) -> Answer:
    rows = services().schedules.page(
        feature=query.feature, state=query.state, before=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, lambda row: row["id"], dict)


@routes.get("/schedules/<schedule_id>")
@operation("Show a schedule", auth=viewer, answer=ScheduleOut)
def show_schedule(schedule_id: str) -> Answer:
    found = services().schedules.get(schedule_id)
    return versioned(found, found["version"])


@routes.post("/schedules/<schedule_id>/cancel")
@operation(
    "Cancel a schedule, or settle the conflict that it is in", auth=editor, body=Reason, answer=ScheduleOut
)
def cancel_schedule(schedule_id: str, body: Reason) -> Answer:
    cancelled = services().schedules.cancel(
        actor(), schedule_id, body.reason, based_on=based_on(required=False)
    )
    return versioned(cancelled, cancelled["version"])
