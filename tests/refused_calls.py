"""Every way in which the gate turns a call away, brought about on a running service; what each SDK makes of it is one table."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from processes import Service, wait_until

MODEL, CLAUDE, LLAMA = "gpt-image-2.6-flare", "claude-sonnet-5-5", "llama-3.2-90b-vision"
GENERATION, ANALYSIS = "image-generation", "image-analysis"
SLOW = "sandbox:slow=6s boat"
SAME_KEY = {"image": {"Idempotency-Key": "picture-1"}, "message": {"Idempotency-Key": "message-1"}}
NO_HEADERS: dict[str, dict[str, str]] = {"image": {}, "message": {}}
RETRIED = 3
"""How often an SDK sends what it may send again."""


@dataclass(frozen=True)
class Row:
    """Why, and what is told: `openai` and `anthropic` are the types of their envelopes; `calls` how many the SDK makes, with
    pauses of at most `pause` seconds; `members` what is told besides."""

    why: str
    status: int
    code: str
    openai: str
    anthropic: str
    calls: int = 1
    pause: float = 0
    members: tuple[str, ...] = ()
    overloaded: int | None = None
    """The status on Anthropic's surface, where it is another."""


QUOTA = ("limit", "violated_policies")
ROWS = [
    Row("not in", 403, "feature_not_enabled", "feature_not_enabled", "permission_error", members=("reason",)),
    Row("halted", 403, "feature_not_enabled", "feature_not_enabled", "permission_error", members=("reason",)),
    Row("killed", 403, "feature_killed", "feature_killed", "permission_error", members=("reason",)),
    Row(
        "minute", 429, "rate_limit_exceeded", "rate_limit_exceeded", "rate_limit_error",
        RETRIED, 60, (*QUOTA, "resets_at"),
    ),
    Row("slot", 429, "rate_limit_exceeded", "rate_limit_exceeded", "rate_limit_error", RETRIED, 1, QUOTA),
    Row("day", 429, "insufficient_quota", "insufficient_quota", "rate_limit_error", members=(*QUOTA, "resets_at")),
    Row("life", 429, "insufficient_quota", "insufficient_quota", "rate_limit_error", members=QUOTA),
    Row("money", 429, "insufficient_quota", "insufficient_quota", "rate_limit_error", members=(*QUOTA, "resets_at")),
    Row("in flight", 409, "request_in_progress", "request_in_progress", "conflict_error", RETRIED, 1, ("hold_id",)),
    Row("unknown", 504, "outcome_unknown", "outcome_unknown", "api_error", members=("hold_id",)),
    Row("failed", 502, "upstream_unavailable", "upstream_unavailable", "api_error", members=("hold_id",)),
    Row(
        "overloaded", 503, "upstream_unavailable", "upstream_unavailable", "overloaded_error",
        RETRIED, 2, overloaded=529,
    ),
]  # fmt: skip

METERS = {
    "minute": ("request", "minute"),
    "slot": ("slot", "concurrent"),
    "day": ("request", "day"),
    "life": ("request", "life"),
    "money": ("usd_micro", "month"),
}
PROMPTS = {
    "in flight": SLOW,
    "unknown": "sandbox:drop boat",
    "failed": "sandbox:error=500 boat",
    "overloaded": "sandbox:error=529 boat",
}


@dataclass(frozen=True)
class Turned:
    """How to be turned away: with this key, asking for that; `headers` when it is for an image, and for a message."""

    key: str
    prompt: str
    headers: dict[str, dict[str, str]]


def image(prompt: str) -> dict[str, Any]:
    return {"model": MODEL, "prompt": prompt, "size": "1024x1024", "quality": "low"}


def message(prompt: str) -> dict[str, Any]:
    return {"model": CLAUDE, "max_tokens": 100, "messages": [{"role": "user", "content": prompt}]}


def chat(prompt: str) -> dict[str, Any]:
    return message(prompt) | {"model": LLAMA}


def turned_away(service: Service) -> dict[str, Turned]:
    """By `Row.why`. "not in" is about pictures: analysis is open to all. "killed" and "in flight" want a block around the call."""
    found = {row.why: _caller(service, row.why) for row in ROWS if row.why != "killed"}
    found["killed"] = Turned(found["overloaded"].key, "boat", NO_HEADERS)
    for feature in (GENERATION, ANALYSIS):
        halt = {"tenant": "sdk-halted", "reason": "a test"}
        service.admin("POST", f"/features/{feature}/kill", halt)
    return found


@contextmanager
def killed(service: Service) -> Iterator[None]:
    """Both features are off for all, for the length of the block."""
    for feature in (GENERATION, ANALYSIS):
        service.admin("POST", f"/features/{feature}/kill", {"reason": "a test"})
    try:
        yield
    finally:
        for feature in (GENERATION, ANALYSIS):
            service.admin("POST", f"/features/{feature}/revive", {"reason": "a test"})


def put_in_flight(service: Service, how: Turned, *kinds: str) -> None:
    """Calls with the same keys are under way, for some seconds."""
    calls = {
        "image": ("/v1/images/generations", image(how.prompt)),
        "message": ("/v1/messages", message(how.prompt)),
    }

    def call(kind: str) -> None:
        with contextlib.suppress(OSError, HTTPException):  # the service may be stopped before it answers
            service.call("POST", *calls[kind], key=how.key, headers=how.headers[kind])

    for kind in kinds:
        threading.Thread(target=call, args=(kind,), daemon=True).start()

    def open_holds() -> int:
        return len(service.admin("GET", "/holds?tenant=sdk-in-flight&state=open")["data"])

    wait_until(lambda: open_holds() >= len(kinds), "slow calls to be under way", service.log)


def _caller(service: Service, why: str) -> Turned:
    tenant = f"sdk-{why.replace(' ', '-')}"
    service.admin("POST", "/tenants", {"id": tenant, "name": tenant, "reason": "a test"})
    issued = service.admin("POST", f"/tenants/{tenant}/keys", {"name": "sdk", "reason": "a test"})
    for feature in (GENERATION, ANALYSIS) if why in METERS else ():
        unit, period = METERS[why]
        meter = {"unit": unit, "period": period, "feature": feature, "cap": 0, "name": f"none-{feature}"}
        service.admin("POST", "/meters", {"tenant": tenant, **meter, "reason": "a test"})
    if why != "not in":
        service.admin("POST", "/grants", {"tenant": tenant, "feature": GENERATION, "reason": "a test"})
    return Turned(issued["secret"], PROMPTS.get(why, "boat"), SAME_KEY if why == "in flight" else NO_HEADERS)
