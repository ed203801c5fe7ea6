"""Feedback on the wire, the same for its tenant and for admins."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response

from rollout.core.exports import Format
from rollout.core.feedback import COLUMNS, FeedbackState, Rating, Wanted, feedback_json
from rollout.web.exports import ExportQuery, export
from rollout.web.language import N_
from rollout.web.operation import Shape
from rollout.web.paging import PageQuery
from rollout.web.wired import services

REASONS: Mapping[str, str] = {
    "wrong-text": N_("The text in it is wrong"),
    "wrong-content": N_("It shows the wrong thing"),
    "low-quality": N_("Poor quality"),
    "not-as-described": N_("Not as it was described"),
    "offensive": N_("Offensive"),
    "other": N_("Something else"),
}
"""The reasons that our own page offers; partners name others besides."""


class FeedbackFilter(Shape):
    generation: str | None = None
    end_user: str | None = None
    state: FeedbackState | None = None
    rating: Rating | None = None
    feature: str | None = None
    phase: str | None = None
    vendor: str | None = None
    model: str | None = None

    def wanted(self, tenant: str | None) -> Wanted:
        return Wanted(tenant, **{name: getattr(self, name) for name in FeedbackFilter.model_fields})


class FeedbackQuery(FeedbackFilter, PageQuery):
    pass


class FeedbackExport(FeedbackFilter, ExportQuery):
    pass


def export_feedback(wanted: Wanted, format_: Format) -> Response:
    """All that match, newest first."""
    rows = (feedback_json(item) for item in services().feedback.every(wanted))
    return export(format_, "feedback", COLUMNS, rows)


class FeedbackOut(Shape):
    id: str
    tenant: str
    generation: str
    end_user: str
    rating: Rating
    reasons: list[str]
    comment: str | None
    state: FeedbackState
    feature: str
    phase: str | None
    model: str
    vendor: str
    created_at: str
    updated_at: str
