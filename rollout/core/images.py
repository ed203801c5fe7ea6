"""Image requests and pictures: what a caller may ask for, field by field, and what a vendor's adapter gives
back.

A request has one shape, that of the OpenAI images reference, whatever the model: wires translate it. What a model
cannot do stands in its row of the catalogue and is refused here, by field, before anything is held; nothing is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

import msgspec

from rollout.core.catalogue import Model, Usage
from rollout.core.input_images import InputImage, Upload, read_input_images, read_mask
from rollout.errors import InvalidRequest

Operation = Literal["generate", "edit"]
Member = msgspec.Raw | bytes
"""One member of a request as it came: JSON text (`Raw`), or the text of a form field (`bytes`)."""

MAX_PROMPT_CHARACTERS = 32_000
MAX_PICTURES = 10

_RATIOS = (
    *("1:1", "5:4", "4:5", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16", "2:1", "1:2", "19.5:9", "9:19.5"),
    *("20:9", "9:20", "21:9", "9:21", "3:1", "1:3", "4:1", "1:4", "8:1", "1:8"),
)
_1K_PIXELS, _2K_PIXELS = 1_572_864, 6_291_456  # half as many again as 1024x1024 and 2048x2048 have

_LEGACY_MODELS = frozenset({"dall-e-2", "dall-e-3"})
_LEGACY_SIZES = frozenset({"256x256", "512x512"})
_LEGACY_QUALITIES = {"hd": "high", "standard": "medium"}
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_INTEGER = re.compile(r"-?\d{1,18}")


@dataclass(frozen=True)
class ImageRequest:
    """A validated request for pictures. None means: the vendor's default. `end_user` is what the caller sent
    as `safety_identifier` or `user`; `warnings` are sentences on what was translated for a retired model's
    name."""

    operation: Operation
    prompt: str
    model: str
    n: int = 1
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    output_compression: int | None = None
    moderation: str | None = None
    stream: bool = False
    partial_images: int = 0
    response_format: Literal["b64_json", "url"] = "b64_json"
    images: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    input_fidelity: str | None = None
    end_user: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """One generated picture: base64 text as it came (never decoded and encoded again on the way to the
    caller) and its type."""

    b64: bytes
    media_type: str
    revised_prompt: str | None = None


@dataclass(frozen=True)
class Finished:
    """The vendor's whole answer. `size`, `quality`, `background`, `output_format` as the vendor reports them;
    `created` UTC epoch seconds."""

    pictures: tuple[Picture, ...]
    usage: Usage | None
    created: int
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str = "png"
    vendor_request_id: str | None = None


@dataclass(frozen=True)
class Partial:
    """A picture on its way; `index` counts from 0."""

    picture: Picture
    index: int


def parse_image_request(
    operation: Operation,
    members: Mapping[str, Member],
    images: Sequence[Upload],
    mask: Upload | None,
    model: Model,
) -> ImageRequest:
    """The request, or InvalidRequest whose `param` names the field. `members` holds all scalars but
    `rollout`; null counts as absent.

    A request by the name of a retired `dall-e` model is translated as its old clients expect it, and says so
    in `warnings`.
    """
    fields = _Fields(members)
    requested = fields.text("model", 200) or model.name
    legacy = requested in _LEGACY_MODELS
    warnings = _translate_legacy(requested, fields) if legacy else ()
    _refuse_unsupported(operation, fields)
    stream = fields.boolean("stream") or False
    if operation == "generate" and (images or mask):
        name = images[0].field if images else "mask"
        raise InvalidRequest(f"`{name}` is for /v1/images/edits.", param=name)
    pictures = read_input_images(images, model) if operation == "edit" else ()
    request = ImageRequest(
        operation=operation,
        prompt=_prompt(fields),
        model=requested,
        n=fields.integer("n", 1, min(MAX_PICTURES, model.max_images)) or 1,
        size=_size(fields, model),
        quality=fields.choice("quality", ("auto", *model.qualities), model.name),
        background=fields.choice("background", ("auto", "opaque", "transparent"), model.name),
        output_format=fields.choice("output_format", model.formats, model.name),
        output_compression=fields.integer("output_compression", 0, 100),
        moderation=fields.choice(
            "moderation", ("auto", "low") if model.moderation else ("auto",), model.name
        ),
        stream=stream,
        partial_images=fields.integer("partial_images", 0, 3) or 0,
        response_format=_response_format(fields, "url" if legacy and not stream else "b64_json"),
        images=pictures,
        mask=read_mask(mask, pictures[0], model) if mask else None,
        input_fidelity=fields.choice("input_fidelity", model.input_fidelities, model.name),
        end_user=fields.text("safety_identifier", 512) or fields.text("user", 512) or None,
        warnings=warnings,
    )
    _check_combinations(request, model)
    return request


def size_of(text: str) -> tuple[int, int] | None:
    """Width and height of `WIDTHxHEIGHT`, else None."""
    found = _SIZE.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


def aspect_ratio_of(size: str | None) -> str | None:
    """The ratio that vendors have a name for and that is nearest to `WIDTHxHEIGHT`: 1344x768 is 16:9. None for no
    size and for `auto`: the vendor chooses."""
    edges = size_of(size or "")
    if edges is None:
        return None
    wide = log(edges[0] / edges[1])
    return min(_RATIOS, key=lambda ratio: abs(wide - log(_quotient(ratio))))


def resolution_of(size: str | None) -> Literal["1K", "2K", "4K"]:
    """The class of size that vendors who take ratios ask for beside them; 1K for no size and for `auto`."""
    width, height = size_of(size or "") or (0, 0)
    return "1K" if width * height <= _1K_PIXELS else "2K" if width * height <= _2K_PIXELS else "4K"


class _Fields:
    """Typed reading of members, strict, each error naming its field. JSON says its types; form fields are
    text."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self._members = {name: value for name, value in members.items() if bytes(value) != b"null"}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def drop(self, name: str) -> None:
        self._members.pop(name, None)

    def replace(self, name: str, text: str) -> None:
        self._members[name] = text.encode()

    def text(self, name: str, longest: int) -> str | None:
        if name not in self._members:
            return None
        value = self._text(name, self._members[name])
        if len(value) > longest:
            raise InvalidRequest(
                f"`{name}` has {len(value):,} characters; at most {longest:,} are allowed.", param=name
            )
        if "\0" in value:
            raise InvalidRequest(f"`{name}` must not contain NUL characters.", param=name)
        return value

    def choice(self, name: str, allowed: Sequence[str], model: str) -> str | None:
        value = self.text(name, 100)
        if value is None or value in allowed:
            return value
        if not allowed:
            raise InvalidRequest(
                f"`{name}` is not supported by {model}.", param=name, remedy=f"Leave out `{name}`."
            )
        raise InvalidRequest(
            f"`{name}` must be one of {', '.join(allowed)} for {model}, not {value!r}.", param=name
        )

    def integer(self, name: str, low: int, high: int) -> int | None:
        if name not in self._members:
            return None
        digits = bytes(self._members[name]).decode("utf-8", "replace").strip()
        if not _INTEGER.fullmatch(digits) or not low <= int(digits) <= high:
            raise InvalidRequest(f"`{name}` must be a whole number from {low} to {high}.", param=name)
        return int(digits)

    def boolean(self, name: str) -> bool | None:
        if name not in self._members:
            return None
        value = bytes(self._members[name]).strip()
        if value not in (b"true", b"false"):
            raise InvalidRequest(f"`{name}` must be true or false.", param=name)
        return value == b"true"

    @staticmethod
    def _text(name: str, value: Member) -> str:
        try:
            text = msgspec.json.decode(value, type=str) if isinstance(value, msgspec.Raw) else value.decode()
            text.encode()
        except (msgspec.DecodeError, UnicodeError):
            raise InvalidRequest(f"`{name}` must be a string.", param=name) from None
        return text


