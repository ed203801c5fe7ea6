"""What steering does to a call inside the process: each fault as the port error that it would be on a
wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from rollout.core.steering import Steering, parse_steering
from rollout.errors import InvalidRequest
from rollout.providers.base import (
    BadCredential,
    Fault,
    OutcomeUnknown,
    OutOfCredit,
    PortError,
    Rejected,
    Retired,
    error_by_status,
)

ERRORS: dict[str, type[PortError]] = {"insufficient_quota": OutOfCredit, "invalid_api_key": BadCredential}

Sleep = Callable[[float], None]
_Item = TypeVar("_Item")


def steering_of(prompt: str) -> Steering:
    """Raises Rejected for steering that means nothing."""
    try:
        return parse_steering(prompt)
    except InvalidRequest as error:
        raise Rejected(f"{error.message} {error.remedy_text}", param="prompt") from error


def suffer(
    steering: Steering, sleep: Sleep, hang_seconds: float, work_id: str | None = None, *, streaming: bool
) -> None:
    """Wait and raise as the steering says, before any work; refusals are the caller's."""
    sleep(steering.slow)
    if steering.hang:
        sleep(hang_seconds)
        raise OutcomeUnknown("the sandbox was told to hang")
    if steering.error:
        raise _told_to_fail(steering.error, steering.code, work_id)
    if steering.retired:
        raise Retired("the sandbox was told that the model is gone")
    if steering.html or (steering.json and streaming):
        raise _nonsense(work_id)


def spoil(steering: Steering, work_id: str | None = None, *, streaming: bool) -> None:
    """Raise as the steering says of an answer that was made and never arrived, or not whole; cut streams: `cut_short`."""
    if steering.drop:
        raise OutcomeUnknown("the sandbox was told to drop the connection")
    if steering.malformed:
        raise _nonsense(work_id)
    if steering.cut is not None and not streaming:
        raise OutcomeUnknown("the sandbox was told to cut the answer", vendor_request_id=work_id)


def _nonsense(work_id: str | None) -> Fault:
    return Fault("the sandbox was told to answer nonsense", vendor_request_id=work_id)


def _told_to_fail(status: int, code: str | None, work_id: str | None) -> PortError:
    message = f"the sandbox was told to fail: {code or status}"
    known = ERRORS.get(code or "")
    return known(message) if known else error_by_status(status, message, vendor_request_id=work_id)


def cut_short(items: Iterator[_Item], steering: Steering, work_id: str | None) -> Iterator[_Item]:
    """The items, or the first `cut` of them and then the error of a cut stream."""
    if steering.cut is None:
        yield from items
        return
    yield from islice(items, steering.cut)
    raise OutcomeUnknown("the sandbox was told to cut the stream", vendor_request_id=work_id)
