"""Anthropic Messages: POST v1/messages and v1/messages/count_tokens, Bearer, through the official SDK.

The caller's body goes out byte for byte and the vendor's answer comes back so; only usage and stop reason are
read from it. A refusal is a normal answer. Failures: by the vendor's error type or status (`ERRORS`), by
`__cause__` where there was no answer; an answer that is none is a Fault, a stream without its `message_stop`
is OutcomeUnknown. Nothing is sent twice: no retries, no redirects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2
import msgspec

from rollout.core.catalogue import Usage
from rollout.core.catalogue_checks import Listed
from rollout.core.wire import Event, read_message, read_message_event
from rollout.providers.base import (
    BadCredential,
    Fault,
    MessageAnswer,
    MessageCall,
    MessageEvent,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    PortError,
    Rejected,
    Throttled,
    error_by_status,
    moment,
    read_list,
)
from rollout.providers.transport import NEVER_SENT, Line, read_events, read_whole, retry_after

DEFAULT_BASE_URL = "https://api.anthropic.com"
_JSON = "application/json"
_EVENTS = "text/event-stream"
_FIELD = re.compile(r"([a-z_]+(?:\.\w+)*): ")
_LISTED = 1000  # the most that one page has
_NO_CREDIT = "Your credit balance is too low"


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _ErrorEvent(msgspec.Struct):
    error: _Error


class _Listed(msgspec.Struct):
    id: str
    lifecycle: str = "active"
    retires_at: str | None = None


class _List(msgspec.Struct):
    data: list[_Listed]


def encode(call: MessageCall) -> tuple[bytes, dict[str, str]]:
    """(body, headers): both as the caller sent them; the headers were chosen by who made the call."""
    return call.body, {**call.headers, "accept-encoding": "identity", "content-type": _JSON}


class AnthropicMessages:
    """The port `Messages` over one line; `base_url` without /v1."""

    def __init__(self, api_key: str, base_url: str, line: Line) -> None:
        self._stream_timeout, self._look = line.stream, line.look
        self._client = anthropic.Anthropic(
            api_key=api_key,
            base_url=base_url or DEFAULT_BASE_URL,
            webhook_key="",
            max_retries=0,
            timeout=line.answer,
            open_telemetry=False,
            http_client=line.client,
        )
        self._client._custom_headers = {}  # the SDK filled it from ANTHROPIC_CUSTOM_HEADERS; only our settings count

    def create(self, call: MessageCall) -> MessageAnswer:
        response = self._send("/v1/messages", call)
        return decode(read_whole(response, _id(response)), _id(response))

    @contextmanager
    def stream(self, call: MessageCall) -> Iterator[Iterator[MessageEvent]]:
        response = self._send("/v1/messages", call, streaming=True)
        try:
            yield decode_events(read_events(response, _id(response)), _id(response))
        finally:
            response.close()

    def count_tokens(self, call: MessageCall) -> bytes:
        response = self._send("/v1/messages/count_tokens", call)
        return read_whole(response, _id(response))

    def models(self) -> list[Listed]:
        try:
            response: httpx2.Response = self._client.get(
                f"/v1/models?limit={_LISTED}", cast_to=httpx2.Response
            )
        except anthropic.AnthropicError as error:
            raise port_error(error) from error
        rows = read_list(response.content, _List).data
        return [Listed(row.id, moment(row.retires_at), row.lifecycle == "retired") for row in rows]

    def close(self) -> None:
        self._client.close()

    def _send(self, path: str, call: MessageCall, *, streaming: bool = False) -> httpx2.Response:
        """The response to a 2xx, its body unread: should it be lost, the id in its head is not. Raises PortError."""
        body, headers = encode(call)
        arguments: dict[str, Any] = {"content": body, "options": {"headers": headers}}
        arguments.update(stream=True, stream_cls=anthropic.Stream[object])
        if streaming:
            arguments["options"]["timeout"] = self._stream_timeout
        try:
            response: httpx2.Response = self._client.post(path, cast_to=httpx2.Response, **arguments)
        except anthropic.AnthropicError as error:
            raise port_error(error) from error
        wanted = _EVENTS if streaming else _JSON
        told = response.headers.get("content-type", "")
        if not told.startswith(wanted):
            response.close()
            raise Fault(f"{told} where {wanted} was expected", vendor_request_id=_id(response))
        return response


def decode(body: bytes, vendor_request_id: str | None) -> MessageAnswer:
    """Raises Fault for an answer that is no message."""
    try:
        usage, stop_reason = read_message(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Fault(f"an answer that cannot be read: {error}", vendor_request_id=vendor_request_id) from error
    return MessageAnswer(body, usage, stop_reason, vendor_request_id)


def decode_events(events: Iterator[Event], vendor_request_id: str | None) -> Iterator[MessageEvent]:
    """Every event as it came, up to and with `message_stop`; usage is cumulative. Raises PortError."""
    usage: Usage | None = None
    started = False
    for event in events:
        if event.name == "error":
            raise _stream_error(event, started, vendor_request_id)
        started = True
        if event.name in ("message_start", "message_delta"):
            usage, stop_reason = _told(event, usage, vendor_request_id)
            yield MessageEvent(event.name, event.raw, usage, stop_reason)
        else:
            yield MessageEvent(event.name, event.raw)
        if event.name == "message_stop":
            return
    raise OutcomeUnknown("the stream ended before its message_stop", vendor_request_id=vendor_request_id)


def port_error(error: anthropic.AnthropicError) -> PortError:
    """What an error of the SDK means for us."""
    if isinstance(error, anthropic.APIStatusError):
        response = error.response
        told = _told_error(error)
        if told.message.startswith(_NO_CREDIT):
            return OutOfCredit(told.message, vendor_request_id=_id(response))
        if told.type in ERRORS:
            return ERRORS[told.type](told.message, _id(response), retry_after(response))
        field = _FIELD.match(told.message)
        return error_by_status(
            response.status_code,
            told.message,
            param=field[1] if field else None,
            retry_after=retry_after(response),
            vendor_request_id=_id(response),
        )
    if isinstance(error.__cause__, NEVER_SENT):
        return NotSent(repr(error.__cause__))
    return OutcomeUnknown(repr(error.__cause__ or error))


def _throttled(message: str, vendor_request_id: str | None, retry_after: int | None) -> PortError:
    return Throttled(message, retry_after=retry_after, vendor_request_id=vendor_request_id)


def _of(kind: type[PortError]) -> Callable[[str, str | None, int | None], PortError]:
    return lambda message, vendor_request_id, retry_after: kind(message, vendor_request_id=vendor_request_id)


ERRORS: Mapping[str, Callable[[str, str | None, int | None], PortError]] = {
    "rate_limit_error": _throttled,
    "overloaded_error": _throttled,
    "billing_error": _of(OutOfCredit),
    "authentication_error": _of(BadCredential),
    "permission_error": _of(BadCredential),
}


def _stream_error(event: Event, started: bool, vendor_request_id: str | None) -> PortError:
    """An error event: before anything else it means what the same answer would have; after that, work was
    done."""
    try:
        error = msgspec.json.decode(event.data, type=_ErrorEvent).error
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        error = _Error(message="an error event that cannot be read")
    if not started and error.type in ERRORS:
        return ERRORS[error.type](error.message, vendor_request_id, None)
    if not started and error.type == "invalid_request_error":
        return Rejected(error.message, vendor_request_id=vendor_request_id)
    return Fault(
        f"an error in the stream: {error.type}: {error.message}", vendor_request_id=vendor_request_id
    )


def _told(
    event: Event, usage: Usage | None, vendor_request_id: str | None
) -> tuple[Usage | None, str | None]:
    try:
        return read_message_event(event.data, usage)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Fault(f"an event that cannot be read: {error}", vendor_request_id=vendor_request_id) from error


def _told_error(error: anthropic.APIStatusError) -> _Error:
    try:
        return msgspec.convert(error.body, _ErrorEvent).error
    except msgspec.ValidationError:
        return _Error(message=error.message[:500])


def _id(response: httpx2.Response) -> str | None:
    return response.headers.get("request-id")
