"""/v1/images/generations and /v1/images/edits of the sandbox."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.api.sandbox.door import request_id, send, uploads
from rollout.core.analyses import split_members
from rollout.core.images import Member
from rollout.errors import RolloutError
from rollout.services.sandbox.bench import Bench
from rollout.services.sandbox.openai_images import OpenAIImagesSandbox, refusal

__all__ = ["PREFIXES", "refusal", "routes"]

PREFIXES: tuple[str, ...] = ("/v1/images/",)


def routes(blueprint: Blueprint, bench: Bench) -> None:
    sandbox = OpenAIImagesSandbox(bench)

    @blueprint.post("/v1/images/generations")
    def generations() -> Response:
        try:
            members = split_members(request.get_data())
        except RolloutError as error:
            return send(refusal(error.http_status, error.message))
        return send(sandbox.make(request_id(), "generate", members))

    @blueprint.post("/v1/images/edits")
    def edits() -> Response:
        members: dict[str, Member] = {name: value.encode() for name, value in request.form.items()}
        images = [*uploads("image"), *uploads("image[]")]
        masks = uploads("mask")
        return send(sandbox.make(request_id(), "edit", members, images, masks[0] if masks else None))
