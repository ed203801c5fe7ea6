"""/admin/api/v1/alerts"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.alerts import alert_json, place_text
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("alerts", __name__)


class AlertQuery(PageQuery):
    tenant: str | None = None
    meter: str | None = None
    since: Moment | None = None


class WindowOut(Shape):
    start: str
    ends: str | None


class AlertOut(Shape):
    """`threshold`: percent of the cap; null: a request did not fit. `tenant` null: of what all tenants share. `subject`: the key, or a
    hash of the end user, whose window it is."""

    at: str
    tenant: str | None
    meter: str
    name: str
    level: str
    feature: str | None
    unit: str
    period: str
    subject: str | None
    threshold: int | None
    cap: int
    used: int
    held: int
    window: WindowOut


class AlertsOut(Shape):
    data: list[AlertOut]
    next_cursor: str | None


@routes.get("/alerts")
@operation("What was told of windows that fill", auth=viewer, query=AlertQuery, answer=AlertsOut)
def list_alerts(query: AlertQuery) -> Answer:
    rows = services().alerts.page(
        tenant=query.tenant,
        meter=query.meter,
        since=epoch(query.since) if query.since else 0,
        cursor=query.cursor,
        limit=query.limit + 1,
    )
    return listing(rows, query.limit, lambda told: place_text(told.place), alert_json)
