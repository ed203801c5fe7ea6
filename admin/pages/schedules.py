"""Schedules, on the page of their plan."""

from __future__ import annotations

from flask import Blueprint, url_for

from rollout.core.steps import parse_step
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import actor, editor
from .forms import LocalMoment, ReasonForm, attempt, read
from .plans import shown

routes = Blueprint("schedules", __name__)


class ScheduleForm(ReasonForm):
    """`to` left empty: the next phase, or the previous one."""

    at: LocalMoment
    do: str
    to: str = ""


@routes.post("/plans/<feature>/schedules")
@operation("Schedule a step of a plan", auth=editor)
def schedule_step(feature: str) -> Answer:
    def act() -> None:
        form = read(ScheduleForm)
        step = parse_step({"do": form.do, "to": form.to or None})
        services().schedules.add(actor(), feature, form.at, step, form.reason, based_on=form.version)

    return attempt(act, then=_page(feature), again=lambda: shown(feature))


@routes.post("/schedules/<schedule_id>/cancel")
@operation("Cancel a schedule, or settle the conflict that it is in", auth=editor)
def cancel_schedule(schedule_id: str) -> Answer:
    feature = services().schedules.get(schedule_id)["feature"]

    def act() -> None:
        form = read(ReasonForm)
        services().schedules.cancel(actor(), schedule_id, form.reason, based_on=form.version)

    return attempt(act, then=_page(feature), again=lambda: shown(feature))


def _page(feature: str) -> str:
    return url_for("admin.pages.plans.show_plan", feature=feature, _anchor="schedules")
