"""Midjourney by tasks, as CometAPI offers it: POST /mj-{mode}/mj/submit/imagine, GET /mj/task/{id}/fetch, Bearer, by httpx2.

An unofficial wire: what it means is told by its public clients. A prompt carries its parameters: `--ar` from the size, `--v` from
the model's upstream id; the caller's own are refused, for they change what it costs. The mode is the quality. A submit answers with
a code (`CODES`) and the task's id; it sends our reference along as `state`, by which no task can be asked for. A task is done once
its answer says so and is about the task that was asked for: then its picture, four in a grid, is fetched from where it points.
Failures: of a submit by code, by the words of its sentence, by status, by class where there was no answer: only a connection that
never stood proves that nothing was sent; of a look nothing but a finished task says anything. Nothing is sent twice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

import httpx2
import msgspec
import pybase64

from rollout.core.guardrails import category_of
from rollout.core.images import Finished, Picture, aspect_ratio_of
from rollout.core.input_images import InputImage
from rollout.core.pictures import media_type_of
from rollout.providers.base import (
    Fault,
    ImageCall,
    OutcomeUnknown,
    OutOfCredit,
    PortError,
    Progress,
    Refused,
    Rejected,
    Throttled,
    error_by_status,
)
from rollout.providers.transport import Line, read_whole, retry_after, send

DEFAULT_MODE = "fast"
_JSON = "application/json"
_PARAMETERS = re.compile(r"(?:^|\s)(?:--|\u2014)[a-z]|\{[^{}]*,[^{}]*\}", re.IGNORECASE)
"""`--turbo`, `--repeat 4`, and `{a, b}`, which is a task each."""

_ACCEPTED = (1, 22)
_MODERATION = re.compile(
    r"banned|moderat|sensitive|nsfw|polic|guideline|blocked|inappropriate", re.IGNORECASE
)
_CREDIT = re.compile(r"quota|balance|credit|insufficient", re.IGNORECASE)


class _Submitted(msgspec.Struct):
    code: int | None = None
    description: str = ""
    result: str | int | None = None


class _Task(msgspec.Struct, rename="camel"):
    id: str = ""
    status: str | None = None
    progress: str | None = None
    image_url: str | None = None
    fail_reason: str | None = None
    state: str | None = None


def encode(call: ImageCall, reference: str) -> bytes:
    """The JSON body. Raises Rejected for a prompt with parameters of its own."""
    request, mode = call.request, mode_of(call)
    if _PARAMETERS.search(request.prompt):
        raise Rejected(
            "The prompt holds parameters (--word, or {a, b}): say what you want in `size` and `quality`.",
            param="prompt",
        )
    ratio = aspect_ratio_of(request.size)
    parameters = f" --ar {ratio}" if ratio else ""
    members = {
        "prompt": f"{request.prompt}{parameters} --v {call.model.upstream_id}",
        "botType": "MID_JOURNEY",
        "accountFilter": {"modes": [mode.upper()]},
        "state": reference,
    }
    if request.images:
        members["base64Array"] = [_data_url(image) for image in request.images]
    return msgspec.json.encode(members)


def mode_of(call: ImageCall) -> str:
    """How fast, and how dear."""
    quality = call.request.quality
    return quality if quality in call.model.qualities else DEFAULT_MODE


class MidjourneyTasks:
    """The port `Tasks` over one line; `base_url` without /mj. Args: `clock` gives UTC epoch seconds."""

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

    def submit(self, call: ImageCall, reference: str) -> str:
        url = f"{self._base_url}/mj-{mode_of(call)}/mj/submit/imagine"
        response = send(self._line, "POST", url, self._headers, encode(call, reference))
        body = read_whole(response, None)
        if response.status_code != 200:
            raise port_error(response, body)
        return decode_submit(body)

    def look(self, call: ImageCall, task_id: str, reference: str) -> Progress | Finished:
        url = f"{self._base_url}/mj/task/{task_id}/fetch"
        response = send(self._line, "GET", url, self._headers, timeout=self._line.look)
        body = read_whole(response, task_id)
        if response.status_code != 200:
            raise OutcomeUnknown(f"status {response.status_code} to a look", vendor_request_id=task_id)
        task = decode_task(body, task_id, reference)
        if task.status != "SUCCESS":
            return Progress(_percent(task.progress))
        return self._finished(call, task)

    def _finished(self, call: ImageCall, task: _Task) -> Finished:
        try:
            data = self._line.fetch(task.image_url or "")
        except OSError as error:
            raise Fault(f"the picture cannot be fetched: {error}", vendor_request_id=task.id) from error
        media_type = media_type_of(data)
        if media_type is None:
            raise Fault("a finished task whose picture is none", vendor_request_id=task.id)
        return Finished(
            pictures=(Picture(pybase64.b64encode(data), media_type),),
            usage=None,
            created=int(self._clock()),
            size=call.request.size,
            quality=mode_of(call),
            output_format=media_type.removeprefix("image/"),
            vendor_request_id=task.id,
        )


def decode_submit(body: bytes) -> str:
    """The task's id. Raises PortError."""
    try:
        told = msgspec.json.decode(body, type=_Submitted)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Fault(f"an answer that cannot be read: {error}") from error
    if told.code in _ACCEPTED and told.result:
        return str(told.result)
    raise _failure(told.description, told.code) or CODES.get(told.code or 0, Fault)(
        f"code {told.code}: {told.description[:500]}"
    )


