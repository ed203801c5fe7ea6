"""Top-ups, on the page of their meter."""

from __future__ import annotations

from flask import Blueprint, url_for

from rollout.core.topups import NewTopUp
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import typed
from .auth import actor, editor
from .forms import LocalMoment, ReasonForm, attempt, read
from .meters import shown

routes = Blueprint("topups", __name__)


class TopUpForm(ReasonForm):
    amount: str
    effective: LocalMoment | None = None
    expires: LocalMoment | None = None
    subject: str | None = None


@routes.post("/meters/<meter_id>/topups")
@operation("Top up one window of a meter", auth=editor)
def add_topup(meter_id: str) -> Answer:
    def act() -> None:
        meter = services().meters.get(meter_id)
        form = read(TopUpForm)
        amount = typed.parse_amount(form.amount, meter.unit, "amount")
        asked = NewTopUp(meter_id, amount, form.effective, form.expires, form.subject)
        services().topups.add(actor(), asked, form.reason)

    return attempt(act, then=_page(meter_id), again=lambda: shown(meter_id))


@routes.post("/meters/<meter_id>/topups/<topup_id>/void")
@operation("Take back what nobody drew of a top-up", auth=editor)
def void_topup(meter_id: str, topup_id: str) -> Answer:
    def act() -> None:
        services().topups.void(actor(), topup_id, read(ReasonForm).reason)

    return attempt(act, then=_page(meter_id), again=lambda: shown(meter_id))


def _page(meter_id: str) -> str:
    return url_for("admin.pages.meters.show_meter", meter_id=meter_id, _anchor="topups")
