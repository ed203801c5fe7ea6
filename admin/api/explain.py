"""/admin/api/v1/explain"""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from rollout.web.operation import Answer, Shape, operation
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("explain", __name__)


class ExplainQuery(Shape):
    """`at`: a time past; without it, what holds now."""

    tenant: str
    feature: str
    at: Moment | None = None


class ExplainOut(Shape):
    """`ways`: each with `acts` that together turn the decision, for a tenant that is out and for one that is in."""

    at: str | None
    tenant: str
    feature: str
    decision: dict[str, Any]
    detail: str
    reason_values: dict[str, Any]
    partner: dict[str, str | None]
    properties: dict[str, str]
    audiences: list[dict[str, Any]]
    rows: dict[str, Any]
    would_change: list[str]
    ways: list[dict[str, Any]]


@routes.get("/explain")
@operation(
    "Why a tenant may or may not use a feature, now or at any time past",
    auth=viewer,
    query=ExplainQuery,
    answer=ExplainOut,
)
def explain(query: ExplainQuery) -> Answer:
    return services().explain.explain(query.tenant, query.feature, epoch_or_none(query.at))