def decode_task(body: bytes, task_id: str, reference: str) -> _Task:
    """A task that is not over, or has succeeded. Raises OutcomeUnknown for an answer that cannot be read, which says nothing of the
    task; Fault for one about another task; Refused, Fault for one that failed."""
    try:
        task = msgspec.json.decode(body, type=_Task)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise OutcomeUnknown(f"an answer that cannot be read: {error}", vendor_request_id=task_id) from error
    if task.id != task_id or task.state not in (None, "", reference):
        raise Fault(
            f"the task {task.id[:100]!r} of {str(task.state)[:100]!r} for ours", vendor_request_id=task_id
        )
    if task.status == "FAILURE":
        why = task.fail_reason or "no reason given"
        if _MODERATION.search(why):
            raise Refused(
                category_of(None),
                why,
                point="prompt" if "prompt" in why.lower() else "output_image",
                vendor_code="FAILURE",
                vendor_request_id=task_id,
            )
        raise Fault(
            f"FAILURE: {why}", status=500, vendor_request_id=task_id
        )  # as a complete answer that says 5xx
    return task


def port_error(response: httpx2.Response, body: bytes) -> PortError:
    """What a submit means that was answered with another status than 200."""
    words = body[:2000].decode("utf-8", "replace")
    return _failure(words) or error_by_status(
        response.status_code, words[:500], retry_after=retry_after(response)
    )


def _failure(words: str, code: int | None = None) -> PortError | None:
    """By code and words; None where they tell nothing."""
    if code == 24 or (code is None and _MODERATION.search(words)):
        return Refused(category_of(None), words[:500], point="prompt", vendor_code=str(code or ""))
    if _CREDIT.search(words):
        return OutOfCredit(words[:500])
    return None


CODES: Mapping[int, Callable[[str], PortError]] = {4: Rejected, 23: Throttled}
"""Beside 1 and 22, accepted and queued, and 24, a prompt that is banned: parameters that are wrong, and a queue that is full."""


def _percent(text: str | None) -> int:
    """Of `45%`."""
    digits = (text or "").partition("%")[0].strip()
    return min(100, int(digits)) if digits.isdecimal() else 0


def _data_url(image: InputImage) -> str:
    return f"data:{image.media_type};base64,{pybase64.b64encode(image.data).decode()}"
