"""/api/v1/feedback: from partners by key, from their end users by handle."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, g, request
from pydantic import Field

from rollout.core.feedback import Handle, Rating, feedback_json, opinion
from rollout.errors import InvalidApiKey, InvalidRequest, NotFound
from rollout.web.auth import identity, key
from rollout.web.feedback import FeedbackExport, FeedbackOut, FeedbackQuery, export_feedback
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import listing
from rollout.web.wired import services

routes = Blueprint("feedback", __name__, url_prefix="/api/v1/feedback")


class FeedbackIn(Shape):
    """`generation` and `end_user` go with an API key, `handle` goes without one and names both."""

    generation: str | None = None
    handle: str | None = None
    end_user: str | None = None
    rating: Rating
    reasons: list[str] = Field(default_factory=list)
    comment: str | None = None


class WithdrawQuery(Shape):
    handle: str | None = None


@dataclass(frozen=True)
class KeyOrHandle:
    """A key with scope `feedback`, or none: then the request must carry a handle."""

    scheme: str | None = "apiKeyOrHandle"
    needs: str = "a key with scope feedback, or a feedback handle"

    def __call__(self) -> None:
        g.identity = None
        if "Authorization" in request.headers or "x-api-key" in request.headers:
            key("feedback")()


@routes.post("")
@operation(
    "Rate a generation; the latest of each end user wins",
    auth=KeyOrHandle(),
    body=FeedbackIn,
    form=True,
    answer=FeedbackOut,
    status=201,
)
def submit(body: FeedbackIn) -> Answer:
    said = opinion(body.rating, body.reasons, body.comment)
    tenant_id, generation_id, end_user = _about(body)
    item, is_new = services().feedback.submit(tenant_id, generation_id, end_user, said)
    return feedback_json(item), 201 if is_new else 200


@routes.get("")
@operation("List your end users' feedback, newest first", auth=key("read"), query=FeedbackQuery)
def list_feedback(query: FeedbackQuery) -> Answer:
    wanted = query.wanted(identity().facts.tenant.id)
    rows = services().feedback.page(wanted, before=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda item: item.id, feedback_json)


@routes.get("/export")
@operation(
    "All your end users' feedback that matches, as CSV or JSON", auth=key("read"), query=FeedbackExport
)
def export_mine(query: FeedbackExport) -> Answer:
    return export_feedback(query.wanted(identity().facts.tenant.id), query.wanted_format())


@routes.delete("/<feedback_id>")
@operation("Withdraw feedback", auth=KeyOrHandle(), query=WithdrawQuery, answer=FeedbackOut)
def withdraw(feedback_id: str, query: WithdrawQuery) -> Answer:
    handle = _opened(query.handle) if query.handle else None
    tenant_id = handle.tenant_id if handle else _caller()
    return feedback_json(services().feedback.withdraw(tenant_id, feedback_id, handle))


def _about(body: FeedbackIn) -> tuple[str, str, str | None]:
    """(tenant, generation, end user) by handle, else by key."""
    if body.handle is not None:
        if body.generation is not None or body.end_user is not None:
            raise InvalidRequest(
                "A handle names the generation and the end user; leave out `generation` and `end_user`.",
                param="handle",
            )
        handle = _opened(body.handle)
        return handle.tenant_id, handle.generation_id, handle.end_user
    tenant_id = _caller()
    if body.generation is None:
        raise InvalidRequest("Name a `generation`, or send a `handle`.", param="generation")
    return tenant_id, body.generation, body.end_user


def _opened(token: str) -> Handle:
    """The handle; for a caller with a key it must be one of the same tenant."""
    handle = services().feedback.open(token)
    if g.identity is not None and handle.tenant_id != identity().facts.tenant.id:
        raise NotFound("There is no such feedback handle.", param="handle")
    return handle


def _caller() -> str:
    if g.identity is None:
        raise InvalidApiKey(
            "Neither an API key nor a feedback handle was sent.",
            remedy="Send `Authorization: Bearer rk_live_...`, or the `handle` of an answer's x-rollout-feedback.",
        )
    return identity().facts.tenant.id
