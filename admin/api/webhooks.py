"""/admin/api/v1/webhooks: the operators' own (tenant null), and every tenant's."""

from __future__ import annotations

from flask import Blueprint

from rollout.core.webhooks import delivery_json, webhook_json
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

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("webhooks", __name__)


class WebhookQuery(PageQuery):
    """`tenant`: one tenant's; `~platform`: the operators' own."""

    tenant: str | None = None


class WebhookIn(NewWebhook):
    """Without `tenant`: the operators' own, told of what happens to every tenant."""

    tenant: str | None = None
    reason: str | None = None


class WebhookChangeIn(WebhookChange):
    reason: str | None = None


@routes.get("/webhooks")
@operation("List webhooks", auth=viewer, query=WebhookQuery)
def list_webhooks(query: WebhookQuery) -> Answer:
    rows = services().webhooks.page(tenant=query.tenant, cursor=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda webhook: webhook.id, webhook_json)


@routes.post("/webhooks")
@operation(
    "Add a webhook; its signing secret is shown once",
    auth=editor,
    body=WebhookIn,
    answer=IssuedWebhookOut,
    status=201,
)
def add_webhook(body: WebhookIn) -> Answer:
    return issued(services().webhooks.add(actor(), body.tenant, body.url, body.types, body.reason), 201)


@routes.get("/webhooks/<webhook_id>")
@operation("Show a webhook, without its secret", auth=viewer, answer=WebhookOut)
def show_webhook(webhook_id: str) -> Answer:
    return shown(services().webhooks.get(webhook_id))


@routes.patch("/webhooks/<webhook_id>")
@operation(
    "Change a webhook's address, its events, or whether it is active",
    auth=editor,
    body=WebhookChangeIn,
    answer=WebhookOut,
)
def change_webhook(webhook_id: str, body: WebhookChangeIn) -> Answer:
    version = based_on(required=True)
    fields = body.model_dump(exclude={"reason"}, exclude_none=True)
    return shown(services().webhooks.change(actor(), webhook_id, fields, body.reason, based_on=version))


@routes.delete("/webhooks/<webhook_id>")
@operation("Remove a webhook; its deliveries are forgotten", auth=editor, body=Reason, answer=WebhookOut)
def remove_webhook(webhook_id: str, body: Reason) -> Answer:
    return shown(services().webhooks.remove(actor(), webhook_id, body.reason))


@routes.post("/webhooks/<webhook_id>/rotate")
@operation(
    "Make a new signing secret, shown once; for a day the former one signs, too",
    auth=editor,
    body=Reason,
    answer=IssuedWebhookOut,
)
def rotate_webhook(webhook_id: str, body: Reason) -> Answer:
    return issued(services().webhooks.rotate(actor(), webhook_id, body.reason))


@routes.post("/webhooks/<webhook_id>/test")
@operation("Send a `webhook.test` to it", auth=editor, body=Reason, answer=DeliveryOut, status=202)
def test_webhook(webhook_id: str, body: Reason) -> Answer:
    return delivery_json(services().webhooks.test(actor(), webhook_id, body.reason)), 202


@routes.get("/webhooks/<webhook_id>/deliveries")
@operation("List what was sent to a webhook in the last 30 days", auth=viewer, query=PageQuery)
def list_deliveries(webhook_id: str, query: PageQuery) -> Answer:
    rows = services().webhooks.deliveries(webhook_id, cursor=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda job: job.id, delivery_json)


@routes.post("/webhooks/<webhook_id>/deliveries/<delivery_id>/resend")
@operation("Send a message again", auth=editor, body=Reason, answer=DeliveryOut, status=202)
def resend_delivery(webhook_id: str, delivery_id: str, body: Reason) -> Answer:
    return delivery_json(services().webhooks.resend(actor(), webhook_id, delivery_id, body.reason)), 202
