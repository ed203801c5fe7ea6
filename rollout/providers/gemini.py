"""Gemini images: POST {base}/v1beta/models/{id}:generateContent with x-goog-api-key, by httpx2.

Prompt and pictures are parts of one content; sizes go as the nearest ratio and a class of resolution; the type of
the picture is the vendor's choice. base64 is never parsed. Refusals are answers: `promptFeedback.blockReason` of the
prompt, `finishReason` of the picture. An answer that ends otherwise without a picture was billed (NoPicture) where it
tells usage. Failures: by the reason in the error's details or its status (`ERRORS`), by class where there was no
answer: only a connection that never stood proves that nothing was sent. Nothing is sent twice: no retries, no
redirects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import msgspec
import pybase64

from rollout.core.catalogue import Usage
from rollout.core.catalogue_checks import Listed
from rollout.core.guardrails import Category, category_of
from rollout.core.images import Finished, Partial, aspect_ratio_of, resolution_of
from rollout.core.input_images import InputImage
from rollout.providers.base import (
    BadCredential,
    Fault,
    ImageCall,
    OutOfCredit,
    PortError,
    Refused,
    error_by_status,
    no_picture,
    picture_of,
    read_list,
)
from rollout.providers.transport import Line, read_whole, send

DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com"
_JSON = "application/json"
_LISTED = 1000  # the most that one page has
_NO_TEXT = msgspec.Raw(b'""')

_REFUSALS = frozenset(
    (
        *("SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
    )
)
"""The finish reasons that say: refused for its content."""


class _Inline(msgspec.Struct):
    data: msgspec.Raw = _NO_TEXT


class _Part(msgspec.Struct, rename="camel"):
    inline_data: _Inline | None = None
    thought: bool = False


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Rating(msgspec.Struct):
    category: str = ""
    blocked: bool = False


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str = ""
    safety_ratings: list[_Rating] = []


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    safety_ratings: list[_Rating] = []


class _Tokens(msgspec.Struct, rename="camel"):
    modality: str = ""
    token_count: int = 0


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    prompt_tokens_details: list[_Tokens] = []
    candidates_tokens_details: list[_Tokens] = []


class _Answer(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] = []
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    response_id: str | None = None


class _Detail(msgspec.Struct, rename="camel"):
    reason: str = ""
    retry_delay: str = ""


class _Error(msgspec.Struct):
    message: str = ""
    status: str = ""
    details: list[_Detail] = []


class _ErrorBody(msgspec.Struct):
    error: _Error


class _Listed(msgspec.Struct):
    name: str


class _List(msgspec.Struct):
    models: list[_Listed]


def encode(call: ImageCall) -> bytes:
    """The JSON body; what the caller left to the vendor stays out."""
    request = call.request
    config: dict[str, Any] = {"responseModalities": ["IMAGE"]}
    if call.model.max_tokens:
        config["maxOutputTokens"] = call.model.max_tokens
    if ratio := aspect_ratio_of(request.size):
        config["imageConfig"] = {"aspectRatio": ratio, "imageSize": resolution_of(request.size)}
    parts = [{"text": request.prompt}, *map(_part, request.images)]
    return msgspec.json.encode({"contents": [{"role": "user", "parts": parts}], "generationConfig": config})


class GeminiImages:
    """The port `Images` over one line; `base_url` without a version, `clock` gives UTC epoch seconds."""

    def __init__(
        self, api_key: str, base_url: str, line: Line, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._base_url = (base_url or DEFAULT_BASE_URL).rstrip("/")
        self._headers = {"x-goog-api-key": api_key, "content-type": _JSON, "accept-encoding": "identity"}
        self._line, self._clock = line, clock

    def generate(self, call: ImageCall) -> Finished:
        url = f"{self._base_url}/v1beta/models/{call.model.upstream_id}:generateContent"
        return decode(self._send(url, encode(call)), int(self._clock()))

    @contextmanager
    def stream(self, call: ImageCall) -> Iterator[Iterator[Partial | Finished]]:
        """The vendor shows no partial pictures: the one event is the answer."""
        yield iter([self.generate(call)])

    def models(self) -> list[Listed]:
        answer = self._send(f"{self._base_url}/v1beta/models?pageSize={_LISTED}")
        return [Listed(row.name.removeprefix("models/")) for row in read_list(answer, _List).models]

    def _send(self, url: str, body: bytes | None = None) -> bytes:
        """The body of a 200; a POST where there is something to send, else a look. Raises PortError."""
        method, timeout = ("GET", self._line.look) if body is None else ("POST", self._line.answer)
        response = send(self._line, method, url, self._headers, body, timeout)
        answer = read_whole(response, None)
        if response.status_code != 200:
            raise port_error(response)
        return answer


def decode(body: bytes, created: int) -> Finished:
    """The whole answer, which came at `created`. Raises Refused, NoPicture, and Fault for one that cannot be read."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Fault(f"an answer that cannot be read: {error}") from error
    pictures = tuple(
        picture_of(part.inline_data.data, answer.response_id)
        for candidate in answer.candidates
        for part in (candidate.content.parts if candidate.content else ())
        if part.inline_data and not part.thought
    )
    usage = _usage(answer.usage_metadata)
    if not pictures:
        raise _without_picture(answer, usage)
    return Finished(
        pictures=pictures,
        usage=usage if usage and usage.output > usage.text_out else None,
        created=created,
        output_format=pictures[0].media_type.removeprefix("image/"),
        vendor_request_id=answer.response_id,
    )


