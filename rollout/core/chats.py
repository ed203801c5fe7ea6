"""Requests for chat completions: what is read of them before they go to the vendor as they came.

As `core/analyses.py` does for Messages: members stay slices of the body, of pictures the first bytes are decoded, and
what has no price here is refused before anything is held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rollout.core.inline_pictures import check_image_url, no_files
from rollout.core.members import asked_for, decode_at, member
from rollout.errors import InvalidRequest, PriceUnknown

MOST_CHOICES = 128
_FREE_PARTS = ("text", "refusal")
_OWN_TOOLS = ("function", "custom")
_UNPRICED: Mapping[str, tuple[bytes, ...]] = {
    "web_search_options": (),
    "search_parameters": (),
    "modalities": (b'["text"]',),
    "audio": (),
    "prediction": (),
    "service_tier": (b'"auto"', b'"default"'),
}
"""Members that are billed by a measure of their own, and what of them is not. Sources: the chat references of OpenAI and xAI."""


@dataclass(frozen=True)
class ChatRequest:
    """What metering and admission need to know. `max_tokens` of each of `choices`, None when the caller names no bound;
    `images` counts pictures, `picture_bytes` is how much of the body is their base64. `tells_usage`: the caller asked for
    the chunk of a stream that tells the usage."""

    model: str
    max_tokens: int | None
    choices: int
    stream: bool
    tells_usage: bool
    images: int
    picture_bytes: int


class _Message(msgspec.Struct):
    role: str
    content: msgspec.Raw = msgspec.Raw(b"null")


class _File(msgspec.Struct):
    file_id: str | None = None


class _Part(msgspec.Struct):
    type: str
    image_url: msgspec.Raw = msgspec.Raw(b"null")
    file: _File | None = None


class _Tool(msgspec.Struct):
    type: str


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


def parse_chat_request(members: Mapping[str, msgspec.Raw]) -> ChatRequest:
    """Check what must be right before the vendor is asked; everything else is the vendor's to judge.

    Raises InvalidRequest (`param` as a path, `messages.0.content.1.image_url.url`) and PriceUnknown for what is billed
    beyond tokens.
    """
    model = member(members, "model", str, "a string")
    if not model:
        raise InvalidRequest("`model` is required.", param="model")
    _refuse_unpriced(members)
    messages = member(members, "messages", list[_Message], "a list of messages with `role` and `content`")
    if not messages:
        raise InvalidRequest("`messages` must hold at least one message.", param="messages")
    pictures = [
        size
        for index, message in enumerate(messages)
        for size in _pictures(message.content, f"messages.{index}.content")
    ]
    options = member(members, "stream_options", _StreamOptions | None, "an object") or _StreamOptions()
    return ChatRequest(
        model=model,
        max_tokens=_max_tokens(members),
        choices=_whole(members, "n", 1, MOST_CHOICES) or 1,
        stream=member(members, "stream", bool | None, "true or false") or False,
        tells_usage=options.include_usage or False,
        images=len(pictures),
        picture_bytes=sum(pictures),
    )


def encode_chat(members: Mapping[str, msgspec.Raw], upstream_id: str, *, stream: bool) -> bytes:
    """The body to send: every member as it came, in its order; `model` names what the vendor knows, and a stream is to
    tell its usage."""
    sent: dict[str, Any] = {**members, "model": upstream_id}
    if stream:
        options = member(members, "stream_options", dict[str, msgspec.Raw] | None, "an object") or {}
        sent["stream_options"] = {**options, "include_usage": True}
    return msgspec.json.encode(sent)


def _max_tokens(members: Mapping[str, msgspec.Raw]) -> int | None:
    """Of the two spellings the larger: hosts differ in which one they obey."""
    told = [_whole(members, name, 0, 9_999_999) for name in ("max_completion_tokens", "max_tokens")]
    return max((most for most in told if most is not None), default=None)


def _whole(members: Mapping[str, msgspec.Raw], name: str, least: int, most: int) -> int | None:
    expected = f"a whole number from {least} to {most}"
    number: int | None = member(members, name, int | None, expected)
    if number is not None and not least <= number <= most:
        raise InvalidRequest(f"`{name}` must be {expected}.", param=name)
    return number


def _refuse_unpriced(members: Mapping[str, msgspec.Raw]) -> None:
    for name, harmless in _UNPRICED.items():
        if asked_for(members, name, harmless):
            raise PriceUnknown(
                f"`{name}` is billed by a measure that has no price here.", param=name, remedy="Leave it out."
            )
    if asked_for(members, "deferred", (b"false",)):
        raise InvalidRequest(
            "`deferred` is not offered: the answer would be fetched where you cannot reach it.",
            param="deferred",
            remedy="Leave it out.",
        )
    for index, tool in enumerate(member(members, "tools", list[_Tool] | None, "a list of tools") or ()):
        if tool.type not in _OWN_TOOLS:
            raise PriceUnknown(
                f"The tool {tool.type[:100]} runs at the vendor and is billed for each use: there is no price here.",
                param=f"tools.{index}",
                remedy="Offer a tool that you run yourself.",
            )


def _pictures(content: msgspec.Raw, path: str) -> list[int]:
    """How many bytes of the body the base64 of each picture is; 0 for one by address."""
    if bytes(memoryview(content)[:1]) == b'"' or bytes(content) == b"null":
        return []
    parts = decode_at(content, list[_Part], path, "a string or a list of content parts")
    sizes = [_picture(part, f"{path}.{index}") for index, part in enumerate(parts)]
    return [size for size in sizes if size is not None]


def _picture(part: _Part, path: str) -> int | None:
    """None for a part that is none. Raises InvalidRequest, PriceUnknown."""
    if part.type in _FREE_PARTS:
        return None
    if part.file is not None and part.file.file_id is not None:
        raise no_files(path)
    if part.type != "image_url":
        raise PriceUnknown(
            f"A content part of type {part.type[:100]!r} has no price here.",
            param=path,
            remedy="Send text and image_url.",
        )
    return check_image_url(part.image_url, f"{path}.image_url")
