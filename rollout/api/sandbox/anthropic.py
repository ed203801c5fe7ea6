"""/v1/messages and /v1/messages/count_tokens of the sandbox."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.api.sandbox.door import request_id, send
from rollout.services.sandbox.anthropic import AnthropicSandbox, refusal
from rollout.services.sandbox.bench import Bench

__all__ = ["PREFIXES", "refusal", "routes"]

PREFIXES: tuple[str, ...] = ("/v1/messages",)


def routes(blueprint: Blueprint, bench: Bench) -> None:
    sandbox = AnthropicSandbox(bench)

    @blueprint.before_app_request
    def need_version() -> Response | None:
        """As the vendor."""
        if request.path.startswith(PREFIXES) and "anthropic-version" not in request.headers:
            return send(refusal(400, "anthropic-version: header is required"))
        return None

    @blueprint.post("/v1/messages")
    def messages() -> Response:
        return send(sandbox.message(request_id(), request.get_data()))

    @blueprint.post("/v1/messages/count_tokens")
    def count_tokens() -> Response:
        return send(sandbox.count_tokens(request.get_data()))
