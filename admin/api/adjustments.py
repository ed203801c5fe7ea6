"""/admin/api/v1/adjustments"""

from __future__ import annotations

from flask import Blueprint
from pydantic import StrictInt

from rollout.core.adjustments import NewAdjustment, adjustment_json
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import actor, editor, viewer

routes = Blueprint("adjustments", __name__)


class AdjustmentQuery(PageQuery):
    tenant: str | None = None


class AdjustmentIn(Shape):
    """`amount`: negative for what is given back. `at`: when it was used, now without it. `id`: adj_ and then anything of your
    own; sent twice it is one adjustment."""

    tenant: str
    feature: str
    unit: str
    amount: StrictInt
    at: Moment | None = None
    id: str | None = None
    reason: str | None = None


class AdjustmentOut(Shape):
    id: str
    tenant: str
    feature: str
    unit: str
    amount: int
    at: str
    reason: str
    created_by: str
    created_at: str


@routes.get("/adjustments")
@operation("List adjustments, last id first", auth=viewer, query=AdjustmentQuery)
def list_adjustments(query: AdjustmentQuery) -> Answer:
    rows = services().adjustments.page(tenant=query.tenant, cursor=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda adjustment: adjustment.id, adjustment_json)


@routes.post("/adjustments")
@operation(
    "Correct what a tenant used of a feature",
    auth=editor,
    body=AdjustmentIn,
    answer=AdjustmentOut,
    status=201,
)
def add_adjustment(body: AdjustmentIn) -> Answer:
    asked = NewAdjustment(body.tenant, body.feature, body.unit, body.amount, epoch_or_none(body.at), body.id)
    adjustment, is_new = services().adjustments.add(actor(), asked, body.reason)
    return adjustment_json(adjustment), 201 if is_new else 200


@routes.get("/adjustments/<adjustment_id>")
@operation("Show an adjustment", auth=viewer, answer=AdjustmentOut)
def show_adjustment(adjustment_id: str) -> Answer:
    return adjustment_json(services().adjustments.get(adjustment_id))