def _prompt(fields: _Fields) -> str:
    prompt = fields.text("prompt", MAX_PROMPT_CHARACTERS)
    if prompt is None or not prompt.strip():
        raise InvalidRequest("`prompt` is required and must not be empty.", param="prompt")
    return prompt


def _size(fields: _Fields, model: Model) -> str | None:
    """`auto`, or WIDTHxHEIGHT; a ratio as the first of the model's sizes that has it."""
    size = fields.text("size", 100)
    if size is None or size == "auto" or size in model.sizes:
        return size
    edges = size_of(size)
    if edges and model.size_rule and model.size_rule.allows(*edges):
        return size
    if size in model.aspect_ratios:
        return next(known for known in model.sizes if aspect_ratio_of(known) == size)
    rule = f", or {model.size_rule}" if model.size_rule else ""
    raise InvalidRequest(
        f"`size` must be one of {', '.join(('auto', *model.aspect_ratios, *model.sizes))}{rule}, for {model.name}.",
        param="size",
        remedy=_nearest(size, model),
    )


def _nearest(size: str, model: Model) -> str | None:
    """What to ask a model of ratios instead."""
    ratio = aspect_ratio_of(size)
    return f"Ask for {ratio}." if ratio in model.aspect_ratios else None


def _quotient(ratio: str) -> float:
    wide, _, high = ratio.partition(":")
    return float(wide) / float(high)


