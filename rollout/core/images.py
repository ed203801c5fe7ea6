"""Image requests and pictures: what a caller may ask for, field by field, and what a vendor's adapter gives
back.

Pictures are known by their bytes (`media_type_and_size`), never by what the caller says of them. Rules on
members and sizes: the OpenAI images reference.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

import msgspec

from rollout.core.catalogue import Model, Usage
from rollout.errors import InvalidRequest

Operation = Literal["generate", "edit"]
Member = msgspec.Raw | bytes
"""One member of a request as it came: JSON text (`Raw`), or the text of a form field (`bytes`)."""

MAX_PROMPT_CHARACTERS = 32_000
MAX_PICTURES = 10
MAX_INPUT_BYTES = 50_000_000
MAX_MASK_BYTES = 4_000_000
MAX_INPUT_EDGE = 16_384
MAX_INPUT_PIXELS = 64_000_000

_LEGACY_MODELS = frozenset({"dall-e-2", "dall-e-3"})
_LEGACY_SIZES = frozenset({"256x256", "512x512"})
_LEGACY_QUALITIES = {"hd": "high", "standard": "medium"}
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_INTEGER = re.compile(r"-?\d{1,18}")


@dataclass(frozen=True)
class Upload:
    """A file of a multipart request, as it came; `field` is its name there, `media_type` what its part
    claims."""

    field: str
    data: bytes
    media_type: str | None = None
    filename: str | None = None


@dataclass(frozen=True)
class InputImage:
    """A picture that the caller sent, its type read from its bytes; pixels."""

    data: bytes
    media_type: str
    width: int
    height: int
    filename: str = "image.png"


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
    pictures = _input_images(operation, images, model)
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
        moderation=fields.choice("moderation", ("auto", "low"), model.name),
        stream=stream,
        partial_images=fields.integer("partial_images", 0, 3) or 0,
        response_format=_response_format(fields, "url" if legacy and not stream else "b64_json"),
        images=pictures,
        mask=_mask(operation, mask, pictures),
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


def media_type_and_size(data: bytes, param: str = "image") -> tuple[str, int, int]:
    """(media type, width, height) by the first bytes of a PNG, JPEG, WebP or GIF; pixels. Raises
    InvalidRequest naming `param`.

    Needs the header only: for a JPEG everything up to its first frame, which metadata may push beyond 64 KiB.
    """
    media_type = media_type_of(data)
    if media_type is None:
        raise InvalidRequest(f"`{param}` is not a PNG, JPEG, WebP or GIF picture.", param=param)
    size = _size_by_header(_HEADERS[media_type], data)
    if size is None:
        raise InvalidRequest(f"`{param}` is a damaged or cut {_short(media_type)} picture.", param=param)
    if max(size) > MAX_INPUT_EDGE or size[0] * size[1] > MAX_INPUT_PIXELS:
        raise InvalidRequest(
            f"`{param}` says it is {size[0]}x{size[1]} pixels: "
            f"at most {MAX_INPUT_EDGE} an edge and {MAX_INPUT_PIXELS:,} in all.",
            param=param,
        )
    return media_type, *size


def media_type_of(head: bytes) -> str | None:
    """What the first 12 bytes show: the media type of a PNG, JPEG, WebP or GIF, else None."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"GIF8"):
        return "image/gif"
    return None


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
    size = fields.text("size", 100)
    if size is None or size == "auto" or size in model.sizes:
        return size
    edges = size_of(size)
    if edges and model.size_rule and model.size_rule.allows(*edges):
        return size
    rule = f", or {model.size_rule}" if model.size_rule else ""
    raise InvalidRequest(
        f"`size` must be one of auto, {', '.join(model.sizes)}{rule}, for {model.name}.", param="size"
    )


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
        raise InvalidRequest(f"{model.name} cannot stream.", param="stream")


