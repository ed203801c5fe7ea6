"""/admin/api/v1/tenants"""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from rollout.core.tenants import RetiredModels, Tenant, TenantState, ThinkingBudgets, tenant_json
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import actor, editor, viewer

routes = Blueprint("tenants", __name__)


class TenantQuery(PageQuery):
    """`q`: how the id begins, or any part of the name."""

    q: str | None = Field(None, max_length=200)
    state: TenantState | None = None


class TenantIn(Shape):
    """`vendors`: whose models it may use; null: all. `retired_models`: what calls by an old name get, the model that stands in for it
    (`follow`), or `model_retired`. `thinking_budgets`: whether one for a model that takes none becomes an effort, or is refused."""

    id: str
    name: str
    tz: str = "UTC"
    attributes: dict[str, str] = Field(default_factory=dict)
    vendors: list[str] | None = None
    retired_models: RetiredModels = "follow"
    thinking_budgets: ThinkingBudgets = "map"
    reason: str | None = None


class TenantChange(Shape):
    """What is left out stays; `vendors` null allows them all."""

    name: str | None = None
    tz: str | None = None
    attributes: dict[str, str] | None = None
    vendors: list[str] | None = None
    retired_models: RetiredModels | None = None
    thinking_budgets: ThinkingBudgets | None = None
    reason: str | None = None


class TenantOut(Shape):
    id: str
    name: str
    tz: str
    state: str
    attributes: dict[str, str]
    vendors: list[str] | None
    retired_models: RetiredModels
    thinking_budgets: ThinkingBudgets


class Reason(Shape):
    reason: str | None = None


@routes.get("/tenants")
@operation("List tenants", auth=viewer, query=TenantQuery)
def list_tenants(query: TenantQuery) -> Answer:
    rows = services().tenants.page(
        after=query.cursor, limit=query.limit + 1, search=query.q, state=query.state
    )
    return listing(rows, query.limit, lambda tenant: tenant.id, tenant_json)


@routes.post("/tenants")
@operation("Add a tenant", auth=editor, body=TenantIn, answer=TenantOut, status=201)
def add_tenant(body: TenantIn) -> Answer:
    new = Tenant(**body.model_dump(exclude={"reason"}))
    return _shown(services().tenants.add(actor(), new, body.reason), 201)


@routes.get("/tenants/<tenant_id>")
@operation("Show a tenant", auth=viewer, answer=TenantOut)
def show_tenant(tenant_id: str) -> Answer:
    return _shown(services().tenants.get(tenant_id))


@routes.patch("/tenants/<tenant_id>")
@operation("Change a tenant", auth=editor, body=TenantChange, answer=TenantOut)
def change_tenant(tenant_id: str, body: TenantChange) -> Answer:
    fields = body.model_dump(exclude={"reason"}, exclude_none=True)
    if "vendors" in body.model_fields_set:
        fields["vendors"] = body.vendors
    return _shown(
        services().tenants.change(actor(), tenant_id, fields, body.reason, based_on=based_on(required=True))
    )


@routes.post("/tenants/<tenant_id>/suspend")
@operation("Suspend a tenant: its keys open nothing", auth=editor, body=Reason, answer=TenantOut)
def suspend_tenant(tenant_id: str, body: Reason) -> Answer:
    return _shown(services().tenants.set_state(actor(), tenant_id, "suspended", body.reason))


@routes.post("/tenants/<tenant_id>/activate")
@operation("Activate a suspended tenant", auth=editor, body=Reason, answer=TenantOut)
def activate_tenant(tenant_id: str, body: Reason) -> Answer:
    return _shown(services().tenants.set_state(actor(), tenant_id, "active", body.reason))


def _shown(tenant: Tenant, status: int = 200) -> Answer:
    return versioned(tenant_json(tenant), tenant.version, status)
