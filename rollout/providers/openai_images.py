"""OpenAI images: POST images/generations (JSON) and images/edits (multipart), Bearer, through the official
SDK.

Bytes go in and come out as they are: the SDK adds auth, headers, time-outs; bodies are encoded and answers
decoded here, and base64 is never parsed. What fails is told by `ERRORS`, by `__cause__` (only a connection
that never stood proves that nothing was sent) and by status; an answer that is no answer is a Fault, one that
stops in the middle is OutcomeUnknown. Nothing is sent twice: no retries, no redirects.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import msgspec
import pybase64

from rollout.core.catalogue import Usage
from rollout.core.catalogue_checks import Listed
from rollout.core.guardrails import category_of
from rollout.core.images import Finished, Partial, Picture
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_of
from rollout.core.wire import Event, image_usage
from rollout.providers import openai_sdk
from rollout.providers.base import (
    Fault,
    Fetch,
    ImageCall,
    OutcomeUnknown,
    PortError,
    Refused,
    no_picture,
    picture_of,
)
from rollout.providers.openai_sdk import id_of
from rollout.providers.transport import Line, read_events, read_whole

_SCALARS = ("n", "size", "quality", "background", "output_format", "output_compression", "moderation")
_VIOLATION = re.compile(r"safety_violations=\[([\w/-]+)")
_OF_PICTURE = re.compile(r"\b(?:generated|output) image")


class _Datum(msgspec.Struct):
    b64_json: msgspec.Raw = msgspec.Raw(b"null")
    url: str | None = None
    revised_prompt: str | None = None


class _Answer(msgspec.Struct):
    created: int
    data: list[_Datum] | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _StreamError(msgspec.Struct):
    message: str = ""
    code: str | None = None


class _StreamEvent(msgspec.Struct):
    type: str = ""
    b64_json: msgspec.Raw = msgspec.Raw(b"null")
    partial_image_index: int = 0
    created_at: int = 0
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


def encode_generation(call: ImageCall) -> bytes:
    """The JSON body; what the caller left out stays out."""
    return msgspec.json.encode(_members(call))


def encode_edit(call: ImageCall) -> tuple[dict[str, Any], list[tuple[str, tuple[str, bytes, str]]]]:
    """(form fields, files): one picture is `image`, several are `image[]`, as the SDK spells them."""
    request = call.request
    name = "image" if len(request.images) == 1 else "image[]"
    files = [(name, _file(image, f"{index}-{image.filename}")) for index, image in enumerate(request.images)]
    if request.mask:
        files.append(("mask", _file(request.mask, "mask.png")))
    return {key: _form_text(value) for key, value in _members(call).items()}, files


class OpenAIImages:
    """The port `Images` over one line; `base_url` with /v1, OpenAI's or of a host that speaks as it does. A
    stream may be silent as long as a whole answer may take: nothing
    comes of it before the first picture."""

    def __init__(self, api_key: str, base_url: str, line: Line) -> None:
        self._client, self._line = openai_sdk.connect(api_key, base_url, line), line

    def generate(self, call: ImageCall) -> Finished:
        response = self._send(call)
        return decode(read_whole(response, id_of(response)), id_of(response), self._line.fetch)

    @contextmanager
    def stream(self, call: ImageCall) -> Iterator[Iterator[Partial | Finished]]:
        response = self._send(call)
        try:
            yield decode_events(read_events(response, id_of(response)), call.request.n, id_of(response))
        finally:
            response.close()

    def models(self) -> list[Listed]:
        return openai_sdk.models(self._client, self._line, ERRORS)

    def close(self) -> None:
        self._client.close()

    def _send(self, call: ImageCall) -> httpx2.Response:
        send = functools.partial(
            openai_sdk.post,
            self._client,
            errors=ERRORS,
            timeout=self._line.answer,
            wanted=openai_sdk.EVENTS if call.request.stream else openai_sdk.JSON,
        )
        if call.request.operation == "generate":
            return send("/images/generations", content=encode_generation(call))
        fields, files = encode_edit(call)
        return send("/images/edits", content_type="multipart/form-data", body=fields, files=files)


def decode(body: bytes, vendor_request_id: str | None, fetch: Fetch) -> Finished:
    """The whole answer; other hosts than OpenAI may name an address in the place of a picture. Raises NoPicture or
    Fault for one that holds no picture, Fault for something that is none."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        usage = image_usage(answer.usage)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Fault(f"an answer that cannot be read: {error}", vendor_request_id=vendor_request_id) from error
    if not answer.data:
        raise no_picture(usage, vendor_request_id)
    return Finished(
        pictures=tuple(_picture(datum, vendor_request_id, fetch) for datum in answer.data),
        usage=usage,
        created=answer.created,
        size=answer.size,
        quality=answer.quality,
        background=answer.background,
        output_format=answer.output_format or "png",
        vendor_request_id=vendor_request_id,
    )


