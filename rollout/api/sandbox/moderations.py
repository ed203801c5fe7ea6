"""/v1/moderations of the sandbox."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.api.sandbox.door import send
from rollout.services.sandbox.bench import Bench
from rollout.services.sandbox.moderations import ModerationsSandbox
from rollout.services.sandbox.openai_images import refusal

__all__ = ["PREFIXES", "refusal", "routes"]

PREFIXES: tuple[str, ...] = ("/v1/moderations",)


def routes(blueprint: Blueprint, bench: Bench) -> None:
    sandbox = ModerationsSandbox(bench)

    @blueprint.post("/v1/moderations")
    def moderations() -> Response:
        return send(sandbox.moderate(request.get_data()))
