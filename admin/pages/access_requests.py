"""/admin/access-requests"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from flask import Blueprint, url_for
from pydantic import Field

from rollout.core.decisions import GATED
from rollout.core.grants import RequestState, Standing, access_request_json
from rollout.core.meters import Period, Unit
from rollout.services.access import Offer
from rollout.web.operation import Answer, Shape, operation
from rollout.web.wired import services

from . import words
from .auth import actor, editor, viewer
from .forms import LocalMoment, ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room
from .typed import parse_amount

routes = Blueprint("access_requests", __name__)

COLUMNS = (
    "id", "tenant", "feature", "state", "position", "use_case", "expected_volume", "terms_version", "created_at",
    "decided_at", "decided_by", "decision_reason",
)  # fmt: skip


class AccessRequestsView(ListView):
    """Those that wait, unless another state is asked for."""

    tenant: str | None = None
    feature: str | None = None
    state: RequestState | Literal["any"] = "waiting"


class QuotaRow(Shape):
    """`cap` as it was typed; left empty, that of the current phase."""

    name: str
    unit: Unit
    period: Period
    cap: str | None = None


class ApprovalForm(ReasonForm):
    expires_at: LocalMoment | None = None
    meters: dict[int, QuotaRow] = Field(default_factory=dict)


@routes.get("/access-requests")
@operation("Who asked for access, in the order in which they asked", auth=viewer, query=AccessRequestsView)
def show_access_requests(query: AccessRequestsView) -> Answer:
    wired = services()
    state = None if query.state == "any" else query.state

    def page(after: str | None, limit: int) -> list[Standing]:
        return wired.access.page(
            tenant=query.tenant, feature=query.feature, state=state, after=after, limit=limit
        )

    return show_list(
        "access_requests.html",
        query,
        page,
        lambda standing: standing.request.id,
        file="access-requests",
        columns=COLUMNS,
        as_row=access_request_json,
        features=[(name, words.feature(name)) for name in GATED],
        states=[(name, words.state(name)) for name in get_args(RequestState)],
    )


@routes.get("/access-requests/<request_id>")
@operation("An access request, and what approving it brings", auth=viewer, query=PageView)
def show_access_request(request_id: str, query: PageView) -> Answer:
    return _shown(request_id)


@routes.post("/access-requests/<request_id>/approve")
@operation("Approve: request, grant and quota in one change", auth=editor)
def approve_access_request(request_id: str) -> Answer:
    def act() -> None:
        form = read(ApprovalForm)
        services().access.approve(
            actor(),
            request_id,
            form.reason,
            expires_at=form.expires_at,
            quota=_quota(form, services().access.offer(request_id)),
            based_on=form.version,
        )

    return _attempt(request_id, act)


@routes.post("/access-requests/<request_id>/deny")
@operation("Deny; the tenant reads the reason", auth=editor)
def deny_access_request(request_id: str) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        services().access.deny(actor(), request_id, form.reason, based_on=form.version)

    return _attempt(request_id, act)


def _attempt(request_id: str, act: Callable[[], object]) -> Answer:
    then = url_for(".show_access_request", request_id=request_id)
    return attempt(act, then=then, again=lambda: _shown(request_id))


def _shown(request_id: str) -> Answer:
    wired = services()
    offer = wired.access.offer(request_id)
    feature = offer.standing.request.feature
    models = [
        model.name
        for model in wired.catalogue().models
        if model.feature == feature and model.is_open and wired.providers.answers(model)
    ]
    return room("access_request.html", asked=offer.standing.request, offer=offer, models=models)


def _quota(form: ApprovalForm, offer: Offer) -> list[dict[str, Any]] | None:
    """The meters of the form; None, when no cap is filled in: the quota of the phase. Raises InvalidRequest."""
    rows = sorted(form.meters.items())
    if all(row.cap is None for _, row in rows):
        return None
    offered = {item["name"]: item["cap"] for item in offer.quota}
    return [
        {
            **row.model_dump(exclude={"cap"}),
            "cap": offered.get(row.name)
            if row.cap is None
            else parse_amount(row.cap, row.unit, f"meters.{position}.cap"),
        }
        for position, row in rows
    ]
