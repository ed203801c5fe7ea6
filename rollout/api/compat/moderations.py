"""`/v1/moderations`, as the `openai` SDK asks for it; members in, members out."""

from __future__ import annotations

from flask import Blueprint, Response

from rollout.core.analyses import MAX_BODY_BYTES
from rollout.web import headers
from rollout.web.admission import admitted
from rollout.web.auth import key
from rollout.web.body import json_body
from rollout.web.operation import operation
from rollout.web.wired import services

routes = Blueprint("moderations", __name__, url_prefix="/v1")


@routes.post("/moderations")
@operation("Say what texts and pictures are of", auth=key("analyze"), raw_body=("application/json",))
@admitted("analysis")
def create_moderation() -> Response:
    body = json_body(MAX_BODY_BYTES)
    answered = services().moderations.run(headers.call(body.content), body.members)
    return headers.tell(Response(answered.body, content_type="application/json"), answered.told)
