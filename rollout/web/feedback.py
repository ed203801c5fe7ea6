"""Feedback on the wire, the same for its tenant and for admins."""

from __future__ import annotations

from rollout.core.feedback import FeedbackState, Rating, Wanted
from rollout.web.operation import Shape
from rollout.web.paging import PageQuery


class FeedbackQuery(PageQuery):
    generation: str | None = None
    state: FeedbackState | None = None
    rating: Rating | None = None
    phase: str | None = None

    def wanted(self, tenant: str | None) -> Wanted:
        return Wanted(tenant, self.generation, self.state, self.rating, self.phase)


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
