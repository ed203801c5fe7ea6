"""/admin/api/v1/guardrail-events"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.guardrails import Wanted, event_json
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("guardrail_events", __name__)


class EventQuery(PageQuery):
    """`source` is a vendor."""

    tenant: str | None = None
    category: str | None = None
    source: str | None = None
    feature: str | None = None
    since: Moment | None = None


class EventOut(Shape):
    """`use_id`: the generation or analysis that was refused; `vendor_code`: the vendor's own word; `score`: where it told one."""

    id: str
    tenant: str
    at: str
    feature: str
    phase: str | None
    run: int | None
    use_id: str
    hold_id: str
    end_user: str | None
    point: str
    source: str
    category: str
    action: str
    score: float | None
    vendor_code: str | None


class EventsOut(Shape):
    data: list[EventOut]
    next_cursor: str | None


@routes.get("/guardrail-events")
@operation(
    "What vendors refused for its content, newest first", auth=viewer, query=EventQuery, answer=EventsOut
)
def list_guardrail_events(query: EventQuery) -> Answer:
    wanted = Wanted(query.tenant, query.category, query.source, query.feature, epoch_or_none(query.since))
    rows = services().guardrails.page(wanted, cursor=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda event: event.id, event_json)
