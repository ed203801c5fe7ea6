"""Headers that steer a call and tell of it: keys against repeats, end users, what became of it."""

from __future__ import annotations

import re

from flask import Response, g, request

from rollout.core.fingerprint import fingerprint
from rollout.errors import InvalidRequest
from rollout.services.calls import Call, Told
from rollout.web.arrival import Watched, caller_gone
from rollout.web.auth import identity
from rollout.web.problems import surface
from rollout.web.rates import rate_headers

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_RETRIES = re.compile(r"[1-9][0-9]{0,3}")


def call(content: bytes) -> Call:
    """The call as its headers describe it; `content` is what the fingerprint is taken of. Raises InvalidRequest."""
    caller = identity()
    route = str(request.url_rule)
    return Call(
        identity=caller,
        request_id=g.request_id,
        fingerprint=fingerprint(request.method, route, caller.facts.tenant.id, content),
        idem_key=idempotency_key(),
        end_user=end_user(),
        is_retry=_RETRIES.fullmatch(request.headers.get("x-stainless-retry-count", "")) is not None,
        gone=caller_gone(),
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


def end_user() -> str | None:
    """Whom the caller serves, by `x-rollout-end-user`. Raises InvalidRequest."""
    header = request.headers.get("x-rollout-end-user")
    if header is None:
        return None
    sent = header.encode("latin-1").decode("utf-8", "replace")  # WSGI hands header bytes over as Latin-1
    if not 1 <= len(sent) <= 255 or not sent.isprintable():
        raise InvalidRequest("x-rollout-end-user is 1-255 visible characters.", param="x-rollout-end-user")
    return sent


def tell(response: Response, told: Told) -> Response:
    """`response` with what there is to tell of its call, watched on its way where that matters."""
    response.headers.update(told.headers)
    is_anthropic = surface(request) == "anthropic"
    response.headers.update(rate_headers(told.limits, told.now, g.request_id, anthropic=is_anthropic))
    if told.delivery is not None:
        response.response = Watched(response.response, told.delivery.lost)
    return response
