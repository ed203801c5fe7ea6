"""Webhooks as both APIs answer them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rollout.core.webhooks import IssuedWebhook, Webhook, WebhookState, issued_webhook_json, webhook_json
from rollout.web.conditional import versioned
from rollout.web.operation import Answer, Shape


class NewWebhook(Shape):
    """`types`: the events that it wants; none: all."""

    url: str
    types: list[str] = Field(default_factory=list)


class WebhookChange(Shape):
    url: str | None = None
    types: list[str] | None = None
    state: WebhookState | None = None


class WebhookOut(Shape):
    """`rotated_at`: for a day after it the former secret signs, too. `tenant` null: the operators' own."""

    id: str
    tenant: str | None
    url: str
    types: list[str]
    state: WebhookState
    rotated_at: str | None
    version: int
    created_at: str


class IssuedWebhookOut(WebhookOut):
    """`secret` checks signatures (https://www.standardwebhooks.com); it is shown this once."""

    secret: str


class DeliveryOut(Shape):
    """`id` is the message's `webhook-id`, `payload` its body, `outcome` what the receiver answered last."""

    id: str
    type: str
    state: str
    attempt: int
    max_attempts: int
    run_at: str
    last_error: str | None
    outcome: dict[str, Any] | None
    payload: dict[str, Any]
    created_at: str
    ended_at: str | None


def shown(webhook: Webhook) -> Answer:
    return versioned(webhook_json(webhook), webhook.version)


def issued(new: IssuedWebhook, status: int = 200) -> Answer:
    """The one answer with the secret, which nobody may keep."""
    response = versioned(issued_webhook_json(new), new.webhook.version, status)
    response.headers["Cache-Control"] = "no-store"
    return response
