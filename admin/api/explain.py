"""/admin/api/v1/explain"""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from rollout.web.operation import Answer, Shape, operation
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("explain", __name__)


class ExplainQuery(Shape):
    tenant: str
    feature: str


class ExplainOut(Shape):
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
@operation("Why a tenant may or may not use a feature", auth=viewer, query=ExplainQuery, answer=ExplainOut)
def explain(query: ExplainQuery) -> Answer:
    return services().explain.explain(query.tenant, query.feature)
