"""/admin/holds"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from flask import Blueprint, url_for

from rollout.core.holds import Hold
from rollout.services.registry import Services
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import typed
from .auth import actor, editor, viewer
from .forms import ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("holds", __name__)

Shown = Literal["open", "unknown", "held", "dispatched", "all"]
"""Which holds a list may ask for: those that an index finds among a million that are over."""

COLUMNS = (
    "id", "tenant", "state", "feature", "vendor", "model", "cost_usd_micro", "settled_from", "resolution", "request_id",
    "created_at", "lease_until", "settled_at",
)  # fmt: skip


class HoldsView(ListView):
    """`state`: `open` for all that still reserve something."""

    tenant: str | None = None
    state: Shown = "open"


class SettleForm(ReasonForm):
    """`cost` in dollars; without it what was reserved is charged."""

    cost: str | None = None


@routes.get("/holds")
@operation("Holds, newest first", auth=viewer, query=HoldsView)
def show_holds(query: HoldsView) -> Answer:
    return show_list(
        "holds.html",
        query,
        partial(_holds, services(), query),
        lambda hold: hold.id,
        file="holds",
        columns=COLUMNS,
        as_row=services().ledger.shown,
    )


@routes.get("/holds/<hold_id>")
@operation("A hold: what it reserves, and how it ended", auth=viewer, query=PageView)
def show_hold(hold_id: str, query: PageView) -> Answer:
    return _shown(hold_id)


@routes.post("/holds/<hold_id>/settle")
@operation("Charge an unknown hold", auth=editor)
def settle_hold(hold_id: str) -> Answer:
    def act() -> None:
        form = read(SettleForm)
        cost = None if form.cost is None else typed.parse_amount(form.cost, "usd_micro", "cost")
        services().ledger.settle_by_hand(actor(), hold_id, form.reason, cost)

    return attempt(act, then=url_for(".show_hold", hold_id=hold_id), again=lambda: _shown(hold_id))


@routes.post("/holds/<hold_id>/void")
@operation("Charge nothing for an unknown hold", auth=editor)
def void_hold(hold_id: str) -> Answer:
    def act() -> None:
        services().ledger.void_by_hand(actor(), hold_id, read(ReasonForm).reason)

    return attempt(act, then=url_for(".show_hold", hold_id=hold_id), again=lambda: _shown(hold_id))


def _shown(hold_id: str) -> Answer:
    hold = services().ledger.get_hold(hold_id)
    names = services().meters.names(hold.tenant_id, [line.meter_id for line in hold.lines])
    return room("hold.html", hold=hold, policy=services().ledger.on_unknown(hold), names=names)


def _holds(wired: Services, query: HoldsView, cursor: str | None, at_once: int) -> Sequence[Hold]:
    state = None if query.state == "all" else query.state
    return wired.ledger.holds(tenant=query.tenant, state=state, cursor=cursor, limit=at_once)
