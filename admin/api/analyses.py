"""/admin/api/v1/analyses and /product-tables: what tenants had done on pictures, and what they have uploaded for it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import Field

from rollout.core.products import table_json
from rollout.core.tasks import TaskName, result_json
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import viewer

routes = Blueprint("analyses", __name__)


class AnalysesQuery(PageQuery):
    tenant: str = Field(max_length=64)
    task: TaskName | None = None


class AnalysisOut(Shape):
    id: str
    task: str
    version: int
    model: str
    result: dict[str, Any]
    usage: dict[str, int]
    cost_usd_micro: int
    created_at: str
    expires_at: str


class TablesQuery(PageQuery):
    """`cursor` is `tenant/id`, or of one tenant the id."""

    tenant: str | None = None


@routes.get("/analyses")
@operation("What a tenant's named tasks were answered, newest first", auth=viewer, query=AnalysesQuery)
def list_analyses(query: AnalysesQuery) -> Answer:
    rows = services().analysis_results.page(
        tenant=query.tenant, task=query.task, cursor=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, lambda kept: kept.analysis_id, result_json)


@routes.get("/analyses/<analysis_id>")
@operation("What a named task was answered, while it is kept", auth=viewer, answer=AnalysisOut)
def show_analysis(analysis_id: str) -> Answer:
    return result_json(services().analysis_results.find(analysis_id))


@routes.get("/product-tables")
@operation("List product tables", auth=viewer, query=TablesQuery)
def list_product_tables(query: TablesQuery) -> Answer:
    rows = services().product_tables.page(tenant=query.tenant, cursor=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda table: f"{table.tenant_id}/{table.id}", table_json)