def _response_format(fields: _Fields, default: Literal["b64_json", "url"]) -> Literal["b64_json", "url"]:
    value = fields.text("response_format", 100)
    if value is None:
        return default
    if value == "b64_json":
        return "b64_json"
    if value == "url":
        return "url"
    raise InvalidRequest("`response_format` must be b64_json or url.", param="response_format")


def _translate_legacy(requested: str, fields: _Fields) -> tuple[str, ...]:
    """Members as the models of today take them. Source: the retired DALL-E reference."""
    warnings = []
    if "style" in fields:
        fields.drop("style")
        warnings.append("style was dropped: describe the style in the prompt")
    quality = fields.text("quality", 100)
    if quality in _LEGACY_QUALITIES:
        fields.replace("quality", _LEGACY_QUALITIES[quality])
        warnings.append(f"quality {quality} was sent as {_LEGACY_QUALITIES[quality]}")
    size = fields.text("size", 100)
    if size in _LEGACY_SIZES:
        fields.replace("size", "1024x1024")
        warnings.append(f"size {size} was sent as 1024x1024")
    if "response_format" not in fields and not fields.boolean("stream"):
        warnings.append(f"response_format is url by default for {requested}")
    return tuple(warnings)


_UNSUPPORTED = {
    "style": "Describe the style in the prompt.",
    "complexity": "Leave it out; choose `quality` instead.",
    "frame_count": "Animations are not offered; ask for png, webp or jpeg.",
    "frame_duration_ms": "Animations are not offered; ask for png, webp or jpeg.",
    "svg": "Vector output is not offered; ask for png, webp or jpeg.",
    "markup": "Send a `mask` instead.",
}
_KNOWN = frozenset(
    (
        *("model", "prompt", "n", "size", "quality", "background", "output_format", "output_compression"),
        *("moderation", "stream", "partial_images", "response_format", "safety_identifier", "user"),
    )
)
_KNOWN_TO_EDITS = _KNOWN | {"input_fidelity"}


def _refuse_unsupported(operation: Operation, fields: _Fields) -> None:
    known = _KNOWN_TO_EDITS if operation == "edit" else _KNOWN
    for name in fields:
        if name in known:
            continue
        shown = name[:100]
        if name in _UNSUPPORTED:
            raise InvalidRequest(f"`{shown}` is not supported here.", param=shown, remedy=_UNSUPPORTED[name])
        raise InvalidRequest(
            f"`{shown}` is not a field of this request.",
            param=shown,
            remedy=f"Leave it out. Known: {', '.join(sorted(known))}.",
        )


def _check_combinations(request: ImageRequest, model: Model) -> None:
    """What is wrong only together."""
    chosen = request.output_format or "png"
    if request.output_compression is not None and not model.compression:
        raise InvalidRequest(
            f"`output_compression` is not supported by {model.name}.",
            param="output_compression",
            remedy="Leave out `output_compression`.",
        )
    if request.output_compression is not None and chosen == "png":
        raise InvalidRequest(
            "`output_compression` needs `output_format` webp or jpeg.", param="output_compression"
        )
    if request.background == "transparent" and chosen == "jpeg":
        raise InvalidRequest(
            "A transparent `background` needs `output_format` png or webp.", param="background"
        )
    if request.background == "transparent" and not model.transparency:
        raise InvalidRequest(f"{model.name} makes no transparent `background`.", param="background")
    if request.partial_images and not request.stream:
        raise InvalidRequest("`partial_images` needs `stream` true.", param="partial_images")
    if request.stream and request.response_format == "url":
        raise InvalidRequest("`response_format` url cannot be streamed.", param="response_format")
    if request.stream and not model.streams:
        raise InvalidRequest(
            f"{model.name} cannot stream.",
            param="stream",
            remedy="Leave out `stream`: the answer comes whole.",
        )
    if request.partial_images and not model.partial_images:
        raise InvalidRequest(f"{model.name} sends no `partial_images`.", param="partial_images")
