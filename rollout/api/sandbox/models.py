"""/v1/models of the sandbox: OpenAI's, and Anthropic's for who names its version."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.api.sandbox import anthropic, openai_images
from rollout.api.sandbox.door import send
from rollout.services.sandbox.bench import Bench, Refusal
from rollout.services.sandbox.models import ModelsSandbox

PREFIXES: tuple[str, ...] = ("/v1/models", "/xai/v1/models")


def routes(blueprint: Blueprint, bench: Bench) -> None:
    sandbox = ModelsSandbox(bench)

    @blueprint.get("/v1/models", defaults={"name": None})
    @blueprint.get("/v1/models/<name>")
    def models(name: str | None) -> Response:
        return send((sandbox.anthropic if _asks_anthropic() else sandbox.openai)(name))

    @blueprint.get("/xai/v1/models")
    def xai_models() -> Response:
        return send(sandbox.openai())


def refusal() -> Refusal:
    """The envelope of the vendor that is asked."""
    return anthropic.refusal if _asks_anthropic() else openai_images.refusal


def _asks_anthropic() -> bool:
    return "anthropic-version" in request.headers
