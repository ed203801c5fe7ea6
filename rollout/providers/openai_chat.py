"""Chat completions: POST chat/completions, Bearer, through the official `openai` SDK at any host's base URL.

The caller's body goes out byte for byte and the vendor's answer comes back so; only usage and refusals are read from
it. A refusal in an answer stays an answer. Failures: by the vendor's error code or status (`ERRORS`), by `__cause__`
where there was no answer; an answer that is none is a Fault, a stream without its `[DONE]` is OutcomeUnknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import msgspec

from rollout.core.catalogue_checks import Listed
from rollout.core.guardrails import category_of
from rollout.core.wire import ChatTold, Event, read_chat
from rollout.providers import openai_sdk
from rollout.providers.base import (
    ChatAnswer,
    ChatCall,
    ChatEvent,
    Fault,
    OutcomeUnknown,
    PortError,
    Refused,
    Rejected,
)
from rollout.providers.transport import Line, read_events, read_whole

PATH = "/chat/completions"
_DONE = b"[DONE]"
_CHECK = re.compile(r"SAFETY_CHECK_TYPE_(\w+)")


class _Error(msgspec.Struct):
    message: str = ""
    code: str | int | None = None
    type: str | None = None


class _Failed(msgspec.Struct):
    error: _Error | str | None = None


def encode(call: ChatCall) -> bytes:
    """The body, as it was made for the vendor."""
    return call.body


class OpenAIChats:
    """The port `Chats` over one client; `base_url` with /v1."""

    def __init__(self, api_key: str, base_url: str, line: Line) -> None:
        self._client, self._line = openai_sdk.connect(api_key, base_url, line), line

    def create(self, call: ChatCall) -> ChatAnswer:
        response = self._post(call, self._line.answer, openai_sdk.JSON)
        vendor_request_id = openai_sdk.id_of(response)
        return decode(read_whole(response, vendor_request_id), vendor_request_id)

    @contextmanager
    def stream(self, call: ChatCall) -> Iterator[Iterator[ChatEvent]]:
        response = self._post(call, self._line.stream, openai_sdk.EVENTS)
        vendor_request_id = openai_sdk.id_of(response)
        try:
            yield decode_events(read_events(response, vendor_request_id), vendor_request_id)
        finally:
            response.close()

    def _post(self, call: ChatCall, timeout: httpx2.Timeout, wanted: str) -> httpx2.Response:
        return openai_sdk.post(
            self._client, PATH, errors=ERRORS, timeout=timeout, wanted=wanted, content=encode(call)
        )

    def models(self) -> list[Listed]:
        return openai_sdk.models(self._client, self._line, ERRORS)

    def close(self) -> None:
        self._client.close()


def decode(body: bytes, vendor_request_id: str | None) -> ChatAnswer:
    """Raises Fault for an answer that is no completion, or holds none."""
    told = _told(body, vendor_request_id)
    if told.is_empty:
        raise Fault("an answer without a choice", vendor_request_id=vendor_request_id)
    return ChatAnswer(body, told.usage, told.refusal, vendor_request_id)


def decode_events(events: Iterator[Event], vendor_request_id: str | None) -> Iterator[ChatEvent]:
    """Every chunk as it came, up to and with `[DONE]`. Raises PortError."""
    started = False
    for event in events:
        if event.data.strip() == _DONE:
            yield ChatEvent(event.raw, is_last=True)
            return
        if error := _error_in(event.data):
            raise _stream_error(error, started, vendor_request_id)
        started = True
        told = _told(event.data, vendor_request_id)
        yield ChatEvent(event.raw, told.usage, told.refusal, told.is_empty and told.usage is not None)
    raise OutcomeUnknown("the stream ended before its [DONE]", vendor_request_id=vendor_request_id)


def _refused(message: str, vendor_request_id: str | None) -> PortError:
    """xAI names the check that failed: `SAFETY_CHECK_TYPE_BIO`."""
    check = _CHECK.search(message)
    return Refused(
        category_of(check[1] if check else None),
        message,
        vendor_code=check[0] if check else "content_filter",
        vendor_request_id=vendor_request_id,
    )


ERRORS: openai_sdk.Errors = {
    **openai_sdk.ACCOUNT_ERRORS,
    "content_filter": _refused,
    "content_policy_violation": _refused,
    "usage guidelines": _refused,
}


def _told(data: bytes, vendor_request_id: str | None) -> ChatTold:
    try:
        return read_chat(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Fault(f"an answer that cannot be read: {error}", vendor_request_id=vendor_request_id) from error


def _error_in(data: bytes) -> _Error | None:
    """The error that a chunk is, where it is one; hosts send it as an object or as a sentence."""
    try:
        told = msgspec.json.decode(data, type=_Failed).error
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return _Error(told) if isinstance(told, str) else told


def _stream_error(error: _Error, started: bool, vendor_request_id: str | None) -> PortError:
    """Before anything else it means what the same answer would have; after that, work was done."""
    meant = openai_sdk.meaning(ERRORS, error.code, error.message)
    if meant and not started:
        return meant(error.message, vendor_request_id)
    if error.type == "invalid_request_error" and not started:
        return Rejected(error.message, vendor_request_id=vendor_request_id)
    return Fault(
        f"an error in the stream: {error.code}: {error.message}", vendor_request_id=vendor_request_id
    )
