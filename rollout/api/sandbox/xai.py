"""/xai/v1/images/generations and /xai/v1/images/edits of the sandbox: the base URL of xAI is its /xai/v1."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.api.sandbox.door import request_id, send
from rollout.services.sandbox.bench import Bench
from rollout.services.sandbox.xai import XaiSandbox, refusal

__all__ = ["PREFIXES", "refusal", "routes"]

PREFIXES: tuple[str, ...] = ("/xai/v1/images/",)


def routes(blueprint: Blueprint, bench: Bench) -> None:
    sandbox = XaiSandbox(bench)

    @blueprint.post("/xai/v1/images/generations")
    def xai_generations() -> Response:
        return send(sandbox.make(request_id(), "generate", request.get_data()))

    @blueprint.post("/xai/v1/images/edits")
    def xai_edits() -> Response:
        return send(sandbox.make(request_id(), "edit", request.get_data()))
