"""Image requests and pictures, as every vendor's adapter understands them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rollout.core.catalogue import Usage

Operation = Literal["generate", "edit"]


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
    """A validated request for pictures. None means: the vendor's default. `extra` holds members of the OpenAI API that we pass on unread,
    as JSON text."""

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
    extra: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """One generated picture: base64 text as it came (never decoded and encoded again on the way to the caller) and its type."""

    b64: bytes
    media_type: str
    revised_prompt: str | None = None


@dataclass(frozen=True)
class Finished:
    """The vendor's whole answer. `size`, `quality`, `background`, `output_format` as the vendor reports them; `created` UTC epoch seconds."""

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
