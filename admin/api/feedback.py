"""/admin/api/v1/feedback"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.feedback import FeedbackItem, Triage, feedback_json
from rollout.web.conditional import based_on, versioned
from rollout.web.feedback import FeedbackOut, FeedbackQuery
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import listing
from rollout.web.wired import services

from .auth import actor, editor, viewer

routes = Blueprint("feedback", __name__)


class TenantFeedbackQuery(FeedbackQuery):
    tenant: str | None = None


class FeedbackChange(Shape):
    state: Triage
    reason: str | None = None


@routes.get("/feedback")
@operation("List feedback, newest first", auth=viewer, query=TenantFeedbackQuery)
def list_feedback(query: TenantFeedbackQuery) -> Answer:
    rows = services().feedback.page(query.wanted(query.tenant), before=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda item: item.id, feedback_json)


@routes.get("/feedback/<feedback_id>")
@operation("Show feedback", auth=viewer, answer=FeedbackOut)
def show_feedback(feedback_id: str) -> Answer:
    return _shown(services().feedback.get(feedback_id))


@routes.patch("/feedback/<feedback_id>")
@operation("Triage feedback: open, resolved or spam", auth=editor, body=FeedbackChange, answer=FeedbackOut)
def triage_feedback(feedback_id: str, body: FeedbackChange) -> Answer:
    version = based_on(required=True)
    return _shown(
        services().feedback.set_state(actor(), feedback_id, body.state, body.reason, based_on=version)
    )


def _shown(item: FeedbackItem) -> Answer:
    return versioned(feedback_json(item), item.version)
