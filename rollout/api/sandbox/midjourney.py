"""/mj of the sandbox: submits by mode, looks at tasks, and their pictures, which anybody may fetch."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.api.sandbox.door import request_id, send
from rollout.services.sandbox.bench import Bench
from rollout.services.sandbox.midjourney import MidjourneySandbox, refusal

__all__ = ["PICTURES", "PREFIXES", "refusal", "routes"]

PREFIXES: tuple[str, ...] = ("/mj",)
PICTURES = "/mj/pictures/"


def routes(blueprint: Blueprint, bench: Bench) -> None:
    sandbox = MidjourneySandbox(bench)

    @blueprint.post("/mj-<mode>/mj/submit/imagine")
    def imagine(mode: str) -> Response:
        return send(sandbox.submit(request_id(), mode, request.get_data()))

    @blueprint.get("/mj/task/<task_id>/fetch")
    def fetch_task(task_id: str) -> Response:
        return send(sandbox.look(task_id, request.host_url.rstrip("/")))

    @blueprint.get(f"{PICTURES}<task_id>")
    def task_picture(task_id: str) -> Response:
        return send(sandbox.picture(task_id))
