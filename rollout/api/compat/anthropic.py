"""Analysis as the `anthropic` SDK asks for it: `/v1/messages` and its token count; members in, members out."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.core.analyses import MAX_BODY_BYTES
from rollout.errors import InvalidRequest
from rollout.services.calls import Call
from rollout.services.pass_through import Answered, Asked
from rollout.web import headers, sse
from rollout.web.admission import admitted
from rollout.web.auth import key
from rollout.web.body import json_body
from rollout.web.operation import operation
from rollout.web.wired import services

routes = Blueprint("anthropic", __name__, url_prefix="/v1")

VERSIONS = ("2023-06-01", "2026-10-21")
BETAS = frozenset(
    {
        "extended-cache-ttl-2025-04-11",
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "output-128k-2025-02-19",
        "pdfs-2024-09-25",
        "prompt-caching-2024-07-31",
        "structured-outputs-2025-11-13",
        "token-efficient-tools-2025-02-19",
    }
)
"""Betas that neither keep anything at the vendor nor are billed by anything but tokens."""


@routes.post("/messages")
@operation("Analyse pictures with Claude", auth=key("analyze"), raw_body=("application/json",))
@admitted("analysis")
def create_message() -> Response:
    call, asked = _asked()
    if bytes(asked.members.get("stream", b"")) == b"true":
        return sse.respond(services().analyze.stream(call, asked), bytes)
    return _answer(services().analyze.run(call, asked))


@routes.post("/messages/count_tokens")
@operation("Count the tokens of a message", auth=key("analyze"), raw_body=("application/json",))
@admitted("analysis")
def count_tokens() -> Response:
    return _answer(services().analyze.count_tokens(*_asked()))


def _asked() -> tuple[Call, Asked]:
    body = json_body(MAX_BODY_BYTES)
    body.members.pop("rollout", None)
    passed, warnings = _vendor_headers()
    return headers.call(body.content), Asked(body.members, body.size, passed, warnings)


def _answer(answered: Answered) -> Response:
    return headers.tell(Response(answered.body, content_type="application/json"), answered.told)


def _vendor_headers() -> tuple[dict[str, str], tuple[str, ...]]:
    """What goes on to the vendor: the caller's version, and the betas that are offered; a warning for each other."""
    version = request.headers.get("anthropic-version", VERSIONS[0])
    if version not in VERSIONS:
        raise InvalidRequest(
            f"anthropic-version must be one of {', '.join(VERSIONS)}.", param="anthropic-version"
        )
    asked = [beta.strip() for beta in request.headers.get("anthropic-beta", "").split(",") if beta.strip()]
    offered = [beta for beta in asked if beta in BETAS]
    passed = {"anthropic-version": version} | ({"anthropic-beta": ",".join(offered)} if offered else {})
    return passed, tuple(f"anthropic-beta {beta[:100]} is not offered" for beta in asked if beta not in BETAS)
