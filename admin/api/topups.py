"""/admin/api/v1/topups"""

from __future__ import annotations

from flask import Blueprint
from pydantic import StrictInt

from rollout.core.topups import NewTopUp, topup_json
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("topups", __name__)


class TopUpQuery(PageQuery):
    """`tenant`: one tenant's; `~platform`: those of meters that tenants share."""

    tenant: str | None = None
    meter: str | None = None


class TopUpIn(Shape):
    """`subject`: the key's id or the end user's, where the meter has a window for each. `id`: top_ and then anything of your
    own; sent twice it is one top-up."""

    meter: str
    amount: StrictInt
    effective: Moment | None = None
    expires: Moment | None = None
    subject: str | None = None
    id: str | None = None
    reason: str | None = None


class TopUpOut(Shape):
    id: str
    tenant: str | None
    meter: str
    subject: str | None
    amount: int
    effective: str
    expires: str | None
    ends_at: str | None
    voided_at: str | None
    reason: str
    created_by: str
    created_at: str


@routes.get("/topups")
@operation("List top-ups, last id first", auth=viewer, query=TopUpQuery)
def list_topups(query: TopUpQuery) -> Answer:
    rows = services().topups.page(
        tenant=query.tenant, meter=query.meter, cursor=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, lambda topup: topup.id, topup_json)


@routes.post("/topups")
@operation("Top up one window of a meter", auth=editor, body=TopUpIn, answer=TopUpOut, status=201)
def add_topup(body: TopUpIn) -> Answer:
    asked = NewTopUp(
        body.meter,
        body.amount,
        epoch_or_none(body.effective),
        epoch_or_none(body.expires),
        body.subject,
        body.id,
    )
    topup, is_new = services().topups.add(actor(), asked, body.reason)
    return topup_json(topup), 201 if is_new else 200


@routes.get("/topups/<topup_id>")
@operation("Show a top-up", auth=viewer, answer=TopUpOut)
def show_topup(topup_id: str) -> Answer:
    return topup_json(services().topups.get(topup_id))


@routes.post("/topups/<topup_id>/void")
@operation("Take back what nobody drew of a top-up", auth=editor, body=Reason, answer=TopUpOut)
def void_topup(topup_id: str, body: Reason) -> Answer:
    return topup_json(services().topups.void(actor(), topup_id, body.reason))
