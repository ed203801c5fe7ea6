"""/model/{id}/invoke and /foundation-models of the sandbox, as Bedrock has them."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.api.sandbox.door import request_id, send
from rollout.services.sandbox.bench import Bench
from rollout.services.sandbox.nova import NovaSandbox, refusal

__all__ = ["PREFIXES", "refusal", "routes"]

PREFIXES: tuple[str, ...] = ("/model/", "/foundation-models")


def routes(blueprint: Blueprint, bench: Bench) -> None:
    sandbox = NovaSandbox(bench)

    @blueprint.get("/foundation-models")
    def foundation_models() -> Response:
        return send(sandbox.models())

    @blueprint.post("/model/<upstream_id>/invoke")
    def invoke(upstream_id: str) -> Response:
        return send(sandbox.invoke(request_id(), upstream_id, request.get_data()))
