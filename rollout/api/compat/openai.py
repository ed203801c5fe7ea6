"""Pictures as the `openai` SDK asks for them: `/v1/images/generations`, `/v1/images/edits`, streaming too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Blueprint, Response

from rollout.core.extensions import split_extensions
from rollout.core.images import Operation
from rollout.errors import InvalidRequest
from rollout.services.calls import Call
from rollout.services.generate import Asked, Preview
from rollout.services.results import Delivered
from rollout.web import headers, sse
from rollout.web.admission import admitted
from rollout.web.auth import key
from rollout.web.body import FormBody, form_body, json_body
from rollout.web.operation import operation
from rollout.web.wired import services

routes = Blueprint("openai", __name__, url_prefix="/v1")

LARGEST_PROMPT_BODY = 1 << 20
EVENTS: Mapping[Operation, str] = {"generate": "image_generation", "edit": "image_edit"}


@routes.post("/images/generations")
@operation("Generate pictures", auth=key("generate"), raw_body=("application/json",))
@admitted("generation")
def generate_images() -> Response:
    body = json_body(LARGEST_PROMPT_BODY)
    members, extensions = split_extensions(body.members)
    return _answer(headers.call(body.content), Asked("generate", members, extensions=extensions))


@routes.post("/images/edits")
@operation("Edit pictures", auth=key("generate"), raw_body=("multipart/form-data",))
@admitted("generation")
def edit_images() -> Response:
    body = form_body()
    return _answer(headers.call(body.content), _edit(body))


def _answer(call: Call, asked: Asked) -> Response:
    if bytes(asked.members.get("stream", b"")).strip() == b"true":
        opened = services().generate.stream(call, asked)
        return sse.respond(opened, lambda part: _event(asked.operation, part))
    delivered = services().generate.run(call, asked)
    return headers.tell(Response(_body(delivered), content_type="application/json"), delivered.told)


def _edit(body: FormBody) -> Asked:
    files = dict(body.files)
    images = [upload for name in ("image", "image[]") for upload in files.pop(name, ())]
    masks = files.pop("mask", ())
    for name in (*files, *(name for name in ("image", "image[]", "mask") if name in body.fields)):
        reason = "is not a file of this request" if name in files else "must be a file, with a filename"
        raise InvalidRequest(
            f"`{name[:100]}` {reason}.", param=name[:100], remedy="Files are image, image[] and mask."
        )
    if len(masks) > 1:
        raise InvalidRequest("`mask` was sent more than once.", param="mask", remedy="Send one mask.")
    members, extensions = split_extensions(body.fields)
    return Asked("edit", members, images, masks[0] if masks else None, extensions)


def _body(delivered: Delivered) -> bytes:
    result = delivered.result.body
    shown = {
        "created": result["created"],
        "data": [_picture(delivered, image) for image in result["images"]],
        "usage": _usage(result["usage"]),
        **_told_by_vendor(result),
        "rollout": delivered.extensions or None,
    }
    return msgspec.json.encode({name: value for name, value in shown.items() if value is not None})


def _picture(delivered: Delivered, image: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if delivered.result.body["response_format"] == "url":
        shown["url"] = services().images.url(
            delivered.tenant_id, image["id"], delivered.result.body["expires_at"]
        )
    else:
        shown["b64_json"] = _text(delivered.pictures[image["$blob"]])
    if image["revised_prompt"] is not None:
        shown["revised_prompt"] = image["revised_prompt"]
    return shown


def _event(operation: Operation, part: Preview | Delivered) -> bytes:
    """One event; the finished pictures of one call are as many events."""
    prefix = EVENTS[operation]
    if isinstance(part, Preview):
        name, request = f"{prefix}.partial_image", part.request
        shown = {
            "type": name,
            "b64_json": _text(part.partial.picture.b64),
            "partial_image_index": part.partial.index,
            "created_at": part.at,
            "background": request.background or "auto",
            "output_format": request.output_format or "png",
            "quality": request.quality or "auto",
            "size": request.size or "auto",
        }
        return sse.event(name, msgspec.json.encode(shown))
    name, result = f"{prefix}.completed", part.result.body
    rest = {"created_at": result["created"], "usage": _usage(result["usage"]), **_told_by_vendor(result)}
    return b"".join(
        sse.event(name, msgspec.json.encode({"type": name, **_picture(part, image), **rest}))
        for image in result["images"]
    )


def _told_by_vendor(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("background", "output_format", "quality", "size")}


def _usage(usage: Mapping[str, int] | None) -> dict[str, Any] | None:
    """Token usage in the shape of OpenAI's images API."""
    if usage is None:
        return None
    return {
        "input_tokens": usage["input"],
        "output_tokens": usage["output"],
        "total_tokens": usage["input"] + usage["output"],
        "input_tokens_details": {"text_tokens": usage["text_in"], "image_tokens": usage["image_in"]},
    }


def _text(b64: bytes) -> msgspec.Raw:
    """Base64 as a JSON string, without looking at it: it holds nothing that JSON escapes."""
    return msgspec.Raw(b'"' + b64 + b'"')
