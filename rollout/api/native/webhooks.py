"""/api/v1/webhooks: where a tenant wants to be told, and what was delivered there. Scope `read` does all of it."""

from __future__ import annotations

from flask import Blueprint, g

from rollout.core.audit import Actor
from rollout.core.webhooks import delivery_json, webhook_json
from rollout.web.auth import identity, key
from rollout.web.conditional import based_on
from rollout.web.operation import Answer, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.webhooks import (
    DeliveryOut,
    IssuedWebhookOut,
    NewWebhook,
    WebhookChange,
    WebhookOut,
    issued,
    shown,
)
from rollout.web.wired import services

routes = Blueprint("webhooks", __name__, url_prefix="/api/v1")

REASON = "by the partner"


@routes.get("/webhooks")
@operation("List your webhooks", auth=key("read"), query=PageQuery)
def list_own(query: PageQuery) -> Answer:
    rows = services().webhooks.page(tenant=_tenant_id(), cursor=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda webhook: webhook.id, webhook_json)


@routes.post("/webhooks")
@operation(
    "Be told of events at an address; the signing secret is shown once",
    auth=key("read"),
    body=NewWebhook,
    answer=IssuedWebhookOut,
    status=201,
)
def add(body: NewWebhook) -> Answer:
    return issued(services().webhooks.add(_actor(), _tenant_id(), body.url, body.types, REASON), 201)


@routes.get("/webhooks/<webhook_id>")
@operation("Show one of your webhooks, without its secret", auth=key("read"), answer=WebhookOut)
def show_own(webhook_id: str) -> Answer:
    return shown(services().webhooks.get(webhook_id, tenant=_tenant_id()))


@routes.patch("/webhooks/<webhook_id>")
@operation(
    "Change a webhook's address, its events, or whether it is active",
    auth=key("read"),
    body=WebhookChange,
    answer=WebhookOut,
)
def change(webhook_id: str, body: WebhookChange) -> Answer:
    fields, version = body.model_dump(exclude_none=True), based_on(required=False)
    return shown(
        services().webhooks.change(
            _actor(), webhook_id, fields, REASON, tenant=_tenant_id(), based_on=version
        )
    )


@routes.delete("/webhooks/<webhook_id>")
@operation("Remove a webhook; its deliveries are forgotten", auth=key("read"), answer=WebhookOut)
def remove(webhook_id: str) -> Answer:
    return shown(services().webhooks.remove(_actor(), webhook_id, REASON, tenant=_tenant_id()))


@routes.post("/webhooks/<webhook_id>/rotate")
@operation(
    "Make a new signing secret, shown once; for a day the former one signs, too",
    auth=key("read"),
    answer=IssuedWebhookOut,
)
def rotate(webhook_id: str) -> Answer:
    return issued(services().webhooks.rotate(_actor(), webhook_id, REASON, tenant=_tenant_id()))


@routes.post("/webhooks/<webhook_id>/test")
@operation("Send a `webhook.test` to it", auth=key("read"), answer=DeliveryOut, status=202)
def test(webhook_id: str) -> Answer:
    return delivery_json(services().webhooks.test(_actor(), webhook_id, REASON, tenant=_tenant_id())), 202


@routes.get("/webhooks/<webhook_id>/deliveries")
@operation("List what was sent to a webhook in the last 30 days", auth=key("read"), query=PageQuery)
def list_deliveries(webhook_id: str, query: PageQuery) -> Answer:
    rows = services().webhooks.deliveries(
        webhook_id, tenant=_tenant_id(), cursor=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, lambda job: job.id, delivery_json)


@routes.post("/webhooks/<webhook_id>/deliveries/<delivery_id>/resend")
@operation("Send a message again", auth=key("read"), answer=DeliveryOut, status=202)
def resend(webhook_id: str, delivery_id: str) -> Answer:
    job = services().webhooks.resend(_actor(), webhook_id, delivery_id, REASON, tenant=_tenant_id())
    return delivery_json(job), 202


def _tenant_id() -> str:
    return identity().facts.tenant.id


def _actor() -> Actor:
    return Actor(f"key:{identity().key.id}", "partner", g.request_id)
