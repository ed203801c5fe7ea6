"""Kill bits: a feature stopped for everyone, or for one tenant (its halt). Two-valued; no row means not
killed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

InFlight = Literal["finish", "withhold"]
IN_FLIGHT: tuple[InFlight, ...] = get_args(InFlight)

EVERYONE = "*"
"""Stands for all tenants in `Kill.tenant_id`; no tenant can have this id."""


@dataclass(frozen=True)
class Kill:
    """`in_flight` says what becomes of work that the vendor already has: it is charged either way, and
    delivered (`finish`) or not (`withhold`). `revision` is the change that wrote it. `remind_at` in UTC epoch
    seconds; nothing revives by itself then."""

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
    }
