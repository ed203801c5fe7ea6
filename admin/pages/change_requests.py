"""/admin/change-requests"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from flask import Blueprint, url_for

from rollout.core.approvals import State
from rollout.core.audit import Difference, differences
from rollout.core.decisions import GATED
from rollout.core.plans import RunningPlan, content_json
from rollout.core.steps import parse_step
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import words
from .auth import actor, editor, viewer
from .forms import ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("change_requests", __name__)

COLUMNS = (
    "id", "feature", "step", "state", "reason", "created_by", "created_at", "ended_at", "ended_by", "outcome",
    "content_hash",
)  # fmt: skip


class ChangeRequestsView(ListView):
    """Those that wait, unless another state is asked for."""

    feature: str | None = None
    state: State | Literal["any"] = "waiting"


class ApprovalForm(ReasonForm):
    """`content_hash`: of what the page showed."""

    content_hash: str


@routes.get("/change-requests")
@operation("Steps of plans that wait until enough people said yes", auth=viewer, query=ChangeRequestsView)
def show_change_requests(query: ChangeRequestsView) -> Answer:
    wired = services()
    state = None if query.state == "any" else query.state

    def page(cursor: str | None, limit: int) -> list[dict[str, Any]]:
        return wired.change_requests.page(feature=query.feature, state=state, before=cursor, limit=limit)

    return show_list(
        "change_requests.html",
        query,
        page,
        lambda asked: str(asked["id"]),
        file="change-requests",
        columns=COLUMNS,
        as_row=dict,
        features=[(name, words.feature(name)) for name in GATED],
        states=[(name, words.state(name)) for name in get_args(State)],
    )


@routes.get("/change-requests/<request_id>")
@operation("A change, what it would come to, and who approved it", auth=viewer, query=PageView)
def show_change_request(request_id: str, query: PageView) -> Answer:
    return _shown(request_id)


@routes.post("/change-requests/<request_id>/approve")
@operation("Approve a change; the last approval that it needs makes it", auth=editor)
def approve_change_request(request_id: str) -> Answer:
    def act() -> None:
        form = read(ApprovalForm)
        services().change_requests.approve(actor(), request_id, form.reason, content_hash=form.content_hash)

    return _attempt(request_id, act)


@routes.post("/change-requests/<request_id>/reject")
@operation("Reject a change", auth=editor)
def reject_change_request(request_id: str) -> Answer:
    def act() -> None:
        services().change_requests.reject(actor(), request_id, read(ReasonForm).reason)

    return _attempt(request_id, act)


@routes.post("/change-requests/<request_id>/withdraw")
@operation("Withdraw a change that you filed", auth=editor)
def withdraw_change_request(request_id: str) -> Answer:
    def act() -> None:
        services().change_requests.withdraw(actor(), request_id, read(ReasonForm).reason)

    return _attempt(request_id, act)


def _attempt(request_id: str, act: Callable[[], object]) -> Answer:
    then = url_for(".show_change_request", request_id=request_id)
    return attempt(act, then=then, again=lambda: _shown(request_id))


def _shown(request_id: str) -> Answer:
    asked = services().change_requests.get(request_id)
    values: dict[str, Any] = {"tenants": None, "changed": []}
    if asked["state"] == "waiting":
        foreseen = services().plans.foresee(actor(), asked["feature"], parse_step(asked["step"]))
        values = {"tenants": foreseen.tenants, "changed": _changed(foreseen.before, foreseen.after)}
    is_own = asked["created_by"] == actor().name
    return room("change_request.html", asked=asked, is_own=is_own, **values)


def _changed(before: RunningPlan, after: RunningPlan) -> list[Difference]:
    """What the step changes, member by member."""
    return differences(_content(before), _content(after))


def _content(of: RunningPlan) -> dict[str, Any]:
    content = content_json(of.plan)
    phases = {phase["key"]: phase for phase in content["phases"]}
    return {"phase": of.run.phase, "state": of.run.state, **content, "phases": phases}
