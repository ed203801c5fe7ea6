"""Between a use case and a vendor: the one table of what a vendor's failure means to the caller,
and when to send again.

The vendor's 401, 402 and 429 concern our account, never the tenant's, so none of them is passed on
as such. What may have been billed is never invited to be repeated: 502 and 504 carry
`x-should-retry: false`, else the SDKs buy one call up to three times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from rollout.core.catalogue import Model
from rollout.core.decisions import Decision
from rollout.errors import (
    ContentRefused,
    InvalidRequest,
    LedgerUnavailable,
    ModelRetired,
    OutcomeUnknown,
    PayloadTooLarge,
    RolloutError,
    UpstreamFailed,
    UpstreamUnavailable,
)
from rollout.providers.base import (
    BadCredential,
    Fault,
    NoPicture,
    NotBilled,
    NotSent,
    OutOfCredit,
    PortError,
    Refused,
    Rejected,
    Retired,
    Throttled,
)

T = TypeVar("T")

log = structlog.get_logger()

LONGEST_WAIT = 2
"""Seconds: a longer Retry-After makes the Anthropic SDK sleep through it, and a vendor's throttling
ends sooner."""


def send(model: Model, call: Callable[[], T]) -> T:
    """The call, and once more if it provably never left this machine. Raises PortError."""
    try:
        return _sent(call)
    except Fault as fault:
        if fault.status is None or model.faults != "not_billed":
            raise
        raise NotBilled(fault.detail, vendor_request_id=fault.vendor_request_id) from fault


def _sent(call: Callable[[], T]) -> T:
    try:
        return call()
    except NotSent as error:
        log.warning("sent_again", detail=error.detail)
        return call()


@dataclass
class Outcome:
    """What errors tell the caller; `hold_id` and `headers` once the vendor may have been asked."""

    decision_id: str
    hold_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: bool = False

    def dispatched(self, hold_id: str | None, headers: Mapping[str, str]) -> None:
        """From here on the vendor may have the call."""
        self.hold_id, self.headers, self.sent = hold_id, headers, True


@contextmanager
def outcome(decision: Decision) -> Iterator[Outcome]:
    """Turn what leaves the block into a RolloutError that says what became of the work.

    Stands around the hold's block, so that the ledger sees the vendor's own error first.
    """
    found = Outcome(decision.id)
    try:
        yield found
    except LedgerUnavailable as error:
        if found.hold_id is None:
            raise
        raise _told(_unknown(found), found) from error  # done but not booked: a retry does it twice
    except RolloutError as error:
        error.members.setdefault("decision_id", found.decision_id)
        raise
    except PortError as error:
        raise explained(error, found) from error
    except Exception as error:
        if found.hold_id is None:
            raise
        log.exception("work_failed_after_dispatch", hold=found.hold_id, error=repr(error))
        raise _told(_unknown(found), found) from error


def explained(error: PortError | RolloutError, found: Outcome) -> RolloutError:
    """What a vendor's error means to the caller; an error of ours as it is."""
    return error if isinstance(error, RolloutError) else _told(_explained(error, found), found)


def refusal(category: str, headers: Mapping[str, str]) -> ContentRefused:
    """The answer to content that the vendor refused: the first time and on every replay."""
    return ContentRefused(
        f"The vendor refused this content: {category}.",
        category=category,
        decision_id=headers.get("x-rollout-decision"),
        headers=headers,
    )


def _explained(error: PortError, found: Outcome) -> RolloutError:
    """The table."""
    match error:
        case NotSent():
            log.warning("vendor_not_reached", detail=error.detail)
            return UpstreamUnavailable("The vendor cannot be reached; nothing was charged.", retry_after=1)
        case NotBilled():
            log.warning("vendor_failed_unbilled", hold=found.hold_id, detail=error.detail)
            return UpstreamUnavailable("The vendor failed; nothing was charged.", retry_after=1)
        case Throttled():
            wait = 1 if error.retry_after is None else min(error.retry_after, LONGEST_WAIT)
            return UpstreamUnavailable("The vendor is overloaded; nothing was charged.", retry_after=wait)
        case OutOfCredit() | BadCredential():
            return UpstreamUnavailable(
                "The vendor does not serve us at the moment; nothing was charged.",
                remedy="The operator has been alarmed; call again later.",
            )
        case Rejected(status=413):
            return PayloadTooLarge(error.message, param=error.param)
        case Rejected():
            return InvalidRequest(error.message, param=error.param)
        case Retired():
            log.error("vendor_retired_model", detail=error.detail)
            return ModelRetired("The vendor no longer has this model.", param="model")
        case Refused():
            return refusal(error.category, found.headers)
        case Fault() | NoPicture():
            log.warning("vendor_failed", hold=found.hold_id, detail=error.detail)
            return UpstreamFailed(hold_id=found.hold_id)
        case _:
            log.warning("vendor_silent", hold=found.hold_id, detail=error.detail)
            return _unknown(found)


def _unknown(found: Outcome) -> OutcomeUnknown:
    return OutcomeUnknown(hold_id=found.hold_id)


def _told(error: RolloutError, found: Outcome) -> RolloutError:
    error.members.setdefault("decision_id", found.decision_id)
    error.headers = {**found.headers, **error.headers}
    if found.sent and error.http_status in (502, 504):
        error.should_retry = False
    return error
