"""Pictures without a vendor: drawn here, deterministic, honest, with usage as their vendors count it, and told
to fail by the prompt.

Usage follows OpenAI's published figures for gpt-image-1 (272, 1,056, 4,160 output tokens per 1024x1024
pixels), and never exceeds what the model's price says one picture costs at most. Failures: only those that
the prompt asks for, and Rejected for an input picture that cannot be decoded.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pybase64

from rollout.core.catalogue import Model, Usage
from rollout.core.guardrails import category_of
from rollout.core.images import Finished, ImageRequest, Partial, Picture, size_of
from rollout.core.input_images import InputImage
from rollout.core.prices import picture_cost
from rollout.core.steering import Steering
from rollout.providers.base import ImageCall, Refused, Rejected, no_picture
from rollout.providers.sandbox.faults import Sleep, cut_short, spoil, steering_of, suffer
from rollout.providers.sandbox.pictures import Drawing, NotAPicture, draw
from rollout.providers.sandbox.works import Works

_TOKENS_PER_PICTURE = {"low": 272, "medium": 1_056, "high": 4_160, "xhigh": 8_320, "max": 16_640}
_TOKENS_PER_PARTIAL = 100
_TOKENS_OF_THOUGHT = 200
_UNIT_PIXELS = 1024 * 1024
_TILE, _TOKENS_PER_TILE, _TOKENS_PER_INPUT, _MAX_TILES = 512, 129, 65, 16
_AUTO_SIZES = ("1024x1024", "1536x1024", "1024x1536")
_CACHE_BYTES = 24 * 1024 * 1024
_CAPTION_CHARACTERS = 160


@dataclass(frozen=True)
class Shape:
    """What `auto` and the defaults came to; edges in pixels."""

    width: int
    height: int
    quality: str
    media_type: str
    background: str

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def output_format(self) -> str:
        return self.media_type.removeprefix("image/")


class SandboxImages:
    """The port `Images`. What becomes of its works is told by `works`; `hang_seconds` bounds what `hang` may take."""

    def __init__(self, works: Works, sleep: Sleep, hang_seconds: float) -> None:
        self._works, self._sleep, self._hang_seconds = works, sleep, hang_seconds
        self._cache = _Cache(_CACHE_BYTES)

    def generate(self, call: ImageCall) -> Finished:
        steering = steering_of(call.request.prompt)
        return _with_pictures(self._work(call, steering, streaming=False))

    @contextmanager
    def stream(self, call: ImageCall) -> Iterator[Iterator[Partial | Finished]]:
        steering = steering_of(call.request.prompt)
        finished = self._work(call, steering, streaming=True)
        yield cut_short(self._events(call, finished), steering, finished.vendor_request_id)

    def make(self, call: ImageCall, steering: Steering) -> Finished:
        """The whole answer, with no fault but a refusal. Raises Refused, Rejected."""
        shape = _shape(call.request)
        untold = steering.nousage or call.model.usage == "none"
        usage = None if untold else usage_of(call.model, call.request, steering)
        if steering.refuse or steering.flagged:
            made = steering.flagged == "output"
            raise Refused(
                category_of(steering.refuse),
                "the sandbox was told to refuse",
                point="output_image" if made else "prompt",
                vendor_code=steering.refuse,
                usage=usage if made else None,
            )
        count = max(0, call.request.n - steering.fewer)
        return Finished(
            pictures=tuple(self._picture(call.request, shape, f"picture {index}") for index in range(count)),
            usage=usage,
            created=int(self._works.clock()),
            size=shape.size,
            quality=shape.quality if shape.quality in call.model.qualities else None,
            background=shape.background,
            output_format=shape.output_format,
            vendor_request_id=_work_id(call.request),
        )

    def partials(self, request: ImageRequest) -> Iterator[Partial]:
        """Earlier states of the first picture."""
        shape = _shape(request)
        for index in range(request.partial_images):
            yield Partial(self._picture(request, shape, f"partial {index}"), index)

    def _work(self, call: ImageCall, steering: Steering, *, streaming: bool) -> Finished:
        """Do it, or fail as told; either way what became of it can be looked up."""
        work_id = _work_id(call.request)
        with self._works.begin(work_id) as work:
            work.until = self._works.clock() + steering.takes
            suffer(steering, self._sleep, self._hang_seconds, work_id, streaming=streaming)
            finished = self.make(call, steering)
            work.finish(len(finished.pictures), finished.usage)
        spoil(steering, work_id, streaming=streaming)
        return finished

    def _events(self, call: ImageCall, finished: Finished) -> Iterator[Partial | Finished]:
        yield from self.partials(call.request)
        yield _with_pictures(finished)

    def _picture(self, request: ImageRequest, shape: Shape, which: str) -> Picture:
        key = _digest(request, shape, which)
        b64 = self._cache.get(key) or self._cache.put(key, _drawn(request, shape, which, key))
        return Picture(b64, shape.media_type)


def _with_pictures(finished: Finished) -> Finished:
    if not finished.pictures:
        raise no_picture(finished.usage, finished.vendor_request_id)
    return finished


class _Cache:
    """Base64 texts by key, the latest used up to a total of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._items: OrderedDict[str, bytes] = OrderedDict()
        self._most_bytes, self._bytes = most_bytes, 0
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: str, value: bytes) -> bytes:
        with self._lock:
            self._bytes += len(value) - len(self._items.pop(key, b""))
            self._items[key] = value
            while self._bytes > self._most_bytes:
                self._bytes -= len(self._items.popitem(last=False)[1])
        return value


