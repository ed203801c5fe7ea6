"""/admin/workers: who serves, and which revision each decides on"""

from __future__ import annotations

from flask import Blueprint

from rollout.services.workers import BEHIND_SECONDS, GONE_SECONDS
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import viewer
from .queries import PageView
from .room import room

routes = Blueprint("workers", __name__)


@routes.get("/workers")
@operation("Who serves, and which revision each decides on", auth=viewer, query=PageView)
def show_workers(query: PageView) -> Answer:
    workers = services().workers.list()
    current = sum(worker["state"] == "running" and not worker["behind_by"] for worker in workers)
    return room(
        "workers.html", workers=workers, current=current, gone_after=GONE_SECONDS, late_after=BEHIND_SECONDS
    )
