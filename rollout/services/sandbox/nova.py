"""Amazon Nova Canvas as Bedrock's runtime answers: one route for every task, errors by header and message."""

from __future__ import annotations

import binascii
import io
from typing import Any, Literal

import msgspec
import pybase64
from PIL import Image

from rollout.core.catalogue import Model
from rollout.core.images import ImageRequest
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_and_size
from rollout.core.steering import Steering, parse_steering
from rollout.errors import RolloutError
from rollout.providers.base import ImageCall, Refused, Rejected
from rollout.providers.sandbox.images import SandboxImages
from rollout.providers.sandbox.works import Work
from rollout.services.sandbox.bench import Bench, Reply, json_reply, vendor_status

WIRE = "nova"
MAX_PROMPT_CHARACTERS = 1_024
_KINDS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
_BLOCKED = "This request has been blocked by our content filters."


class _Text(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    text: str
    negative_text: str = ""


class _Variation(_Text, rename="camel", forbid_unknown_fields=True):
    images: list[str] = []
    similarity_strength: float = 0.7


class _InPainting(_Text, rename="camel", forbid_unknown_fields=True):
    image: str = ""
    mask_image: str = ""


class _Config(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    number_of_images: int = 1
    width: int = 1024
    height: int = 1024
    quality: Literal["standard", "premium"] = "standard"
    cfg_scale: float = 6.5
    seed: int = 12


class _Asked(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    task_type: Literal["TEXT_IMAGE", "INPAINTING", "IMAGE_VARIATION"]
    text_to_image_params: _Text | None = None
    in_painting_params: _InPainting | None = None
    image_variation_params: _Variation | None = None
    image_generation_config: _Config = msgspec.field(default_factory=_Config)


class NovaSandbox:
    """Nova Canvas."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._images = SandboxImages(bench.works, bench.sleep, bench.hang_seconds)

    def invoke(self, request_id: str, upstream_id: str, body: bytes) -> Reply:
        """/model/{id}/invoke. Raises ConnectionDropped."""
        with self._bench.works.begin(request_id) as work:
            return self._invoke(work, upstream_id, body)

    def models(self) -> Reply:
        """/foundation-models, which the vendor has at another host: those that have ended stay in it for a while."""
        rows = [_row(model) for model in self._bench.catalogue.models if model.wire == WIRE]
        return json_reply({"modelSummaries": rows})

    def _invoke(self, work: Work, upstream_id: str, body: bytes) -> Reply:
        try:
            model = self._bench.model(upstream_id, WIRE)
            request = _request(msgspec.json.decode(body, type=_Asked), model)
            steering = parse_steering(request.prompt)
        except RolloutError as error:
            return refusal(vendor_status(error), error.message)
        except (msgspec.DecodeError, binascii.Error, Rejected) as error:
            return refusal(400, f"Malformed input request: {error}")
        work.until = self._bench.clock() + steering.takes
        if told := self._bench.fault(refusal, steering, streaming=False):
            return told
        try:
            finished = self._images.make(ImageCall(model, request), steering)
        except Rejected as rejected:
            return refusal(400, rejected.message)
        except Refused:
            return self._refused(steering)
        work.finish(len(finished.pictures), None)
        return self._bench.json({"images": [picture.b64.decode() for picture in finished.pictures]}, steering)

    def _refused(self, steering: Steering) -> Reply:
        if steering.flagged == "output":
            return self._bench.json({"images": [], "error": _BLOCKED}, steering)
        return refusal(400, _BLOCKED)


def refusal(status: int, message: str, *, code: str | None = None) -> Reply:
    """An error in Bedrock's envelope; `code` as its type."""
    reply = json_reply({"message": message}, status)
    kind = code or _KINDS.get(status, "InternalServerException" if status >= 500 else "ValidationException")
    return Reply(status, reply.content_type, reply.chunks, headers={"x-amzn-errortype": kind})


def _request(asked: _Asked, model: Model) -> ImageRequest:
    """Raises InvalidRequest, Rejected, binascii.Error."""
    config, paint, vary = (
        asked.image_generation_config,
        asked.in_painting_params,
        asked.image_variation_params,
    )
    params = {
        "TEXT_IMAGE": asked.text_to_image_params,
        "INPAINTING": paint,
        "IMAGE_VARIATION": vary,
    }[asked.task_type]
    if params is None or not 1 <= len(params.text) <= MAX_PROMPT_CHARACTERS:
        raise Rejected(f"text must have 1 to {MAX_PROMPT_CHARACTERS} characters")
    images = tuple(map(_input, [paint.image] if paint else vary.images if vary else []))
    edges = (images[0].width, images[0].height) if paint else (config.width, config.height)
    return ImageRequest(
        operation="edit" if images else "generate",
        prompt=params.text,
        model=model.name,
        n=config.number_of_images,
        size=f"{edges[0]}x{edges[1]}",
        quality=config.quality,
        images=images,
        mask=_mask(paint.mask_image, images[0]) if paint else None,
    )


def _input(text: str) -> InputImage:
    data = pybase64.b64decode(text, validate=True)
    return InputImage(data, *media_type_and_size(data))


def _mask(text: str, image: InputImage) -> InputImage:
    """What is black here is transparent to who draws. Raises Rejected for a mask that is not black and white."""
    told = _input(text)
    with Image.open(io.BytesIO(told.data)) as opened:
        grey = opened.convert("L")
    if grey.size != (image.width, image.height) or any(grey.histogram()[1:255]):
        raise Rejected("maskImage must be black and white, and as large as image")
    mask = Image.new("RGBA", grey.size)
    mask.putalpha(grey)
    out = io.BytesIO()
    mask.save(out, "PNG")
    return InputImage(out.getvalue(), "image/png", *grey.size)


def _row(model: Model) -> dict[str, Any]:
    status = "ACTIVE" if model.lifecycle == "active" else "LEGACY"
    return {
        "modelId": model.upstream_id,
        "modelName": model.display_name,
        "providerName": "Amazon",
        "outputModalities": ["IMAGE"],
        "modelLifecycle": {"status": status},
    }
