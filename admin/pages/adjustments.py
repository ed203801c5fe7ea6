"""Adjustments, on the page of their tenant."""

from __future__ import annotations

from typing import Literal, cast

from flask import Blueprint, url_for

from rollout.core.adjustments import NewAdjustment
from rollout.core.meters import Unit
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import typed
from .auth import actor, editor
from .forms import LocalMoment, ReasonForm, attempt, read
from .tenants import shown

routes = Blueprint("adjustments", __name__)


class AdjustmentForm(ReasonForm):
    """`way`: whether the tenant is given back the amount, or charged it."""

    feature: str
    unit: Literal["image", "usd_micro", "request"]
    way: Literal["back", "more"]
    amount: str
    at: LocalMoment | None = None


@routes.post("/tenants/<tenant_id>/adjustments")
@operation("Correct what a tenant used of a feature", auth=editor)
def add_adjustment(tenant_id: str) -> Answer:
    def act() -> None:
        form = read(AdjustmentForm)
        amount = typed.parse_amount(form.amount, cast(Unit, form.unit), "amount")
        signed = -amount if form.way == "back" else amount
        asked = NewAdjustment(tenant_id, form.feature, form.unit, signed, form.at)
        services().adjustments.add(actor(), asked, form.reason)

    then = url_for("admin.pages.tenants.show_tenant", tenant_id=tenant_id, _anchor="adjustments")
    return attempt(act, then=then, again=lambda: shown(tenant_id))
