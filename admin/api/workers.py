"""/admin/api/v1/workers"""

from __future__ import annotations

from flask import Blueprint

from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("workers", __name__)


@routes.get("/workers")
@operation("List worker processes and the revision each decides on", auth=viewer)
def list_workers() -> Answer:
    return {"data": services().workers.list(), "next_cursor": None}
