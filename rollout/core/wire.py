"""Where events, usage and stop reasons lie in the vendors' bytes. Only what is needed is decoded; pictures
and texts stay slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from rollout.core.catalogue import Usage

MAX_EVENT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Event:
    """One server-sent event: `raw` as it came, with its blank line; `data` without the field name, lines
    joined."""

    name: str
    data: bytes
    raw: bytes


class EventTooLarge(ValueError):
    """An event that does not end within MAX_EVENT_BYTES."""


def split_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Server-sent events from a byte stream cut anywhere. Comments and an event without its blank line at the
    end yield nothing.

    Source: the WHATWG rules for event streams; lines may end in LF, CRLF or CR. Raises EventTooLarge.
    """
    pending = bytearray()
    searched = 0
    for chunk in chunks:
        pending += chunk
        while (end := _end_of_event(pending, searched)) is not None:
            raw = bytes(pending[:end])
            del pending[:end]
            searched = 0
            event = _event(raw)
            if event is not None:
                yield event
        searched = max(0, len(pending) - 3)
        if len(pending) > MAX_EVENT_BYTES:
            raise EventTooLarge(f"an event of more than {MAX_EVENT_BYTES} bytes")


def _end_of_event(pending: bytearray, start: int) -> int | None:
    ends = [
        found + len(blank)
        for blank in (b"\n\n", b"\r\n\r\n", b"\r\r")
        if (found := pending.find(blank, start)) >= 0
    ]
    return min(ends, default=None)


def _event(raw: bytes) -> Event | None:
    name, data = "", []
    for line in raw.splitlines():
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"data":
            data.append(value)
    return Event(name, b"\n".join(data), raw) if name or data else None


class _TokenDetails(msgspec.Struct):
    text_tokens: int | None = None
    image_tokens: int | None = None


class _ImageUsage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _TokenDetails | None = None


class _CacheCreation(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _MessageUsage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None


class _Delta(msgspec.Struct):
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    type: str
    stop_reason: str | None = None
    usage: _MessageUsage | None = None


class _StreamData(msgspec.Struct):
    type: str
    message: _Message | None = None
    delta: _Delta | None = None
    usage: _MessageUsage | None = None


class _StopDetails(msgspec.Struct):
    category: str | None = None


class _Refusal(msgspec.Struct):
    stop_details: _StopDetails | None = None
    delta: _Refusal | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _ChatUsage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _ChatText(msgspec.Struct):
    refusal: str | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    message: _ChatText | None = None
    delta: _ChatText | None = None


class _Chat(msgspec.Struct):
    choices: list[_Choice]
    usage: _ChatUsage | None = None


@dataclass(frozen=True)
class ChatTold:
    """What a chat completion, or a chunk of one, tells: `refusal` is the vendor's word when it refused the content;
    `is_empty` when it holds no choice."""

    usage: Usage | None
    refusal: str | None
    is_empty: bool


def image_usage(raw: msgspec.Raw) -> Usage | None:
    """OpenAI's `usage` of an image answer; None where it tells none. Raises msgspec.ValidationError."""
    found = msgspec.json.decode(raw, type=_ImageUsage | None)
    if found is None or found.output_tokens is None:
        return None
    details = found.input_tokens_details or _TokenDetails()
    return Usage(
        input=_known(found.input_tokens, 0),
        output=_known(found.output_tokens, 0),
        text_in=_known(details.text_tokens, 0),
        image_in=_known(details.image_tokens, 0),
    )


def read_message(body: bytes) -> tuple[Usage | None, str | None]:
    """Usage and stop reason of a whole Messages answer. Raises msgspec.ValidationError when it is none."""
    message = msgspec.json.decode(body, type=_Message)
    if message.type != "message":
        raise msgspec.ValidationError(f"an answer of type {message.type!r} where a message was expected")
    return _merge(None, message.usage), message.stop_reason


def read_message_event(data: bytes, so_far: Usage | None) -> tuple[Usage | None, str | None]:
    """What `message_start` or `message_delta` tells, over the usage `so_far`: deltas are cumulative and name
    only what they know.

    Raises msgspec.ValidationError.
    """
    event = msgspec.json.decode(data, type=_StreamData)
    told = event.message.usage if event.message else event.usage
    stop_reason = event.delta.stop_reason if event.delta else None
    return _merge(so_far, told), stop_reason


def refusal_category(data: bytes) -> str | None:
    """Why a Messages answer, or the `message_delta` that ends one, says that it is a refusal; None: it does not say."""
    try:
        told = msgspec.json.decode(data, type=_Refusal)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    details = (told.delta or told).stop_details
    return details.category if details else None


def read_chat(body: bytes) -> ChatTold:
    """A whole chat completion, or the data of one chunk. Raises msgspec.ValidationError when it is none."""
    chat = msgspec.json.decode(body, type=_Chat)
    return ChatTold(_chat_usage(chat.usage), _chat_refusal(chat.choices), not chat.choices)


def _chat_usage(told: _ChatUsage | None) -> Usage | None:
    """What was thought is output too: xAI counts it in the total alone."""
    if told is None or told.completion_tokens is None:
        return None
    prompt, total = _known(told.prompt_tokens, 0), _known(told.total_tokens, 0)
    details = told.prompt_tokens_details or _PromptDetails()
    cached = min(_known(details.cached_tokens, 0), prompt)
    output = max(_known(told.completion_tokens, 0), total - prompt)
    return Usage(input=prompt - cached, output=output, cache_read=cached)


def _chat_refusal(choices: list[_Choice]) -> str | None:
    for choice in choices:
        text = choice.message or choice.delta
        if choice.finish_reason == "content_filter":
            return choice.finish_reason
        if text and text.refusal:
            return "refusal"
    return None


def _merge(so_far: Usage | None, told: _MessageUsage | None) -> Usage | None:
    if told is None:
        return so_far
    base = so_far or Usage()
    cache = told.cache_creation
    return Usage(
        input=_known(told.input_tokens, base.input),
        output=_known(told.output_tokens, base.output),
        cache_write=_known(told.cache_creation_input_tokens, base.cache_write),
        cache_write_1h=_known(cache.ephemeral_1h_input_tokens if cache else None, base.cache_write_1h),
        cache_read=_known(told.cache_read_input_tokens, base.cache_read),
    )


def _known(told: int | None, otherwise: int) -> int:
    """A count is never a credit."""
    return otherwise if told is None else max(0, told)