def decode_events(
    events: Iterator[Event], count: int, vendor_request_id: str | None
) -> Iterator[Partial | Finished]:
    """Partials, then one Finished once `count` pictures came or the stream ended after at least one. Raises
    PortError."""
    finished: list[Finished] = []
    for event in events:
        told = _told(event, vendor_request_id)
        if told.type.endswith(".partial_image"):
            yield Partial(picture_of(told.b64_json, vendor_request_id), told.partial_image_index)
        elif told.type.endswith(".completed"):
            finished.append(_completed(told, vendor_request_id))
            if len(finished) == count:
                break
    if not finished:
        raise OutcomeUnknown("the stream ended before its picture", vendor_request_id=vendor_request_id)
    yield _together(finished)


def _refused(message: str, vendor_request_id: str | None) -> PortError:
    """Category and point stand in the vendor's words: `generated images .. safety_violations=[violence]`."""
    found = _VIOLATION.search(message)
    return Refused(
        category_of(found[1] if found else None),
        message,
        point="output_image" if _OF_PICTURE.search(message) else "prompt",
        vendor_code=found[1] if found else "moderation_blocked",
        vendor_request_id=vendor_request_id,
    )


ERRORS: openai_sdk.Errors = {
    **openai_sdk.ACCOUNT_ERRORS,
    "moderation_blocked": _refused,
    "content_policy_violation": _refused,
}


def _members(call: ImageCall) -> dict[str, Any]:
    request = call.request
    members: dict[str, Any] = {"model": call.model.upstream_id, "prompt": request.prompt}
    members.update({name: getattr(request, name) for name in _SCALARS if getattr(request, name) is not None})
    if request.input_fidelity:
        members["input_fidelity"] = request.input_fidelity
    if request.stream:
        members.update(stream=True, partial_images=request.partial_images)
    if call.user:
        members["safety_identifier"] = call.user
    return members


def _form_text(value: Any) -> str:
    return "true" if value is True else str(value)


def _picture(datum: _Datum, vendor_request_id: str | None, fetch: Fetch) -> Picture:
    if datum.url is None:
        return picture_of(datum.b64_json, vendor_request_id, datum.revised_prompt)
    try:
        data = fetch(datum.url)
    except OSError as error:
        raise Fault(f"the picture cannot be fetched: {error}", vendor_request_id=vendor_request_id) from error
    return Picture(pybase64.b64encode(data), media_type_of(data) or "", datum.revised_prompt)


def _file(image: InputImage, filename: str) -> tuple[str, bytes, str]:
    return filename, image.data, image.media_type


def _told(event: Event, vendor_request_id: str | None) -> _StreamEvent:
    try:
        told = msgspec.json.decode(event.data, type=_StreamEvent)
        error: _StreamError | None = msgspec.json.decode(told.error, type=_StreamError | None)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as broken:
        raise Fault(
            f"an event that cannot be read: {broken}", vendor_request_id=vendor_request_id
        ) from broken
    if error is None:
        return told
    if error.code and error.code in ERRORS:
        raise ERRORS[error.code](error.message, vendor_request_id)
    raise Fault(f"an error in the stream: {error.code}: {error.message}", vendor_request_id=vendor_request_id)


def _completed(told: _StreamEvent, vendor_request_id: str | None) -> Finished:
    try:
        usage = image_usage(told.usage)
    except msgspec.DecodeError as error:
        raise Fault(f"a usage that cannot be read: {error}", vendor_request_id=vendor_request_id) from error
    return Finished(
        pictures=(picture_of(told.b64_json, vendor_request_id),),
        usage=usage,
        created=told.created_at,
        size=told.size,
        quality=told.quality,
        background=told.background,
        output_format=told.output_format or "png",
        vendor_request_id=vendor_request_id,
    )


def _together(finished: list[Finished]) -> Finished:
    """One answer of several completed pictures; a usage only if each told its own."""
    usages = [one.usage for one in finished]
    told = [usage for usage in usages if usage is not None]
    total = Usage(
        input=sum(usage.input for usage in told),
        output=sum(usage.output for usage in told),
        text_in=sum(usage.text_in for usage in told),
        image_in=sum(usage.image_in for usage in told),
    )
    return replace(
        finished[0],
        pictures=tuple(picture for one in finished for picture in one.pictures),
        usage=total if len(told) == len(finished) else None,
    )
