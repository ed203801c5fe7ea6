"""Grok's pictures as xAI answers them: generations and edits in JSON, errors as one sentence, prices in money."""

from __future__ import annotations

import binascii
from typing import Any, Literal

import msgspec
import pybase64

from rollout.core.catalogue import Model, Usage
from rollout.core.images import Finished, ImageRequest, Operation, Picture, aspect_ratio_of, resolution_of
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_and_size
from rollout.core.steering import parse_steering
from rollout.errors import RolloutError
from rollout.providers.base import ImageCall, Refused, Rejected
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.works import Work
from rollout.services.sandbox.bench import Bench, Reply, json_reply, vendor_status

WIRE = "xai"
_TICKS = 10_000  # to a micro-dollar
_CODES = {
    400: "Client specified an invalid argument",
    401: "Unauthenticated",
    403: "The caller does not have permission to execute the specified operation",
    404: "Some requested entity was not found",
    429: "Some resource has been exhausted",
    503: "The service is currently unavailable",
}
_NOT_SUPPORTED = ("size", "style", "mask", "background", "output_format", "stream")


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    type: Literal["image_url"] = "image_url"


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    prompt: str
    n: int = 1
    response_format: Literal["url", "b64_json"] = "url"
    resolution: Literal["1k", "2k"] = "1k"
    aspect_ratio: str = "auto"
    quality: Literal["low", "medium"] | None = None
    image: _Input | None = None
    images: list[_Input] = []
    user: str | None = None


class XaiSandbox:
    """The image models of xAI."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._images = SandboxImages(bench.works, bench.sleep, bench.hang_seconds)

    def make(self, request_id: str, operation: Operation, body: bytes) -> Reply:
        """/v1/images/generations and /v1/images/edits. Raises ConnectionDropped."""
        with self._bench.works.begin(request_id) as work:
            return self._make(work, operation, body)

    def _make(self, work: Work, operation: Operation, body: bytes) -> Reply:
        try:
            asked = _read(body)
            model = self._bench.model(asked.model, WIRE)
            request = _request(operation, asked, model)
            steering = parse_steering(request.prompt)
        except RolloutError as error:
            return refusal(vendor_status(error), error.message)
        except (msgspec.DecodeError, binascii.Error, Rejected) as error:
            return refusal(400, str(error))
        work.until = self._bench.clock() + steering.takes
        if told := self._bench.fault(refusal, steering, streaming=False):
            return told
        try:
            finished = self._images.make(ImageCall(model, request), steering)
        except Rejected as rejected:
            return refusal(400, rejected.message)
        except Refused as refused:
            return _refused(refused)
        work.finish(len(finished.pictures), finished.usage)
        return self._bench.json(_body(finished), steering)


def refusal(status: int, message: str, *, code: str | None = None) -> Reply:
    """An error as xAI words it: what kind it is, and a sentence."""
    return json_reply({"code": code or _CODES.get(status, "Internal error"), "error": message}, status)


def _read(body: bytes) -> _Asked:
    """Raises msgspec.DecodeError, Rejected."""
    for name in msgspec.json.decode(body, type=dict[str, msgspec.Raw]):
        if name in _NOT_SUPPORTED:
            raise Rejected(f"Argument not supported: {name}")
    return msgspec.json.decode(body, type=_Asked)


def _request(operation: Operation, asked: _Asked, model: Model) -> ImageRequest:
    """Raises InvalidRequest, Rejected, binascii.Error."""
    inputs = [asked.image] if asked.image else asked.images
    if (operation == "edit") != bool(inputs) or len(inputs) > model.max_input_images:
        raise Rejected(f"An edit takes 1 to {model.max_input_images} images, a generation none.")
    if not 1 <= asked.n <= model.max_images:
        raise Rejected(f"n must be between 1 and {model.max_images}.")
    if asked.quality and asked.quality not in model.qualities:
        raise Rejected("Argument not supported: quality")
    return ImageRequest(
        operation=operation,
        prompt=asked.prompt,
        model=model.name,
        n=asked.n,
        size=_size(asked, model),
        quality=asked.quality,
        output_format="jpeg",
        images=tuple(map(_input, inputs)),
    )


def _size(asked: _Asked, model: Model) -> str:
    """The model's size of that ratio and resolution; `auto` is a square here."""
    wanted = asked.aspect_ratio.replace("auto", "1:1"), asked.resolution.upper()
    for size in model.sizes:
        if (aspect_ratio_of(size), resolution_of(size)) == wanted:
            return size
    raise Rejected(f"aspect_ratio must be one of auto, {', '.join(model.aspect_ratios)}.")


def _input(told: _Input) -> InputImage:
    head, _, data = told.url.partition(";base64,")
    if not head.startswith("data:image/"):
        raise Rejected("SANDBOX: pictures are taken as data URLs.")
    decoded = pybase64.b64decode(data, validate=True)
    return InputImage(decoded, *media_type_and_size(decoded))


def _refused(refused: Refused) -> Reply:
    """A prompt by the check that it failed; a picture with what it cost."""
    if refused.point == "prompt":
        check = f"Failed check: SAFETY_CHECK_TYPE_{refused.category.upper()}"
        return refusal(403, f"Content violates usage guidelines. {check}")
    told = {"code": _CODES[400], "error": "Generated image rejected by content moderation."}
    return json_reply(told | _usage(refused.usage), 400)


def _body(finished: Finished) -> dict[str, Any]:
    return {"data": [_datum(picture) for picture in finished.pictures], **_usage(finished.usage)}


def _datum(picture: Picture) -> dict[str, Any]:
    return {
        "b64_json": msgspec.Raw(b'"' + picture.b64 + b'"'),
        "mime_type": picture.media_type,
        "revised_prompt": "",
        "respect_moderation": True,
    }


def _usage(usage: Usage | None) -> dict[str, Any]:
    return {"usage": {"cost_in_usd_ticks": usage.usd_micro * _TICKS}} if usage else {}
