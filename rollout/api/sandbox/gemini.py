"""/v1beta/models of the sandbox: generateContent, and the list."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.api.sandbox.door import request_id, send
from rollout.services.sandbox.bench import Bench
from rollout.services.sandbox.gemini import GeminiSandbox, refusal

__all__ = ["PREFIXES", "refusal", "routes"]

PREFIXES: tuple[str, ...] = ("/v1beta/",)


def routes(blueprint: Blueprint, bench: Bench) -> None:
    sandbox = GeminiSandbox(bench)

    @blueprint.get("/v1beta/models")
    def gemini_models() -> Response:
        return send(sandbox.models())

    @blueprint.post("/v1beta/models/<upstream_id>:generateContent")
    def generate_content(upstream_id: str) -> Response:
        return send(sandbox.generate(request_id(), upstream_id, request.get_data()))
