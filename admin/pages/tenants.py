"""/admin/tenants"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from flask import Blueprint, url_for
from pydantic import BeforeValidator, Field

from rollout.core.adjustments import UNITS as ADJUSTED
from rollout.core.decisions import FEATURES, GATED, GENERATION, Decision
from rollout.core.figures import FiguresQuery
from rollout.core.tenants import (
    RETIRED_MODELS,
    THINKING_BUDGETS,
    RetiredModels,
    Tenant,
    TenantState,
    ThinkingBudgets,
    tenant_json,
)
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import words
from .auth import actor, editor, viewer
from .forms import FormView, ReasonForm, attempt, read
from .lists import show_list
from .meters import cap_form
from .queries import ListView, PageView
from .room import room

routes = Blueprint("tenants", __name__)

COLUMNS = ("id", "name", "tz", "state", "attributes", "allowed", "reason")
POLICIES = {"retired_models": RETIRED_MODELS, "thinking_budgets": THINKING_BUDGETS}
SHOWN_METERS, SHOWN_KEYS, SHOWN_CHANGES, SHOWN_ALERTS = 100, 20, 10, 5


def _attributes(sent: Any) -> dict[str, str]:
    """One `name=value` a line."""
    pairs = [line.partition("=") for line in str(sent).splitlines() if line.strip()]
    if any(not equals or not name.strip() for name, equals, _ in pairs):
        raise ValueError("has one name=value on each line, such as region=eu")
    return {name.strip(): value.strip() for name, _, value in pairs}


Attributes = Annotated[dict[str, str], BeforeValidator(_attributes)]


class TenantsView(ListView):
    """`q`: how the id begins, or any part of the name."""

    q: str | None = Field(None, max_length=200)
    state: TenantState | None = None


class TenantForm(ReasonForm):
    name: str
    tz: str
    attributes: Attributes = Field(default_factory=dict)


class ModelsForm(ReasonForm):
    """`vendors`: none is all."""

    vendors: list[str] = Field(default_factory=list)
    retired_models: RetiredModels
    thinking_budgets: ThinkingBudgets


class NewTenantForm(TenantForm):
    id: str


@routes.get("/tenants")
@operation("The tenants, and who of them is in the beta", auth=viewer, query=TenantsView)
def show_tenants(query: TenantsView) -> Answer:
    return _list(query)


@routes.post("/tenants")
@operation("Add a tenant", auth=editor)
def add_tenant() -> Answer:
    added: list[Tenant] = []

    def act() -> None:
        form = read(NewTenantForm)
        new = Tenant(id=form.id, name=form.name, tz=form.tz, attributes=form.attributes)
        added.append(services().tenants.add(actor(), new, form.reason))

    return attempt(
        act,
        then=lambda: url_for(".show_tenant", tenant_id=added[0].id),
        again=lambda: _list(TenantsView.model_validate({})),
    )


@routes.get("/tenants/<tenant_id>")
@operation("A tenant: features, meters, keys, ratings and changes", auth=viewer, query=PageView)
def show_tenant(tenant_id: str, query: PageView) -> Answer:
    return shown(tenant_id)


@routes.post("/tenants/<tenant_id>")
@operation("Change a tenant's name, time zone or attributes", auth=editor)
def change_tenant(tenant_id: str) -> Answer:
    def act() -> None:
        form = read(TenantForm)
        fields = form.model_dump(include={"name", "tz", "attributes"})
        services().tenants.change(actor(), tenant_id, fields, form.reason, based_on=form.version)

    return _attempt(tenant_id, act)


@routes.post("/tenants/<tenant_id>/models")
@operation("Change which models a tenant may use, and how", auth=editor)
def change_models(tenant_id: str) -> Answer:
    def act() -> None:
        form = read(ModelsForm)
        fields = {
            "vendors": form.vendors or None,
            "retired_models": form.retired_models,
            "thinking_budgets": form.thinking_budgets,
        }
        services().tenants.change(actor(), tenant_id, fields, form.reason, based_on=form.version)

    return _attempt(tenant_id, act)


@routes.post("/tenants/<tenant_id>/suspend")
@operation("Suspend a tenant: its keys open nothing", auth=editor)
def suspend_tenant(tenant_id: str) -> Answer:
    return _attempt(tenant_id, lambda: _set_state(tenant_id, "suspended"))


@routes.post("/tenants/<tenant_id>/activate")
@operation("Activate a suspended tenant", auth=editor)
def activate_tenant(tenant_id: str) -> Answer:
    return _attempt(tenant_id, lambda: _set_state(tenant_id, "active"))


def shown(tenant_id: str) -> Answer:
    """The page of a tenant."""
    wired = services()
    known, features = wired.explain.of_tenant(tenant_id)
    tenant = known.tenant
    written = "\n".join(f"{name}={value}" for name, value in sorted(tenant.attributes.items()))
    return room(
        "tenant.html",
        tenant=tenant,
        form=FormView("tenant", tenant.version, {"attributes": written}),
        models_form=FormView("models", tenant.version),
        vendors=wired.catalogue().vendors,
        policies={name: [(code, words.policy(code)) for code in codes] for name, codes in POLICIES.items()},
        features=features,
        gated=GATED,
        grants=known.grants,
        now=time.time(),
        cap_form=cap_form,
        limits=wired.meters.limits(tenant=tenant_id, limit=SHOWN_METERS),
        told=wired.alerts.page(tenant=tenant_id, limit=SHOWN_ALERTS),
        keys=wired.keys.page(tenant_id, usable=True, after=None, limit=SHOWN_KEYS),
        waiting=wired.access.page(tenant=tenant_id, state="waiting", after=None, limit=len(FEATURES)),
        ratings=wired.feedback.figures(FiguresQuery(tenant=tenant_id)).total,
        changes=wired.audit.page(tenant=tenant_id, limit=SHOWN_CHANGES),
        adjustments=wired.adjustments.page(tenant=tenant_id, cursor=None, limit=SHOWN_CHANGES),
        adjusted_features=[(name, words.feature(name)) for name in FEATURES],
        adjusted_units=[(name, words.unit(name)) for name in ADJUSTED],
    )


def _set_state(tenant_id: str, state: TenantState) -> None:
    services().tenants.set_state(actor(), tenant_id, state, read(ReasonForm).reason)


def _attempt(tenant_id: str, act: Callable[[], object]) -> Answer:
    return attempt(act, then=url_for(".show_tenant", tenant_id=tenant_id), again=lambda: shown(tenant_id))


def _list(query: TenantsView) -> Answer:
    wired = services()

    def page(after: str | None, limit: int) -> list[dict[str, Any]]:
        found = wired.tenants.page(after=after, limit=limit, search=query.q, state=query.state)
        decisions = wired.explain.of_tenants(found, GENERATION)
        return [_row(tenant, decisions[tenant.id]) for tenant in found]

    return show_list(
        "tenants.html",
        query,
        page,
        lambda row: str(row["id"]),
        file="tenants",
        columns=COLUMNS,
        as_row=lambda row: row,
        feature=GENERATION,
    )


def _row(tenant: Tenant, decision: Decision) -> dict[str, Any]:
    """`allowed` and `reason` are those of the feature that is being opened."""
    return {**tenant_json(tenant), "allowed": decision.allowed, "reason": decision.reason}
