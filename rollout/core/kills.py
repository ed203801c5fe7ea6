"""Kill bits: a feature stopped for everyone, or for one tenant (its halt), or a vendor switched off. Two-valued; no row means
not killed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest, UpstreamUnavailable

InFlight = Literal["finish", "withhold"]
IN_FLIGHT: tuple[InFlight, ...] = get_args(InFlight)

EVERYONE = "*"
"""Stands for all tenants in `Kill.tenant_id`; no tenant can have this id."""

_VENDOR = "vendor:"
OFF_SECONDS = 30
"""What Retry-After says of a vendor that is switched off."""


def vendor_switch(vendor: str) -> str:
    """What stands in a feature's place for a vendor of the catalogue; no feature can have this name."""
    return _VENDOR + vendor


def vendor_of(switch: str) -> str | None:
    """The vendor whose switch this is; None for a feature."""
    return switch.removeprefix(_VENDOR) if switch.startswith(_VENDOR) else None


def switched_off(vendor: str, **members: Any) -> UpstreamUnavailable:
    """The refusal of a call for one of its models. An SDK that repeats it by itself would only make its caller wait."""
    error = UpstreamUnavailable(
        f"The vendor {vendor}, which makes this model, is switched off here at the moment; nothing was sent or charged.",
        remedy="Choose a model of another vendor from GET /v1/models, or call again after Retry-After.",
        retry_after=OFF_SECONDS,
        **members,
    )
    error.should_retry = False
    return error


@dataclass(frozen=True)
class Kill:
    """`feature`: a feature's name, or a vendor's switch. `in_flight` says what becomes of work that the vendor already
    has: it is charged either way, and delivered (`finish`) or not (`withhold`). `revision` is the change that wrote it.
    `remind_at` and `reminded_at`, when somebody was, in UTC epoch seconds; nothing revives by itself then."""

    feature: str
    tenant_id: str
    killed: bool
    in_flight: InFlight
    reason: str
    changed_by: str
    changed_at_ms: int
    revision: int
    remind_at: int | None = None
    reminded_at: int | None = None

    def __post_init__(self) -> None:
        if self.in_flight not in IN_FLIGHT:
            raise InvalidRequest(f"in_flight is one of {', '.join(IN_FLIGHT)}.", param="in_flight")


def kill_json(kill: Kill) -> dict[str, Any]:
    """The shape that admins see."""
    return {
        "tenant": None if kill.tenant_id == EVERYONE else kill.tenant_id,
        "in_flight": kill.in_flight,
        "reason": kill.reason,
        "by": kill.changed_by,
        "at": rfc3339(kill.changed_at_ms // 1000),
        "revision": kill.revision,
        "remind_at": rfc3339(kill.remind_at),
        "reminded_at": rfc3339(kill.reminded_at),
    }