def port_error(response: httpx2.Response) -> PortError:
    """What an answer that is no 200 means for us."""
    try:
        error = msgspec.json.decode(response.content, type=_ErrorBody).error
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        error = _Error(message=response.text[:500])
    for word in (*(detail.reason for detail in error.details), error.status):
        if word in ERRORS:
            return ERRORS[word](error.message)
    delay = next((detail.retry_delay for detail in error.details if detail.retry_delay), "")
    seconds = delay.removesuffix("s").partition(".")[0]
    return error_by_status(
        response.status_code, error.message, retry_after=int(seconds) if seconds.isdigit() else None
    )


ERRORS: Mapping[str, type[PortError]] = {
    "API_KEY_INVALID": BadCredential,
    "BILLING_DISABLED": OutOfCredit,
    "FAILED_PRECONDITION": OutOfCredit,
}
"""By `reason` or `status`; a bad key and an account without billing arrive as 400."""


def _part(image: InputImage) -> dict[str, Any]:
    return {"inlineData": {"mimeType": image.media_type, "data": pybase64.b64encode(image.data).decode()}}


def _without_picture(answer: _Answer, usage: Usage | None) -> PortError:
    feedback, vendor_id = answer.prompt_feedback, answer.response_id
    if feedback and feedback.block_reason:
        category = _category(feedback.block_reason, feedback.safety_ratings)
        return Refused(category, vendor_code=feedback.block_reason, usage=usage, vendor_request_id=vendor_id)
    ended = answer.candidates[0] if answer.candidates else _Candidate()
    if ended.finish_reason in _REFUSALS:
        return Refused(
            _category(ended.finish_reason, ended.safety_ratings),
            point="output_image",
            vendor_code=ended.finish_reason,
            usage=usage,
            vendor_request_id=vendor_id,
        )
    return no_picture(usage, vendor_id, ended.finish_reason)


def _category(reason: str, ratings: list[_Rating]) -> Category:
    blocked = next((rating.category for rating in ratings if rating.blocked), None)
    return category_of(blocked or reason.removeprefix("IMAGE_"))


def _usage(told: _Usage | None) -> Usage | None:
    """Thoughts and words are `text_out`; output of no told kind counts as picture, which is dearer. None for numbers
    that cannot be."""
    if told is None:
        return None
    pictures_in = _of("IMAGE", told.prompt_tokens_details)
    usage = Usage(
        input=told.prompt_token_count,
        output=told.candidates_token_count + told.thoughts_token_count,
        text_in=told.prompt_token_count - pictures_in,
        image_in=pictures_in,
        text_out=_of("TEXT", told.candidates_tokens_details) + told.thoughts_token_count,
    )
    return usage if min(vars(usage).values()) >= 0 else None


def _of(modality: str, details: list[_Tokens]) -> int:
    return sum(tokens.token_count for tokens in details if tokens.modality == modality)
