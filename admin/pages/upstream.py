"""/admin/flags/upstream"""

from __future__ import annotations

from flask import Blueprint, url_for

from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .forms import ReasonForm, attempt, read
from .queries import PageView
from .room import room

routes = Blueprint("upstream", __name__)


@routes.get("/flags/upstream")
@operation("Whose flags decide, and how far our phases have got there", auth=viewer, query=PageView)
def show_upstream(query: PageView) -> Answer:
    return _shown()


@routes.post("/flags/upstream/<feature>/push")
@operation("Write a plan's flag to Unleash anew", auth=editor)
def push_flag(feature: str) -> Answer:
    def act() -> None:
        services().flag_pushes.push(actor(), feature, read(ReasonForm).reason)

    return attempt(act, then=url_for(".show_upstream"), again=_shown)


def _shown() -> Answer:
    return room("upstream.html", upstream=services().flag_pushes.upstream())
