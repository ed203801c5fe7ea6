"""/admin/api/v1/plans/{feature}/simulate"""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import Field

from rollout.core.steps import parse_step
from rollout.services.simulations import DEFAULT_DAYS
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("simulations", __name__)


class SimulateIn(PageQuery):
    """`step` as `do` names it, `phases` as a merge patch (RFC 7396) by key, open ones too; with both the step comes after the patch.

    `days`: how far back to look. `cursor` and `limit` are for the names of the tenants that come and go.
    """

    step: dict[str, Any] | None = None
    phases: dict[str, dict[str, Any] | None] | None = None
    days: int = DEFAULT_DAYS
    limit: int = Field(100, ge=1, le=500)


class Use(Shape):
    requests: int
    images: int
    cost_usd_micro: int


class Expected(Shape):
    """Used in these `days` by those who are in, and expected in as many of those who would be."""

    now: Use
    then: Use


class HeadRoom(Shape):
    """A budget that tenants share. `meter` None: the phase would bring it along. `expected`: in one period."""

    meter: str | None
    name: str
    level: str
    subject: str | None
    unit: str
    period: str
    cap: int
    used: int
    held: int
    expected: int
    fits: bool


class Turned(Shape):
    decisions: int
    tenants: int


class Replayed(Shape):
    """The decisions of these `days`, and those that would have gone the other way. Not `complete`: there are more."""

    decisions: int
    allowed: int
    denied: int
    newly_allowed: Turned
    newly_denied: Turned
    complete: bool


class Inside(Shape):
    """`inside` now. Counted over the first `examined` tenants; `complete`: these were all."""

    inside: int
    gained: int
    lost: int
    examined: int
    complete: bool


class Change(Shape):
    tenant: str
    name: str
    change: str
    phase: str


class SimulatedOut(Shape):
    """`plan` as it would be; `conditions` and `approvals_needed` stand before the step."""

    feature: str
    plan: dict[str, Any]
    conditions: list[dict[str, Any]]
    approvals_needed: int
    tenants: Inside
    changes: list[Change]
    next_cursor: str | None
    days: int
    since: str
    expected: Expected
    head_room: list[HeadRoom]
    replay: Replayed


@routes.post("/plans/<feature>/simulate")
@operation(
    "What would change if a plan took a step, or said something else; nothing does",
    auth=viewer,
    body=SimulateIn,
    answer=SimulatedOut,
)
def simulate_plan(feature: str, body: SimulateIn) -> Answer:
    step = None if body.step is None else parse_step(body.step, "step")
    found = services().simulations.simulate(feature, step=step, phases=body.phases, days=body.days)
    return found.page(body.cursor, body.limit)
