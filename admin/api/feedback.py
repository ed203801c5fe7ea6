"""/admin/api/v1/feedback"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.feedback import FeedbackItem, Triage, feedback_json
from rollout.core.figures import DIMENSIONS, FiguresQuery
from rollout.core.usage import dimensions, report_columns, report_json, report_rows
from rollout.web.conditional import based_on, versioned
from rollout.web.exports import ExportQuery, export
from rollout.web.feedback import FeedbackExport, FeedbackOut, FeedbackQuery, export_feedback
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import listing
from rollout.web.usage import PeriodQuery, ReportOut
from rollout.web.wired import services

from .auth import actor, editor, viewer

routes = Blueprint("feedback", __name__)


class TenantFeedbackQuery(FeedbackQuery):
    tenant: str | None = None


class TenantFeedbackExport(FeedbackExport):
    tenant: str | None = None


class FiguresRange(PeriodQuery, ExportQuery):
    """`by`: words from tenant, feature, phase, vendor, model, day; days are those of UTC."""

    tenant: str | None = None
    feature: str | None = None


class ThumbsOut(Shape):
    """`bad_share` is thumbs down of all, null where there are none."""

    up: int
    down: int
    bad_share: float | None


class FiguresLineOut(ThumbsOut):
    """Only the words of `by` are there; null: such pictures have none."""

    tenant: str | None = None
    feature: str | None = None
    phase: str | None = None
    vendor: str | None = None
    model: str | None = None
    day: str | None = None


class FiguresOut(ReportOut):
    data: list[FiguresLineOut]
    total: ThumbsOut


class FeedbackChange(Shape):
    state: Triage
    reason: str | None = None


@routes.get("/feedback")
@operation("List feedback, newest first", auth=viewer, query=TenantFeedbackQuery)
def list_feedback(query: TenantFeedbackQuery) -> Answer:
    rows = services().feedback.page(query.wanted(query.tenant), before=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda item: item.id, feedback_json)


@routes.get("/feedback/export")
@operation("All feedback that matches, as CSV or JSON", auth=viewer, query=TenantFeedbackExport)
def export_all(query: TenantFeedbackExport) -> Answer:
    return export_feedback(query.wanted(query.tenant), query.wanted_format())


@routes.get("/feedback/figures")
@operation("Ratings counted", auth=viewer, query=FiguresRange, answer=FiguresOut)
def figures(query: FiguresRange) -> Answer:
    by = dimensions(query.by, DIMENSIONS)
    done = services().feedback.figures(
        FiguresQuery(query.tenant, query.feature, query.since, query.until, by)
    )
    if query.wanted_format() == "csv":
        return export("csv", "ratings", report_columns(done), report_rows(done))
    return report_json(done)


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
