"""/admin/api/v1/holds"""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import Field, StrictInt

from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("holds", __name__)


class HoldQuery(PageQuery):
    """`state`: `open` for all that still reserve something, or one of held, dispatched, unknown, settled, void."""

    tenant: str | None = None
    state: str | None = None


class SettleIn(Shape):
    """`cost_usd_micro`: what the vendor's books say; without it what was reserved is charged."""

    cost_usd_micro: StrictInt | None = Field(None, ge=0)
    reason: str | None = None


class HoldOut(Shape):
    """`evidence`: what was found out of an outcome in doubt, `{"at", "by", "found", "to"?, "flag"?}`; `on_unknown`: what ends the doubt at
    `lease_until`: `charge` the estimate, or `review`: a person."""

    id: str
    tenant: str
    state: str
    feature: str
    vendor: str
    model: str
    cost_usd_micro: int
    settled_from: str | None
    resolution: str | None
    evidence: list[dict[str, Any]]
    on_unknown: str | None
    lines: list[dict[str, Any]]
    decision_id: str
    request_id: str
    api_key_id: str
    upstream_id: str | None
    attempt: int
    created_at: str
    lease_until: str | None
    settled_at: str | None


@routes.get("/holds")
@operation("List holds, newest first", auth=viewer, query=HoldQuery)
def list_holds(query: HoldQuery) -> Answer:
    rows = services().ledger.holds(
        tenant=query.tenant, state=query.state, cursor=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, lambda hold: hold.id, services().ledger.shown)


@routes.get("/holds/<hold_id>")
@operation("Show a hold", auth=viewer, answer=HoldOut)
def show_hold(hold_id: str) -> Answer:
    return services().ledger.shown(services().ledger.get_hold(hold_id))


@routes.post("/holds/<hold_id>/settle")
@operation("Charge an unknown hold", auth=editor, body=SettleIn, answer=HoldOut)
def settle_hold(hold_id: str, body: SettleIn) -> Answer:
    ledger = services().ledger
    return ledger.shown(ledger.settle_by_hand(actor(), hold_id, body.reason, body.cost_usd_micro))


@routes.post("/holds/<hold_id>/void")
@operation("Charge nothing for an unknown hold", auth=editor, body=Reason, answer=HoldOut)
def void_hold(hold_id: str, body: Reason) -> Answer:
    ledger = services().ledger
    return ledger.shown(ledger.void_by_hand(actor(), hold_id, body.reason))
