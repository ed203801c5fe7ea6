"""/admin: how features stand, what needs somebody, what happened in the last 24 hours."""

from __future__ import annotations

from flask import Blueprint

from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import viewer
from .queries import PageView
from .room import room

routes = Blueprint("home", __name__)

SHOWN_CHANGES = 10


@routes.get("", strict_slashes=False)
@operation("What needs somebody, and what happened lately", auth=viewer, query=PageView)
def show_home(query: PageView) -> Answer:
    overview = services().overview
    return room(
        "home.html",
        features=overview.features(),
        needs=overview.needs_you(),
        day=overview.last_day(),
        changes=services().audit.page(limit=SHOWN_CHANGES),
    )