def _input_images(operation: Operation, uploads: Sequence[Upload], model: Model) -> tuple[InputImage, ...]:
    if operation == "generate":
        if uploads:
            raise InvalidRequest("Pictures are for /v1/images/edits.", param=uploads[0].field)
        return ()
    if not uploads:
        raise InvalidRequest("`image` is required: one picture or several.", param="image")
    if len(uploads) > model.max_input_images:
        raise InvalidRequest(
            f"`image`: at most {model.max_input_images} pictures for {model.name}, not {len(uploads)}.",
            param="image",
        )
    return tuple(_input_image(upload, MAX_INPUT_BYTES) for upload in uploads)


def _input_image(upload: Upload, most_bytes: int) -> InputImage:
    if len(upload.data) >= most_bytes:
        raise InvalidRequest(
            f"`{upload.field}` must be smaller than {most_bytes // 1_000_000} MB.", param=upload.field
        )
    media_type, width, height = media_type_and_size(upload.data, upload.field)
    if media_type == "image/gif":
        raise InvalidRequest(f"`{upload.field}` is a GIF; send a PNG, WebP or JPEG.", param=upload.field)
    claimed = (upload.media_type or "").partition(";")[0].strip().lower().replace("image/jpg", "image/jpeg")
    if claimed.startswith("image/") and claimed != media_type:
        raise InvalidRequest(
            f"`{upload.field}` claims to be {claimed} but is {media_type}.", param=upload.field
        )
    return InputImage(upload.data, media_type, width, height, f"image.{_short(media_type).lower()}")


def _mask(operation: Operation, upload: Upload | None, images: Sequence[InputImage]) -> InputImage | None:
    if upload is None:
        return None
    if operation == "generate":
        raise InvalidRequest("A `mask` is for /v1/images/edits.", param="mask")
    mask = _input_image(upload, MAX_MASK_BYTES)
    if mask.media_type != "image/png" or not _png_has_alpha(mask.data):
        raise InvalidRequest(
            "`mask` must be a PNG with an alpha channel: what is transparent is edited.", param="mask"
        )
    if (mask.width, mask.height) != (images[0].width, images[0].height):
        raise InvalidRequest(
            f"`mask` is {mask.width}x{mask.height} and the picture {images[0].width}x{images[0].height}: "
            "both must have the same size.",
            param="mask",
        )
    return mask


def _short(media_type: str) -> str:
    return media_type.removeprefix("image/").upper()


def _size_by_header(read: Callable[[bytes], tuple[int, int] | None], data: bytes) -> tuple[int, int] | None:
    """None for a header that is cut, contradicts itself, or says a picture has no pixels."""
    try:
        size = read(data)
    except (struct.error, IndexError):
        return None
    return size if size and min(size) > 0 else None


def _png_size(data: bytes) -> tuple[int, int] | None:
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    (checksum,) = struct.unpack_from(">I", data, 29)
    return (width, height) if (length, kind) == (13, b"IHDR") and crc32(data[12:29]) == checksum else None


def _png_has_alpha(data: bytes) -> bool:
    """Whether a PNG has an alpha channel, or transparency for a palette or a colour (its tRNS chunk stands
    before the pixels)."""
    if data[25] in (4, 6):
        return True
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"tRNS", b"IDAT"):
            return bool(kind == b"tRNS")
        at += 12 + length
    return False


def _gif_size(data: bytes) -> tuple[int, int] | None:
    width, height = struct.unpack_from("<HH", data, 6)
    return (width, height) if data[3:6] in (b"87a", b"89a") else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        flags_and_edges = struct.unpack_from("<I3s3s", data, 20)
        width, height = (1 + int.from_bytes(edge, "little") for edge in flags_and_edges[1:])
        return width, height
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1) if data[20] == 0x2F else None
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return (width & 0x3FFF, height & 0x3FFF) if data[23:26] == b"\x9d\x01\x2a" else None
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """From the first frame header (SOF0..SOF15 without the tables DHT, JPG, DAC), walking over all segments
    before it."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 1 if marker == 0xFF else 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker in (0xD9, 0xDA):
            return None
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None


_HEADERS: Mapping[str, Callable[[bytes], tuple[int, int] | None]] = {
    "image/png": _png_size,
    "image/jpeg": _jpeg_size,
    "image/webp": _webp_size,
    "image/gif": _gif_size,
}
