"""xAI images (Grok): POST images/generations and images/edits with Bearer, by httpx2.

Both take JSON, pictures as data URLs (the `openai` SDK sends its edits as a form, which xAI refuses). A size goes as the
nearest ratio and a resolution; `size`, `style` and form fields are unknown there. base64 is never parsed. The answer tells
its price in money. A refused prompt is a 400 or 403, a refused picture a 400 that was billed, or a datum without a picture.
Failures: by the words of the vendor's sentence (`ERRORS`: its codes tell nothing), by status, by class where there was no
answer: only a connection that never stood proves that nothing was sent. Nothing is sent twice: no retries, no redirects.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import msgspec
import pybase64

from rollout.core.catalogue import Usage
from rollout.core.guardrails import category_of
from rollout.core.images import Finished, ImageRequest, Partial, aspect_ratio_of, resolution_of
from rollout.core.input_images import InputImage
from rollout.providers.base import (
    BadCredential,
    Fault,
    ImageCall,
    OutOfCredit,
    PortError,
    Refused,
    Rejected,
    error_by_status,
    no_picture,
    picture_of,
)
from rollout.providers.transport import Line, read_whole, retry_after, send

_JSON = "application/json"
_TICKS = 10_000  # a micro-dollar has; xAI counts in 1e-10 dollars
_CHECK = re.compile(r"SAFETY_CHECK_TYPE_(\w+)")


class _Datum(msgspec.Struct):
    b64_json: msgspec.Raw = msgspec.Raw(b"null")
    revised_prompt: str | None = None
    respect_moderation: bool = True


class _Usage(msgspec.Struct):
    cost_in_usd_ticks: int = 0


class _Answer(msgspec.Struct):
    data: list[_Datum] = []
    created: int | None = None
    usage: _Usage | None = None


class _Error(msgspec.Struct):
    error: str = ""
    usage: _Usage | None = None


def encode(call: ImageCall) -> bytes:
    """The JSON body; what the caller left to the vendor stays out, but for the resolution, which is what was priced.
    Raises Rejected for a size that an edit cannot have."""
    request = call.request
    members: dict[str, Any] = {
        "model": call.model.upstream_id,
        "prompt": request.prompt,
        "n": request.n,
        "response_format": "b64_json",
        "resolution": resolution_of(request.size).lower(),
    }
    if request.quality in call.model.qualities:
        members["quality"] = request.quality
    if len(request.images) == 1:
        _refuse_another_shape(request)
        members["image"] = _data_url(request.images[0])
    else:
        if ratio := aspect_ratio_of(request.size):
            members["aspect_ratio"] = ratio
        if request.images:
            members["images"] = [_data_url(image) for image in request.images]
    if call.user:
        members["user"] = call.user
    return msgspec.json.encode(members)


class XaiImages:
    """The port `Images` over one line; `base_url` with /v1. Args: `clock` gives UTC epoch seconds."""

    def __init__(
        self, api_key: str, base_url: str, line: Line, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._base_url, self._line, self._clock = base_url, line, clock
        self._headers = {
            "authorization": f"Bearer {api_key}",
            "content-type": _JSON,
            "accept": _JSON,
            "accept-encoding": "identity",
        }

    def generate(self, call: ImageCall) -> Finished:
        path = "edits" if call.request.operation == "edit" else "generations"
        url = f"{self._base_url}/images/{path}"
        response = send(self._line, "POST", url, self._headers, encode(call))
        body = read_whole(response, _id(response))
        if response.status_code != 200:
            raise port_error(response, body)
        return decode(body, _id(response), int(self._clock()))

    @contextmanager
    def stream(self, call: ImageCall) -> Iterator[Iterator[Partial | Finished]]:
        """The vendor streams nothing: the one event is the answer."""
        yield iter([self.generate(call)])


def decode(body: bytes, vendor_request_id: str | None, created: int) -> Finished:
    """The whole answer, which came at `created`. Raises Refused where all pictures were, NoPicture or Fault for an
    answer without any, Fault for one that cannot be read."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Fault(f"an answer that cannot be read: {error}", vendor_request_id=vendor_request_id) from error
    usage = _usage(answer.usage)
    shown = [datum for datum in answer.data if datum.respect_moderation]
    if answer.data and not shown:
        raise Refused(
            "policy",
            point="output_image",
            vendor_code="respect_moderation",
            usage=usage,
            vendor_request_id=vendor_request_id,
        )
    if not shown:
        raise no_picture(usage, vendor_request_id)
    pictures = tuple(picture_of(datum.b64_json, vendor_request_id, datum.revised_prompt) for datum in shown)
    return Finished(
        pictures=pictures,
        usage=usage,
        created=answer.created or created,
        output_format=pictures[0].media_type.removeprefix("image/"),
        vendor_request_id=vendor_request_id,
    )


def port_error(response: httpx2.Response, body: bytes) -> PortError:
    """What an answer that is no 200 means for us."""
    try:
        told = msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        told = _Error(error=body[:500].decode(errors="replace"))
    if response.status_code < 500:
        for words, meant in ERRORS.items():
            if words in told.error.lower():
                return meant(told, _id(response))
    return error_by_status(
        response.status_code,
        told.error,
        retry_after=retry_after(response),
        vendor_request_id=_id(response),
    )


def _prompt_refused(told: _Error, vendor_request_id: str | None) -> PortError:
    """The failed check stands in the vendor's words: `Failed check: SAFETY_CHECK_TYPE_BIO`."""
    check = _CHECK.search(told.error)
    return Refused(
        category_of(check[1] if check else None),
        told.error,
        vendor_code=check[0] if check else "usage_guidelines",
        usage=_usage(told.usage),
        vendor_request_id=vendor_request_id,
    )


def _picture_refused(told: _Error, vendor_request_id: str | None) -> PortError:
    return Refused(
        "policy",
        told.error,
        point="output_image",
        vendor_code="content_moderation",
        usage=_usage(told.usage),
        vendor_request_id=vendor_request_id,
    )


def _of(kind: type[PortError]) -> Callable[[_Error, str | None], PortError]:
    return lambda told, vendor_request_id: kind(told.error, vendor_request_id=vendor_request_id)


ERRORS: Mapping[str, Callable[[_Error, str | None], PortError]] = {
    "usage guidelines": _prompt_refused,
    "content moderation": _picture_refused,
    "incorrect api key": _of(BadCredential),
    "available credits": _of(OutOfCredit),
    "spending limit": _of(OutOfCredit),
}
"""By the words of the vendor's sentence; a wrong key arrives as 400, an empty account as 403 or 429."""


def _refuse_another_shape(request: ImageRequest) -> None:
    """An edit of one picture keeps its shape: the vendor ignores a ratio there."""
    image = request.images[0]
    ratio, shape = aspect_ratio_of(request.size), aspect_ratio_of(f"{image.width}x{image.height}")
    if ratio not in (None, shape):
        raise Rejected(
            f"An edit of one picture keeps its shape, which is {shape}: leave out `size`, or ask for {shape}.",
            param="size",
        )


def _data_url(image: InputImage) -> dict[str, str]:
    data = pybase64.b64encode(image.data).decode()
    return {"type": "image_url", "url": f"data:{image.media_type};base64,{data}"}


def _usage(told: _Usage | None) -> Usage | None:
    if told is None or told.cost_in_usd_ticks <= 0:
        return None
    return Usage(usd_micro=-(-told.cost_in_usd_ticks // _TICKS))


def _id(response: httpx2.Response) -> str | None:
    return response.headers.get("x-request-id")
