"""What makes two requests with one Idempotency-Key the same request.

Method, route template, tenant and content count. Headers, the multipart boundary and the API key do not: a key may
be rotated between two tries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from rollout.core.input_images import Upload

VERSION = "1"
LARGEST_READ = 64 * 1024
"""JSON up to this size is compared by what it says, larger JSON byte by byte."""


def fingerprint(method: str, route: str, tenant_id: str, content: bytes) -> str:
    """`content` is from `json_content` or `form_content`; `route` is the template, such as `/v1/messages`."""
    digest = hashlib.sha256(json.dumps([method, route, tenant_id]).encode())
    digest.update(content)
    return f"{VERSION}:{digest.hexdigest()}"


def json_content(body: bytes) -> bytes:
    """The canonical form of a valid JSON body: keys sorted, numbers as they were sent."""
    if len(body) > LARGEST_READ:
        return body
    value = json.loads(body, parse_int=_as_sent, parse_float=_as_sent)
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def form_content(fields: Mapping[str, bytes], files: Iterable[Upload]) -> bytes:
    """The parts by name; files of one name in their order."""
    parts = [*fields.items(), *((file.field, file.data) for file in files)]
    digests = [(name, hashlib.sha256(data).hexdigest()) for name, data in parts]
    return json.dumps(sorted(digests, key=lambda part: part[0])).encode()


def _as_sent(digits: str) -> list[str]:
    """1, 1.0 and "1" are three different things."""
    return ["number as sent", digits]
