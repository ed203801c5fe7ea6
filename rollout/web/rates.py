"""What is left of each limit, on the wire.

`RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers-10; the older fields are those that the
vendors' SDKs know.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from rollout.core.meters import Limit
from rollout.core.times import rfc3339


def rate_headers(limits: Iterable[Limit], now: int, *, anthropic: bool) -> dict[str, str]:
    """The hard limits as they stand, the one with the least left first; nothing where there are none."""
    hard = [limit for limit in limits if limit.meter.hard]
    if not hard:
        return {}
    ordered = sorted(hard, key=lambda limit: limit.remaining / max(1, limit.cap))
    found = {
        "RateLimit-Policy": ", ".join(_policy(limit) for limit in ordered),
        "RateLimit": ", ".join(_state(limit, now) for limit in ordered),
    }
    speed = next(
        (limit for limit in ordered if limit.meter.unit == "request" and limit.ends is not None), None
    )
    if speed is not None:
        found |= _anthropic_speed(speed) if anthropic else _openai_speed(speed, now)
    return found


def _policy(limit: Limit) -> str:
    meter = limit.meter
    parts = [f'"{meter.name}"', f"q={limit.cap}"]
    if limit.ends is not None:
        parts.append(f"w={limit.ends - limit.start}")
    if meter.unit == "slot":
        parts.append('qu="concurrent-requests"')
    elif meter.unit != "request":
        parts.append(f'rollout-unit="{meter.unit}"')
    return ";".join(parts)


def _state(limit: Limit, now: int) -> str:
    parts = [f'"{limit.meter.name}"', f"r={limit.remaining}"]
    if limit.ends is not None:
        parts.append(f"t={max(0, limit.ends - now)}")
    partition = hashlib.sha256(limit.meter.tenant_id.encode()).digest()[:12]
    return ";".join([*parts, f"pk=:{base64.b64encode(partition).decode()}:"])


def _openai_speed(limit: Limit, now: int) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(limit.cap),
        "x-ratelimit-remaining-requests": str(limit.remaining),
        "x-ratelimit-reset-requests": f"{max(0, (limit.ends or now) - now)}s",
    }


def _anthropic_speed(limit: Limit) -> dict[str, str]:
    return {
        "anthropic-ratelimit-requests-limit": str(limit.cap),
        "anthropic-ratelimit-requests-remaining": str(limit.remaining),
        "anthropic-ratelimit-requests-reset": rfc3339(limit.ends) or "",
    }
