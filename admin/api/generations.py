"""/admin/api/v1/generations"""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from rollout.core.generation_jobs import Status, operator_json
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("generations", __name__)


class GenerationQuery(PageQuery):
    """`status`: queued, dispatched, running, succeeded, refused, failed, unknown, cancelled."""

    tenant: str | None = None
    status: str | None = None


class GenerationOut(Shape):
    """Without what the tenant wrote and got; `task_id`: what the vendor calls it, where it works by tasks."""

    id: str
    tenant: str
    status: Status
    progress: int
    model: str
    vendor: str
    mode: str
    n: int
    hold: str
    task_id: str | None
    cost_usd_micro: int | None
    error: dict[str, Any] | None
    request_id: str
    created_at: str
    ended_at: str | None


@routes.get("/generations")
@operation("List generations, newest first", auth=viewer, query=GenerationQuery)
def list_generations(query: GenerationQuery) -> Answer:
    rows = services().generations.page(
        tenant=query.tenant, status=query.status, cursor=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, lambda found: found.generation.id, operator_json)


@routes.get("/generations/<generation_id>")
@operation("Show a generation", auth=viewer, answer=GenerationOut)
def show_generation(generation_id: str) -> Answer:
    return operator_json(services().generations.get(generation_id))


@routes.post("/generations/<generation_id>/cancel")
@operation("Cancel a generation that a job makes", auth=editor, body=Reason, answer=GenerationOut)
def cancel_generation(generation_id: str, body: Reason) -> Answer:
    return operator_json(services().generations.cancel(actor(), generation_id, body.reason))
