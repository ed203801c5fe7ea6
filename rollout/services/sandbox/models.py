"""The vendors' lists of models, each in its own shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.core.catalogue import Model
from rollout.services.sandbox import anthropic, openai_images
from rollout.services.sandbox.bench import Bench, Reply, json_reply, rfc3339


class ModelsSandbox:
    """What the vendors say of the models that are not retired."""

    def __init__(self, bench: Bench) -> None:
        self._models = [model for model in bench.catalogue.models if model.lifecycle != "retired"]

    def openai(self, name: str | None = None) -> Reply:
        """/v1/models and /v1/models/{name}, as OpenAI answers."""
        rows = {model.upstream_id: _openai(model) for model in self._models}
        if name is None:
            return json_reply({"object": "list", "data": list(rows.values())})
        return json_reply(rows[name]) if name in rows else openai_images.refusal(404, _missing(name))

    def anthropic(self, name: str | None = None) -> Reply:
        """/v1/models and /v1/models/{name}, as Anthropic answers."""
        rows = {model.upstream_id: _anthropic(model) for model in self._models}
        if name is None:
            ids = list(rows)
            return json_reply(
                {"data": list(rows.values()), "has_more": False, "first_id": ids[0], "last_id": ids[-1]}
            )
        return json_reply(rows[name]) if name in rows else anthropic.refusal(404, _missing(name))


def _missing(name: str) -> str:
    return f"There is no model {name[:200]!r}."


def _openai(model: Model) -> Mapping[str, Any]:
    return {
        "id": model.upstream_id,
        "object": "model",
        "created": model.created_at,
        "owned_by": model.vendor,
        "shutdown_date": rfc3339(model.retires_at),
    }


def _anthropic(model: Model) -> Mapping[str, Any]:
    return {
        "type": "model",
        "id": model.upstream_id,
        "display_name": model.display_name,
        "created_at": rfc3339(model.created_at),
        "lifecycle": model.lifecycle,
        "retires_at": rfc3339(model.retires_at),
    }
