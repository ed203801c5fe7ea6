"""/v1/chat/completions of the sandbox."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.api.sandbox.door import request_id, send
from rollout.services.sandbox.bench import Bench
from rollout.services.sandbox.openai_chat import OpenAIChatSandbox
from rollout.services.sandbox.openai_images import refusal

__all__ = ["PREFIXES", "refusal", "routes"]

PREFIXES: tuple[str, ...] = ("/v1/chat/",)


def routes(blueprint: Blueprint, bench: Bench) -> None:
    sandbox = OpenAIChatSandbox(bench)

    @blueprint.post("/v1/chat/completions")
    @blueprint.post("/xai/v1/chat/completions")
    def chat_completions() -> Response:
        return send(sandbox.complete(request_id(), request.get_data()))
