"""Headers that steer a call and tell of it: keys against repeats, end users, and what is left of each limit.

`RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers-10; the older fields are those that the
vendors' SDKs know.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

from flask import Response, g, request

from rollout.core.fingerprint import fingerprint
from rollout.core.meters import Limit
from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest
from rollout.services.calls import Call, Told
from rollout.web.auth import identity
from rollout.web.problems import surface

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def call(content: bytes) -> Call:
    """The call as its headers describe it; `content` is what the fingerprint is taken of. Raises InvalidRequest."""
    caller = identity()
    route = str(request.url_rule)
    return Call(
        identity=caller,
        request_id=g.request_id,
        fingerprint=fingerprint(request.method, route, caller.facts.tenant.id, content),
        idem_key=idempotency_key(),
        end_user=_end_user(),
    )


def idempotency_key() -> str | None:
    """The Idempotency-Key, quoted (as an sf-String) or bare. Raises InvalidRequest."""
    sent = request.headers.get("Idempotency-Key")
    if sent is None:
        return None
    key = sent.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = re.sub(r"\\(.)", r"\1", key[1:-1])
    if not _KEY.fullmatch(key):
        raise InvalidRequest(
            "An Idempotency-Key is 1-255 visible ASCII characters, quoted or not.", param="Idempotency-Key"
        )
    return key


def _end_user() -> str | None:
    header = request.headers.get("x-rollout-end-user")
    if header is None:
        return None
    sent = header.encode("latin-1").decode("utf-8", "replace")  # WSGI hands header bytes over as Latin-1
    if not 1 <= len(sent) <= 255 or not sent.isprintable():
        raise InvalidRequest("x-rollout-end-user is 1-255 visible characters.", param="x-rollout-end-user")
    return sent


def tell(response: Response, told: Told) -> Response:
    """`response` with what there is to tell of its call."""
    response.headers.update(told.headers)
    hard = [limit for limit in told.limits if limit.meter.hard]
    if hard:
        response.headers.update(rate_headers(hard, told.now, surface(request) == "anthropic"))
    return response


def rate_headers(limits: Sequence[Limit], now: int, anthropic: bool) -> dict[str, str]:
    """The limits as they stand, the one with the least left first."""
    ordered = sorted(limits, key=lambda limit: limit.remaining / max(1, limit.cap))
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
