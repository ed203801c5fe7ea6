"""/admin/guardrail-events"""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from rollout.core.guardrails import CATEGORIES, EVENT_COLUMNS, Wanted, event_json
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import words
from .auth import viewer
from .forms import LocalMoment
from .lists import show_list
from .queries import ListView

routes = Blueprint("guardrail_events", __name__)


class EventsView(ListView):
    tenant: str | None = Field(None, max_length=64)
    category: str | None = None
    source: str | None = Field(None, max_length=64)
    feature: str | None = Field(None, max_length=64)
    since: LocalMoment | None = Field(None, alias="from")


@routes.get("/guardrail-events")
@operation("What vendors refused for its content, newest first", auth=viewer, query=EventsView)
def show_guardrail_events(query: EventsView) -> Answer:
    guardrails = services().guardrails
    wanted = Wanted(query.tenant, query.category, query.source, query.feature, query.since)
    return show_list(
        "guardrail_events.html",
        query,
        lambda cursor, limit: guardrails.page(wanted, cursor=cursor, limit=limit),
        lambda event: event.id,
        file="guardrail-events",
        columns=EVENT_COLUMNS,
        as_row=event_json,
        categories=[(code, words.category(code)) for code in CATEGORIES],
    )
