"""`GET /v1/models`: what this tenant may use now, in the shape of the SDK that asks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from flask import Blueprint, request
from pydantic import Field

from rollout.core.catalogue import Model
from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest
from rollout.services import calls
from rollout.web.auth import identity, key
from rollout.web.operation import Answer, Shape, json_response, operation
from rollout.web.problems import surface
from rollout.web.wired import services

routes = Blueprint("models", __name__, url_prefix="/v1")

EFFORTS = ("low", "medium", "high", "xhigh", "max")
THINKING = ("enabled", "adaptive", "disabled", "between_tools")


class Page(Shape):
    """Anthropic's paging; OpenAI's list has none."""

    limit: int = Field(20, ge=1, le=1000)
    after_id: str | None = Field(None, max_length=200)
    before_id: str | None = Field(None, max_length=200)


@routes.get("/models")
@operation("List the models that this tenant may use now", auth=key("read"), query=Page)
def list_models(query: Page) -> Answer:
    models = services().models.offered(identity())
    if surface(request) == "anthropic":
        return _page(models, query)
    return {"object": "list", "data": [_as_openai(model) for model in models]}


@routes.get("/models/<name>")
@operation("Show a model", auth=key("read"))
def show_model(name: str) -> Answer:
    resolved = services().models.get(identity(), name)
    show = _as_anthropic if surface(request) == "anthropic" else _as_openai
    response = json_response(show(resolved.model))
    response.headers.update(calls.model_headers(resolved))
    return response


def _page(models: list[Model], query: Page) -> dict[str, Any]:
    """Up to `limit` after `after_id`, or up to `limit` just before `before_id`."""
    if query.after_id is not None and query.before_id is not None:
        raise InvalidRequest("Send after_id or before_id, not both.", param="before_id")
    if query.before_id is not None:
        earlier = models[: _place(models, query.before_id, "before_id")]
        shown, more = earlier[-query.limit :], len(earlier) > query.limit
    else:
        later = models if query.after_id is None else models[_place(models, query.after_id, "after_id") + 1 :]
        shown, more = later[: query.limit], len(later) > query.limit
    return {
        "data": [_as_anthropic(model) for model in shown],
        "has_more": more,
        "first_id": shown[0].name if shown else None,
        "last_id": shown[-1].name if shown else None,
    }


def _place(models: list[Model], name: str, param: str) -> int:
    for place, model in enumerate(models):
        if model.name == name:
            return place
    raise InvalidRequest(
        f"`{param}` names no model of this list.", param=param, remedy="Begin again without it."
    )


def _as_openai(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created_at,
        "owned_by": model.vendor,
        "shutdown_date": (rfc3339(model.retires_at) or "")[:10] or None,
    }


def _as_anthropic(model: Model) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.display_name,
        "created_at": rfc3339(model.created_at),
        "lifecycle": model.lifecycle,
        "deprecated_at": rfc3339(model.deprecated_at),
        "retires_at": rfc3339(model.retires_at),
        "capabilities": _capabilities(model),
        "max_input_tokens": model.max_input_tokens or None,
        "max_tokens": model.max_tokens or None,
    }


def _capabilities(model: Model) -> dict[str, Any]:
    """What the model does here, in Anthropic's words: batches, and tools that run at the vendor, we never pass on."""
    documents = model.wire == "anthropic"
    return {
        "batch": _supported(False),
        "citations": _supported(documents),
        "code_execution": _supported(False),
        "context_management": _supported(False),
        "effort": {**_supported(bool(model.efforts)), **_each(EFFORTS, model.efforts)},
        "image_input": _supported(model.image_input),
        "pdf_input": _supported(documents),
        "server_tools": {**_supported(False), **_each(("code_execution", "web_search"), ())},
        "structured_outputs": _supported(model.structured_outputs),
        "thinking": {
            **_supported(not {"enabled", "adaptive"}.isdisjoint(model.thinking)),
            "types": _each(THINKING, model.thinking or ("disabled",)),
        },
    }


def _supported(is_so: bool) -> dict[str, bool]:
    return {"supported": is_so}


def _each(names: Iterable[str], supported: Collection[str]) -> dict[str, dict[str, bool]]:
    return {name: _supported(name in supported) for name in names}
