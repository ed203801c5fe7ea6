"""What is left of each limit, on the wire.

`RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers-10, in the syntax of RFC 9651; the older
fields are those that the vendors' SDKs know. Limits that tenants share are nobody's to see: they tell when to come back,
by Retry-After, and no more.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable

from rollout.core.meters import Limit
from rollout.core.times import rfc3339
from rollout.errors import QuotaExceeded

LARGEST = 999_999_999_999_999
"""An integer of RFC 9651 has 15 digits; a larger cap is told as this."""

SPREAD_SECONDS = 30
"""The most that is added to a reset; never more than a twentieth of the window."""

SPEED_SECONDS = 60
"""Node's openai passes over a longer Retry-After and comes back at once."""


def rate_headers(limits: Iterable[Limit], now: int, seed: str, *, anthropic: bool) -> dict[str, str]:
    """The caller's own hard limits as they stand, the one with the least left first; nothing where there are none.

    `seed`: what tells this answer from others, so that not all who are told of a reset come back at once.
    """
    own = [limit for limit in limits if limit.meter.hard and not limit.meter.shared]
    if not own:
        return {}
    ordered = sorted(own, key=lambda limit: limit.remaining / max(1, limit.cap))
    found = {
        "RateLimit-Policy": ", ".join(_policy(limit) for limit in ordered),
        "RateLimit": ", ".join(_state(limit, now, seed) for limit in ordered),
    }
    speeds = [limit for limit in ordered if limit.meter.unit == "request" and limit.ends is not None]
    if speeds:
        found |= _anthropic_speed(speeds[0], now, seed) if anthropic else _openai_speed(speeds[0], now, seed)
    return found


def retry_after(refused: QuotaExceeded, seed: str) -> int | None:
    """Whole seconds until a refused caller may come back, never earlier than any reset that he is told; None: never by itself."""
    if refused.retry_after is None:
        return None
    resets = [_reset(limit, refused.at, seed) for limit, _ in refused.full if limit.ends is not None]
    return max([refused.retry_after, *resets])


def _reset(limit: Limit, now: int, seed: str) -> int:
    """Seconds to the end of a window that ends, or a little later."""
    ends = limit.ends or now
    left = max(0, ends - now)
    most = min(SPREAD_SECONDS, (ends - limit.start) // 20)
    later = left + zlib.crc32(f"{seed} {limit.meter.id}".encode()) % (most + 1)
    return later if limit.lasting else max(left, min(later, SPEED_SECONDS))


def _policy(limit: Limit) -> str:
    meter = limit.meter
    parts = [f'"{meter.name}"', f"q={min(limit.cap, LARGEST)}"]
    if limit.ends is not None:
        parts.append(f"w={limit.ends - limit.start}")
    if meter.unit == "slot":
        parts.append('qu="concurrent-requests"')
    elif meter.unit != "request":
        parts.append(f'rollout-unit="{meter.unit}"')
    return ";".join(parts)


def _state(limit: Limit, now: int, seed: str) -> str:
    parts = [f'"{limit.meter.name}"', f"r={min(limit.remaining, LARGEST)}"]
    if limit.ends is not None:
        parts.append(f"t={_reset(limit, now, seed)}")
    partition = hashlib.sha256(f"{limit.meter.tenant_id}\n{limit.subject}".encode()).digest()[:12]
    return ";".join([*parts, f"pk=:{base64.b64encode(partition).decode()}:"])


def _openai_speed(limit: Limit, now: int, seed: str) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(limit.cap),
        "x-ratelimit-remaining-requests": str(limit.remaining),
        "x-ratelimit-reset-requests": _duration(_reset(limit, now, seed)),
    }


def _anthropic_speed(limit: Limit, now: int, seed: str) -> dict[str, str]:
    return {
        "anthropic-ratelimit-requests-limit": str(limit.cap),
        "anthropic-ratelimit-requests-remaining": str(limit.remaining),
        "anthropic-ratelimit-requests-reset": rfc3339(now + _reset(limit, now, seed)) or "",
    }


def _duration(seconds: int) -> str:
    """As OpenAI writes it: `1s`, `6m0s`, `1h0m0s`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"
