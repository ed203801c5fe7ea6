"""/admin/api/v1/change-requests, and /admin/api/v1/plans/{feature}/approve"""

from __future__ import annotations

import dataclasses
from typing import Any

from flask import Blueprint

from rollout.core.approvals import State
from rollout.services.change_requests import Submitted
from rollout.web.conditional import versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("change_requests", __name__)


class ChangeRequestQuery(PageQuery):
    feature: str | None = None
    state: State | None = None


class ApprovalIn(Shape):
    """`content_hash`: that of the change request as you saw it; another one is refused."""

    content_hash: str | None = None
    reason: str | None = None


class PlanApprovalIn(ApprovalIn):
    """`change_request`: which one, where several wait."""

    change_request: str | None = None


class ApprovalOut(Shape):
    by: str
    content_hash: str
    reason: str
    at: str


class ChangeRequestOut(Shape):
    """`approvals_needed`: of how many people besides the author, while it waits; `outcome`: why it ended."""

    id: str
    feature: str
    step: dict[str, Any]
    content_hash: str
    base_version: int
    state: str
    reason: str
    created_by: str
    created_at: str
    approvals: list[ApprovalOut]
    approvals_needed: int | None
    ended_at: str | None
    ended_by: str | None
    outcome: str | None
    version: int


class Approved(Shape):
    """`plan`: as the step left it, if this was the last approval that it needed."""

    change_request: ChangeRequestOut
    plan: dict[str, Any] | None


@routes.get("/change-requests")
@operation("List change requests, newest first", auth=viewer, query=ChangeRequestQuery)
def list_change_requests(query: ChangeRequestQuery) -> Answer:
    rows = services().change_requests.page(
        feature=query.feature, state=query.state, before=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, lambda row: row["id"], dict)


@routes.get("/change-requests/<request_id>")
@operation("Show a change request", auth=viewer, answer=ChangeRequestOut)
def show_change_request(request_id: str) -> Answer:
    found = services().change_requests.get(request_id)
    return versioned(found, found["version"])


@routes.post("/plans/<feature>/approve")
@operation("Approve the change of a plan that waits", auth=editor, body=PlanApprovalIn, answer=Approved)
def approve_plan(feature: str, body: PlanApprovalIn) -> Answer:
    approved = services().change_requests.approve_waiting(
        actor(), feature, body.reason, request_id=body.change_request, content_hash=body.content_hash
    )
    return _approved(approved)


@routes.post("/change-requests/<request_id>/approve")
@operation(
    "Approve a change; the last approval that it needs makes it",
    auth=editor,
    body=ApprovalIn,
    answer=Approved,
)
def approve_change_request(request_id: str, body: ApprovalIn) -> Answer:
    approved = services().change_requests.approve(
        actor(), request_id, body.reason, content_hash=body.content_hash
    )
    return _approved(approved)


@routes.post("/change-requests/<request_id>/reject")
@operation("Reject a change", auth=editor, body=Reason, answer=ChangeRequestOut)
def reject_change_request(request_id: str, body: Reason) -> Answer:
    return services().change_requests.reject(actor(), request_id, body.reason)


@routes.post("/change-requests/<request_id>/withdraw")
@operation("Withdraw a change that you filed", auth=editor, body=Reason, answer=ChangeRequestOut)
def withdraw_change_request(request_id: str, body: Reason) -> Answer:
    return services().change_requests.withdraw(actor(), request_id, body.reason)


def _approved(approved: Submitted) -> Answer:
    return dataclasses.asdict(approved)
