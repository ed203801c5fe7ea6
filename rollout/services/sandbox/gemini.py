"""Gemini's pictures as the vendor answers them: generateContent, refusals within answers, errors in Google's envelope."""

from __future__ import annotations

import binascii
from typing import Any, Literal

import msgspec
import pybase64

from rollout.core.catalogue import Model, Usage
from rollout.core.images import Finished, ImageRequest, Picture, aspect_ratio_of, resolution_of
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_and_size
from rollout.core.steering import Steering, parse_steering
from rollout.errors import RolloutError
from rollout.providers.base import ImageCall, Refused, Rejected
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.works import Work
from rollout.services.sandbox.bench import Bench, Reply, json_reply, vendor_status

WIRE = "gemini"
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPES = "type.googleapis.com/google.rpc."


class _Inline(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    mime_type: str
    data: str


class _Part(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    text: str = ""
    inline_data: _Inline | None = None


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    parts: list[_Part]
    role: Literal["user"] = "user"


class _ImageConfig(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    aspect_ratio: str = "1:1"
    image_size: Literal["1K", "2K", "4K"] = "1K"


class _Config(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    response_modalities: list[Literal["IMAGE", "TEXT"]] = []
    image_config: _ImageConfig | None = None
    max_output_tokens: int = 0


class _Asked(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    contents: list[_Content]
    generation_config: _Config = msgspec.field(default_factory=_Config)


class GeminiSandbox:
    """The image models of Gemini."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._images = SandboxImages(bench.works, bench.sleep, bench.hang_seconds)

    def generate(self, request_id: str, upstream_id: str, body: bytes) -> Reply:
        """/v1beta/models/{id}:generateContent. Raises ConnectionDropped."""
        with self._bench.works.begin(request_id) as work:
            return self._generate(work, request_id, upstream_id, body)

    def models(self) -> Reply:
        """/v1beta/models."""
        rows = [_row(model) for model in self._bench.catalogue.models if self._has(model)]
        return json_reply({"models": rows})

    def _has(self, model: Model) -> bool:
        return model.wire == WIRE and model.lifecycle != "retired"

    def _generate(self, work: Work, request_id: str, upstream_id: str, body: bytes) -> Reply:
        try:
            model = self._bench.model(upstream_id, WIRE)
            request = _request(msgspec.json.decode(body, type=_Asked), model)
            steering = parse_steering(request.prompt)
        except RolloutError as error:
            return refusal(vendor_status(error), error.message)
        except (msgspec.DecodeError, binascii.Error, Rejected) as error:
            return refusal(400, f"Invalid JSON payload received. {error}")
        work.until = self._bench.clock() + steering.takes
        if told := self._bench.fault(refusal, steering, streaming=False):
            return told
        answer = {"modelVersion": upstream_id, "responseId": request_id}
        try:
            finished = self._images.make(ImageCall(model, request), steering)
        except Rejected as rejected:
            return refusal(400, rejected.message)
        except Refused as refused:
            return self._bench.json(answer | _refused(refused, steering), steering)
        work.finish(len(finished.pictures), finished.usage)
        return self._bench.json(answer | _body(finished), steering)


def refusal(status: int, message: str, *, code: str | None = None) -> Reply:
    """An error in Google's envelope; `code` as its reason."""
    details: list[dict[str, Any]] = []
    if code:
        details.append({"@type": f"{_TYPES}ErrorInfo", "reason": code, "domain": "googleapis.com"})
    if status == 429:
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": "1s"})
    known = _STATUSES.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
    return json_reply(
        {"error": {"code": status, "message": message, "status": known, "details": details}}, status
    )


def _request(asked: _Asked, model: Model) -> ImageRequest:
    """Raises InvalidRequest, Rejected, binascii.Error."""
    parts = [part for content in asked.contents for part in content.parts]
    images = tuple(_input(part.inline_data) for part in parts if part.inline_data)
    config = asked.generation_config.image_config
    return ImageRequest(
        operation="edit" if images else "generate",
        prompt=" ".join(part.text for part in parts if part.text),
        model=model.name,
        size=_size(config, model) if config else None,
        images=images,
    )


def _input(inline: _Inline) -> InputImage:
    data = pybase64.b64decode(inline.data, validate=True)
    return InputImage(data, *media_type_and_size(data))


def _size(config: _ImageConfig, model: Model) -> str:
    """The model's size of that ratio and class."""
    wanted = (config.aspect_ratio, config.image_size)
    for size in model.sizes:
        if (aspect_ratio_of(size), resolution_of(size)) == wanted:
            return size
    raise Rejected(f"aspect_ratio must be one of {', '.join(model.aspect_ratios)}.")


def _refused(refused: Refused, steering: Steering) -> dict[str, Any]:
    rating = {"category": f"HARM_CATEGORY_{refused.category.upper()}", "probability": "HIGH", "blocked": True}
    usage = {"usageMetadata": _usage(refused.usage)} if refused.usage else {}
    if steering.flagged == "output":
        return {
            "candidates": [{"finishReason": "IMAGE_SAFETY", "index": 0, "safetyRatings": [rating]}],
            **usage,
        }
    return {"promptFeedback": {"blockReason": "SAFETY", "safetyRatings": [rating]}, **usage}


def _body(finished: Finished) -> dict[str, Any]:
    parts = [{"inlineData": _inline(picture)} for picture in finished.pictures]
    candidate: dict[str, Any] = {"finishReason": "STOP" if parts else "NO_IMAGE", "index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": parts}
    body: dict[str, Any] = {"candidates": [candidate]}
    if finished.usage:
        body["usageMetadata"] = _usage(finished.usage)
    return body


def _inline(picture: Picture) -> dict[str, Any]:
    return {"mimeType": picture.media_type, "data": msgspec.Raw(b'"' + picture.b64 + b'"')}


def _usage(usage: Usage) -> dict[str, Any]:
    """Thoughts are counted beside the candidates, not among them."""
    pictures = usage.output - usage.text_out
    return {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": pictures,
        "thoughtsTokenCount": usage.text_out,
        "totalTokenCount": usage.input + usage.output,
        "promptTokensDetails": _details(TEXT=usage.text_in, IMAGE=usage.image_in),
        "candidatesTokensDetails": _details(IMAGE=pictures),
    }


def _details(**counts: int) -> list[dict[str, Any]]:
    return [{"modality": name, "tokenCount": count} for name, count in counts.items() if count]


def _row(model: Model) -> dict[str, Any]:
    return {
        "name": f"models/{model.upstream_id}",
        "baseModelId": model.upstream_id,
        "displayName": model.display_name,
        "supportedGenerationMethods": ["generateContent"],
    }
