"""The official `openai` SDK as a carrier of bytes, for every wire that it speaks: it adds auth, headers and time-outs;
bodies are encoded and answers decoded by the wire.

What fails is told by the vendor's error code (the wire's `ERRORS`), by `__cause__` (only a connection that never stood
proves that nothing was sent) and by status. Nothing is sent twice: no retries, no redirects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import msgspec
import openai

from rollout.core.catalogue_checks import Listed
from rollout.providers.base import (
    BadCredential,
    Fault,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    PortError,
    Retired,
    error_by_status,
    moment,
    read_list,
)
from rollout.providers.transport import NEVER_SENT, Line, retry_after

JSON = "application/json"
EVENTS = "text/event-stream"

Errors = Mapping[str, Callable[[str, str | None], PortError]]
"""By the vendor's error code, or by words of its sentence where its codes tell nothing; called with the sentence and the
id of the request there."""


def connect(api_key: str, base_url: str, line: Line) -> openai.OpenAI:
    """Nothing of it comes from the SDK's own environment variables."""
    client = openai.OpenAI(
        api_key=api_key,
        base_url=base_url,
        admin_api_key="",
        organization="",
        project="",
        webhook_secret="",
        max_retries=0,
        timeout=line.answer,
        http_client=line.client,
    )
    client.organization = client.project = None
    client._custom_headers = {}  # the SDK filled it from OPENAI_CUSTOM_HEADERS; only our settings count
    return client


def post(
    client: openai.OpenAI,
    path: str,
    *,
    errors: Errors,
    timeout: httpx2.Timeout,
    wanted: str = JSON,
    content_type: str = JSON,
    **sent: Any,
) -> httpx2.Response:
    """The response to a 2xx, its body unread: should it be lost, the id in its head is not. `sent` is the SDK's
    `content`, or `body` and `files` of a form. Raises PortError."""
    headers = {"accept-encoding": "identity", "accept": wanted, "content-type": content_type}
    sent.update(stream=True, stream_cls=openai.Stream[object])
    options: Any = {"headers": headers, "timeout": timeout}
    try:
        response: httpx2.Response = client.post(path, cast_to=httpx2.Response, options=options, **sent)
    except openai.OpenAIError as error:
        raise port_error(error, errors) from error
    told = response.headers.get("content-type", "")
    if not told.startswith(wanted):
        response.close()
        raise Fault(f"{told} where {wanted} was expected", vendor_request_id=id_of(response))
    return response


class _Listed(msgspec.Struct):
    id: str
    shutdown_date: str | float | None = None


class _List(msgspec.Struct):
    data: list[_Listed]


def models(client: openai.OpenAI, line: Line, errors: Errors) -> list[Listed]:
    """GET /models. Raises PortError."""
    try:
        response: httpx2.Response = client.get(
            "/models", cast_to=httpx2.Response, options={"timeout": line.look}
        )
    except openai.OpenAIError as error:
        raise port_error(error, errors) from error
    return [Listed(row.id, moment(row.shutdown_date)) for row in read_list(response.content, _List).data]


def port_error(error: openai.OpenAIError, errors: Errors) -> PortError:
    """What an error of the SDK means for us."""
    if isinstance(error, openai.APIStatusError):
        response, message = error.response, _message(error)
        if meant := meaning(errors, error.code, message):
            return meant(message, id_of(response))
        return error_by_status(
            response.status_code,
            message,
            param=error.param,
            retry_after=retry_after(response),
            vendor_request_id=id_of(response),
        )
    if isinstance(error.__cause__, NEVER_SENT):
        return NotSent(repr(error.__cause__))
    return OutcomeUnknown(repr(error.__cause__ or error))


def meaning(
    errors: Errors, code: str | int | None, message: str
) -> Callable[[str, str | None], PortError] | None:
    said = message.lower()
    return next(
        (meant for told, meant in errors.items() if told == code or (" " in told and told in said)), None
    )


def kind(error: type[PortError]) -> Callable[[str, str | None], PortError]:
    return lambda message, vendor_request_id: error(message, vendor_request_id=vendor_request_id)


ACCOUNT_ERRORS: Errors = {
    "insufficient_quota": kind(OutOfCredit),
    "billing_hard_limit_reached": kind(OutOfCredit),
    "invalid_api_key": kind(BadCredential),
    "model_not_found": kind(Retired),
    "incorrect api key": kind(BadCredential),
    "available credits": kind(OutOfCredit),
    "spending limit": kind(OutOfCredit),
}
"""What vendors of this SDK say of our account with them."""


def id_of(response: httpx2.Response) -> str | None:
    return response.headers.get("x-request-id")


def _message(error: openai.APIStatusError) -> str:
    """The vendor's own sentence, without the SDK's `Error code: 400 - {...}` around it."""
    told = error.body.get("message") if isinstance(error.body, dict) else error.body
    return told if isinstance(told, str) else error.message[:500]
