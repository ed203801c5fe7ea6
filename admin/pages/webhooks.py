"""/admin/webhooks"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flask import Blueprint, Response, url_for
from pydantic import Field

from rollout.core.webhooks import STATES, TYPES, Webhook, WebhookState, webhook_json
from rollout.services.registry import Services
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .forms import ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("webhooks", __name__)

COLUMNS = ("id", "tenant", "url", "types", "state", "rotated_at", "created_at")
SHOWN_DELIVERIES = 50


class WebhooksView(ListView):
    tenant: str | None = None


class WebhookForm(ReasonForm):
    """`types`: none for all."""

    url: str
    types: list[str] = Field(default_factory=list)
    state: WebhookState = "active"


class NewWebhookForm(WebhookForm):
    """Without `tenant`: the operators' own."""

    tenant: str | None = None


@routes.get("/webhooks")
@operation("Who is told of events, newest first", auth=viewer, query=WebhooksView)
def show_webhooks(query: WebhooksView) -> Answer:
    return _list(query)


@routes.post("/webhooks")
@operation("Add a webhook, and show its secret once", auth=editor)
def add_webhook() -> Answer:
    made: list[Response] = []

    def act() -> None:
        form = read(NewWebhookForm)
        issued = services().webhooks.add(actor(), form.tenant, form.url, form.types, form.reason)
        made.append(room("webhook_secret.html", issued=issued))

    return attempt(act, then=made.pop, again=lambda: _list(WebhooksView.model_validate({})))


@routes.get("/webhooks/<webhook_id>")
@operation("A webhook, and what was sent to it", auth=viewer, query=PageView)
def show_webhook(webhook_id: str, query: PageView) -> Answer:
    return _shown(webhook_id)


@routes.post("/webhooks/<webhook_id>")
@operation("Change a webhook's address, its events, or whether it is active", auth=editor)
def change_webhook(webhook_id: str) -> Answer:
    def act() -> None:
        form = read(WebhookForm)
        fields = {"url": form.url, "types": form.types, "state": form.state}
        services().webhooks.change(actor(), webhook_id, fields, form.reason, based_on=form.version)

    return _attempted(act, webhook_id)


@routes.post("/webhooks/<webhook_id>/rotate")
@operation("Make a new secret, and show it once", auth=editor)
def rotate_webhook(webhook_id: str) -> Answer:
    made: list[Response] = []

    def act() -> None:
        issued = services().webhooks.rotate(actor(), webhook_id, read(ReasonForm).reason)
        made.append(room("webhook_secret.html", issued=issued))

    return attempt(act, then=made.pop, again=lambda: _shown(webhook_id))


@routes.post("/webhooks/<webhook_id>/test")
@operation("Send a test to a webhook", auth=editor)
def test_webhook(webhook_id: str) -> Answer:
    def act() -> None:
        services().webhooks.test(actor(), webhook_id, read(ReasonForm).reason)

    return _attempted(act, webhook_id)


@routes.post("/webhooks/<webhook_id>/remove")
@operation("Remove a webhook", auth=editor)
def remove_webhook(webhook_id: str) -> Answer:
    def act() -> None:
        services().webhooks.remove(actor(), webhook_id, read(ReasonForm).reason)

    return attempt(act, then=url_for(".show_webhooks"), again=lambda: _shown(webhook_id))


def _list(query: WebhooksView) -> Answer:
    return show_list(
        "webhooks.html",
        query,
        partial(_webhooks, services(), query),
        lambda webhook: webhook.id,
        file="webhooks",
        columns=COLUMNS,
        as_row=webhook_json,
        types=TYPES,
    )


def _shown(webhook_id: str) -> Answer:
    webhook = services().webhooks.get(webhook_id)
    deliveries = services().webhooks.deliveries(webhook_id, cursor=None, limit=SHOWN_DELIVERIES)
    return room("webhook.html", webhook=webhook, deliveries=deliveries, types=TYPES, states=STATES)


def _attempted(act: Callable[[], None], webhook_id: str) -> Answer:
    shown = url_for(".show_webhook", webhook_id=webhook_id)
    return attempt(act, then=shown, again=lambda: _shown(webhook_id))


def _webhooks(wired: Services, query: WebhooksView, cursor: str | None, at_once: int) -> list[Webhook]:
    return wired.webhooks.page(tenant=query.tenant, cursor=cursor, limit=at_once)
