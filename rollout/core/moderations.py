"""Requests for a moderation: what is read of them before they go to the vendor as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from rollout.core.inline_pictures import check_image_url
from rollout.core.members import decode_at, member
from rollout.errors import InvalidRequest, ModelNotFound

DEFAULT_MODEL = "omni-moderation-latest"
MODELS = (DEFAULT_MODEL, "omni-moderation-2024-09-26")
VENDOR = "openai"
_EXPECTED = "a string, a list of strings, or a list of parts with a `type`"


@dataclass(frozen=True)
class Moderated:
    """What is looked at together, and gets one result."""

    text: str = ""
    pictures: int = 0


@dataclass(frozen=True)
class ModerationRequest:
    model: str
    inputs: tuple[Moderated, ...]


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    image_url: msgspec.Raw = msgspec.Raw(b"null")


def parse_moderation_request(members: Mapping[str, msgspec.Raw]) -> ModerationRequest:
    """Raises InvalidRequest (`param` as a path, `input.1.image_url.url`) and ModelNotFound."""
    model = member(members, "model", str | None, "a string") or DEFAULT_MODEL
    if model not in MODELS:
        raise ModelNotFound(
            f"There is no moderation model {model[:200]!r} here.",
            param="model",
            remedy=f"Ask {DEFAULT_MODEL}, or leave out the model.",
        )
    given = member(members, "input", str | list[msgspec.Raw], _EXPECTED)
    if isinstance(given, str):
        return ModerationRequest(model, (Moderated(given),))
    if not given:
        raise InvalidRequest("`input` must hold something to look at.", param="input")
    if bytes(given[0]).startswith(b'"'):
        texts = [decode_at(text, str, f"input.{index}", "a string") for index, text in enumerate(given)]
        return ModerationRequest(model, tuple(map(Moderated, texts)))
    parts = [decode_at(part, _Part, f"input.{index}", _EXPECTED) for index, part in enumerate(given)]
    pictures = sum(_is_picture(part, f"input.{index}") for index, part in enumerate(parts))
    text = " ".join(part.text for part in parts if part.type == "text")
    return ModerationRequest(model, (Moderated(text, pictures),))


def _is_picture(part: _Part, path: str) -> bool:
    if part.type == "image_url":
        check_image_url(part.image_url, f"{path}.image_url")
        return True
    if part.type != "text":
        raise InvalidRequest(f"`{path}.type` must be text or image_url.", param=f"{path}.type")
    return False
