"""A tenant's call that was answered by an error, as it is kept: bounded, and without anything of the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollout.core.meters import Limit, limit_json
from rollout.core.times import rfc3339
from rollout.errors import QuotaExceeded, RolloutError

MAX_MESSAGE = 1000
MAX_TEXT = 500
MAX_ITEMS = 20

KEPT = (
    "param", "feature", "reason", "detail", "limit", "violated_policies", "resets_at", "hold_id", "category", "successor",
)  # fmt: skip
"""The members of an error that are kept; what callers sent is in none of them."""


@dataclass(frozen=True)
class Refusal:
    """`at` in UTC epoch seconds; `route` as it is declared; `members`: those of KEPT, the `remedy`, and the `limits` that refused."""

    tenant_id: str
    request_id: str
    at: int
    method: str
    route: str
    status: int
    code: str
    message: str
    members: Mapping[str, Any]
    api_key_id: str
    decision_id: str | None


def members_of(error: RolloutError) -> dict[str, Any]:
    """What is kept of an error beside its code and message."""
    kept = {name: error.members[name] for name in KEPT if name in error.members}
    found = {"remedy": error.remedy_text, **kept}
    if isinstance(error, QuotaExceeded):
        found["limits"] = [_full(limit, needed, error.at) for limit, needed in error.full]
    return {name: _bounded(value) for name, value in found.items()}


def _full(limit: Limit, needed: int, at: int) -> dict[str, Any]:
    """A limit that refused `needed`, with its figures at that time; for admins, so those that tenants share too."""
    return {
        **limit_json(limit),
        "level": limit.meter.level,
        "subject": limit.subject,
        "needed": needed,
        "window": {"start": rfc3339(limit.start), "ends": rfc3339(limit.ends)},
        "at": rfc3339(at),
    }


def text(value: str, most: int) -> str:
    """At most so many characters, and only such as every database keeps."""
    return value[:most].encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


REFUSAL_COLUMNS = (
    "request_id", "tenant", "at", "method", "route", "status", "code", "message", "members", "api_key_id", "decision_id",
)  # fmt: skip
"""The members of a refusal as admins see it."""


def refusal_json(refusal: Refusal) -> dict[str, Any]:
    """The shape that admins see."""
    return {
        "request_id": refusal.request_id,
        "tenant": refusal.tenant_id,
        "at": rfc3339(refusal.at),
        "method": refusal.method,
        "route": refusal.route,
        "status": refusal.status,
        "code": refusal.code,
        "message": refusal.message,
        "members": dict(refusal.members),
        "api_key_id": refusal.api_key_id,
        "decision_id": refusal.decision_id,
    }


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return text(value, MAX_TEXT)
    if isinstance(value, Mapping):
        return {name: _bounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_bounded(item) for item in value[:MAX_ITEMS]]
    return value