def _drawn(request: ImageRequest, shape: Shape, which: str, seed: str) -> bytes:
    caption = (
        f"{request.prompt[:_CAPTION_CHARACTERS]} [{request.model}, {shape.size}, {shape.quality}, {which}]"
    )
    drawing = Drawing(
        seed=seed,
        caption=caption,
        width=shape.width,
        height=shape.height,
        media_type=shape.media_type,
        transparent=shape.background == "transparent",
        compression=request.output_compression,
    )
    try:
        return pybase64.b64encode(draw(drawing, request.images, request.mask))
    except NotAPicture as error:
        raise Rejected(f"The input picture cannot be decoded: {error}", param="image") from error


def _work_id(request: ImageRequest) -> str:
    return f"sandbox_{_digest(request, _shape(request), 'request')[:24]}"


def _digest(request: ImageRequest, shape: Shape, which: str) -> str:
    inputs = [hashlib.sha256(image.data).hexdigest() for image in _inputs(request)]
    parts = (
        request.operation,
        request.model,
        request.prompt,
        shape,
        request.output_compression,
        inputs,
        which,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _shape(request: ImageRequest) -> Shape:
    edges = size_of(request.size or "auto") or _auto_size(request)
    return Shape(
        *edges,
        quality="medium" if request.quality in (None, "auto") else str(request.quality),
        media_type=f"image/{request.output_format or 'png'}",
        background="transparent" if request.background == "transparent" else "opaque",
    )


def _auto_size(request: ImageRequest) -> tuple[int, int]:
    """Square, or the size whose ratio is nearest to the picture that is edited."""
    wanted = request.images[0].width / request.images[0].height if request.images else 1.0
    sizes = [edges for name in _AUTO_SIZES if (edges := size_of(name))]
    return min(sizes, key=lambda edges: abs(edges[0] / edges[1] - wanted))


def usage_of(model: Model, request: ImageRequest, steering: Steering) -> Usage:
    """What the vendor would count for this request."""
    rates = model.price.per_million
    if not rates:
        return Usage(usd_micro=steering.cost or _money(model, request, steering))
    rate = rates.get("image_out", 0)
    if steering.cost is not None and rate:
        return Usage(output=steering.cost * 1_000_000 // rate)
    shape = _shape(request)
    text_in = max(1, len(request.prompt.encode()) // 4)
    image_in = sum(min(model.input_image_tokens, _input_tokens(image)) for image in _inputs(request))
    each = -(-_TOKENS_PER_PICTURE.get(shape.quality, 0) * shape.width * shape.height // _UNIT_PIXELS)
    if rate:
        each = min(each, picture_cost(model, shape.size, shape.quality) * 1_000_000 // rate)
    each += request.partial_images * _TOKENS_PER_PARTIAL
    count = max(0, request.n - steering.fewer)
    text_out = min(_TOKENS_OF_THOUGHT, model.max_tokens) if "text_out" in rates else 0
    return Usage(
        input=text_in + image_in,
        output=count * each + text_out,
        text_in=text_in,
        image_in=image_in,
        text_out=text_out,
    )


def _money(model: Model, request: ImageRequest, steering: Steering) -> int:
    """By the picture; an answer without any was work, too."""
    count = max(1, request.n - steering.fewer)
    pictures = count * picture_cost(model, request.size, request.quality)
    return pictures + len(request.images) * model.price.per_input_image


def _input_tokens(image: InputImage) -> int:
    tiles = -(-image.width // _TILE) * -(-image.height // _TILE)
    return _TOKENS_PER_INPUT + _TOKENS_PER_TILE * min(tiles, _MAX_TILES)


def _inputs(request: ImageRequest) -> tuple[InputImage, ...]:
    return (*request.images, *((request.mask,) if request.mask else ()))
