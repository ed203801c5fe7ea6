"""Analysis as the `openai` SDK asks for it: `/v1/chat/completions`, streaming too; members in, members out."""

from __future__ import annotations

from flask import Blueprint, Response

from rollout.core.analyses import MAX_BODY_BYTES
from rollout.services.pass_through import Asked
from rollout.web import headers, sse
from rollout.web.admission import admitted
from rollout.web.auth import key
from rollout.web.body import json_body
from rollout.web.operation import operation
from rollout.web.wired import services

routes = Blueprint("chat", __name__, url_prefix="/v1")


@routes.post("/chat/completions")
@operation(
    "Analyse pictures with Llama, Grok and others", auth=key("analyze"), raw_body=("application/json",)
)
@admitted("analysis")
def create_chat_completion() -> Response:
    body = json_body(MAX_BODY_BYTES)
    body.members.pop("rollout", None)
    call, asked = headers.call(body.content), Asked(body.members, body.size)
    if bytes(body.members.get("stream", b"")) == b"true":
        return sse.respond(services().chat.stream(call, asked), bytes)
    answered = services().chat.run(call, asked)
    return headers.tell(Response(answered.body, content_type="application/json"), answered.told)
