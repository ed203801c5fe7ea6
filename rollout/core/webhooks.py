"""Webhooks: where somebody wants to be told of what happens, and how a message is signed.

As the Standard Webhooks specification 1.0.0 has it (https://www.standardwebhooks.com): the headers `webhook-id`,
`webhook-timestamp` and `webhook-signature`; the latter is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from rollout.core.jobs import Job
from rollout.core.meters import PLATFORM
from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

EventType = Literal[
    "access_request.approved",
    "access_request.created",
    "access_request.denied",
    "feature.kill_reminder",
    "feature.killed",
    "feature.revived",
    "feedback.received",
    "generation.failed",
    "generation.refused",
    "generation.succeeded",
    "generation.unknown",
    "grant.created",
    "grant.expired",
    "grant.revoked",
    "ledger.mismatch",
    "model.retiring",
    "phase.changed",
    "plan.change_requested",
    "plan.schedule_conflict",
    "quota.exhausted",
    "quota.threshold",
    "vendor.disabled",
    "vendor.enabled",
    "webhook.test",
]
WebhookState = Literal["active", "disabled"]

TYPES: tuple[EventType, ...] = get_args(EventType)
STATES: tuple[WebhookState, ...] = get_args(WebhookState)
MAX_URL = 2000
BOTH_SIGN_SECONDS = 86400
"""For how long after a rotation the former secret signs, too."""


@dataclass(frozen=True)
class Webhook:
    """`types`: the events that it wants, () all; times in UTC epoch seconds."""

    tenant_id: str
    id: str
    url: str
    types: tuple[str, ...]
    created_at: int
    state: WebhookState = "active"
    secret_version: int = 1
    rotated_at: int | None = None
    version: int = 1

    def __post_init__(self) -> None:
        check_url(self.url)
        check_types(self.types)
        if self.state not in STATES:
            raise InvalidRequest(f"A state is one of {', '.join(STATES)}.", param="state")

    def wants(self, type: str) -> bool:
        """Whether it is told of an event of this type; a test is for the one that it tests."""
        return self.state == "active" and (not self.types or type in self.types)

    def secrets(self, secret_key: bytes, now: float) -> list[bytes]:
        """The keys that sign at `now`, the newest first."""
        versions = [self.secret_version]
        if self.rotated_at is not None and now < self.rotated_at + BOTH_SIGN_SECONDS:
            versions.append(self.secret_version - 1)
        return [_secret(secret_key, self.id, version) for version in versions]


@dataclass(frozen=True)
class IssuedWebhook:
    """A webhook with its signing secret, which is shown once; None after a dry run, where none came to be."""

    webhook: Webhook
    secret: str | None = field(repr=False)


def check_url(url: str) -> None:
    """Raises InvalidRequest for what nothing could be posted to. Where its name leads is looked at with each delivery."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 raises ValueError for one that is none
    except ValueError:
        parts = urlsplit("")
    plain = url.isascii() and url.isprintable() and " " not in url
    if not plain or parts.scheme not in ("http", "https") or not parts.hostname or len(url) > MAX_URL:
        raise InvalidRequest(
            f"A webhook's address begins with https:// (or http://), names a host and has at most {MAX_URL} characters.",
            param="url",
        )
    if "@" in parts.netloc:
        raise InvalidRequest(
            "A webhook's address holds no user name or password.",
            param="url",
            remedy="Check the signature of what arrives instead.",
        )


def check_types(types: Collection[str]) -> None:
    """Raises InvalidRequest that names the first type that there is not."""
    for type_ in types:
        if type_ not in TYPES:
            raise InvalidRequest(f"There is no event {type_!r}; there are {', '.join(TYPES)}.", param="types")


def signed_headers(secrets: Collection[bytes], message_id: str, now: int, body: bytes) -> dict[str, str]:
    """The three headers of a message; one signature for each secret."""
    content = f"{message_id}.{now}.".encode() + body
    signatures = [hmac.new(secret, content, hashlib.sha256).digest() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join("v1," + base64.b64encode(one).decode() for one in signatures),
    }


def secret_text(secret: bytes) -> str:
    """A signing secret as receivers' libraries take it: `whsec_` and base64."""
    return "whsec_" + base64.b64encode(secret).decode()


def event_json(type: str, now: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a message."""
    return {"type": type, "timestamp": rfc3339(now), "data": dict(data)}


def webhook_json(webhook: Webhook) -> dict[str, Any]:
    """The shape that owners, operators and the audit log see, without the secret."""
    return {
        "id": webhook.id,
        "tenant": None if webhook.tenant_id == PLATFORM else webhook.tenant_id,
        "url": webhook.url,
        "types": list(webhook.types),
        "state": webhook.state,
        "rotated_at": rfc3339(webhook.rotated_at),
        "version": webhook.version,
        "created_at": rfc3339(webhook.created_at),
    }


def issued_webhook_json(issued: IssuedWebhook) -> dict[str, Any]:
    """The webhook with its signing secret: the one answer that carries it."""
    return {**webhook_json(issued.webhook), "secret": issued.secret}


def delivery_json(job: Job) -> dict[str, Any]:
    """A message on its way to a webhook; `id` is its `webhook-id`, `outcome` what the receiver answered last."""
    return {
        "id": job.id,
        "type": job.payload["type"],
        "state": job.state,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "run_at": rfc3339(job.run_at),
        "last_error": job.last_error,
        "outcome": job.outcome,
        "payload": job.payload,
        "created_at": rfc3339(job.created_at),
        "ended_at": rfc3339(job.ended_at),
    }


def _secret(secret_key: bytes, webhook_id: str, version: int) -> bytes:
    return hmac.new(secret_key, f"webhook:{webhook_id}:{version}".encode(), hashlib.sha256).digest()
