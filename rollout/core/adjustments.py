"""Adjustments: a person corrects what a tenant used of a feature, in every window that counted it, and in the statement.

Speed and slots are not corrected: their windows are over before anybody could. Amounts in `unit`, negative for what is given
back; times UTC epoch seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.core.decisions import check_feature
from rollout.core.holds import Books, Rows, booking
from rollout.core.meters import MAX_AMOUNT, Bucket, BucketKey, Meter, open_bucket
from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

UNITS = ("image", "usd_micro", "request")

_ID = re.compile(r"adj_[A-Za-z0-9_-]{1,50}")


@dataclass(frozen=True)
class NewAdjustment:
    """What is asked for. `at` None: now. Who makes the `id` may ask twice and gets one adjustment."""

    tenant_id: str
    feature: str
    unit: str
    amount: int
    at: int | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        check_feature(self.feature)
        if self.unit not in UNITS:
            raise InvalidRequest(
                f"There is no unit {self.unit!r} to adjust; there are {', '.join(UNITS)}.", param="unit"
            )
        if not 1 <= abs(self.amount) <= MAX_AMOUNT:
            raise InvalidRequest(
                f"An adjustment's amount is a whole number from -{MAX_AMOUNT} to {MAX_AMOUNT}, and not 0.",
                param="amount",
            )
        if self.id is not None and not _ID.fullmatch(self.id):
            raise InvalidRequest(
                "An adjustment's id is adj_ and then at most 50 letters, digits, - or _.", param="id"
            )


@dataclass(frozen=True)
class Adjustment:
    """`at`: in whose windows it is booked."""

    tenant_id: str
    id: str
    feature: str
    unit: str
    amount: int
    at: int
    reason: str
    created_by: str
    created_at: int

    def is_what(self, asked: NewAdjustment) -> bool:
        """Whether this is what was asked for; what was left out then, and is now, is the same."""
        at = self.created_at if asked.at is None else asked.at
        return (asked.tenant_id, asked.feature, asked.unit, asked.amount, at) == (
            self.tenant_id, self.feature, self.unit, self.amount, self.at,
        )  # fmt: skip


def check_at(at: int, since: int, now: int) -> None:
    """Raises InvalidRequest unless `at` lies between the tenant's beginning and now."""
    if at > now:
        raise InvalidRequest(f"at must not lie in the future; {rfc3339(at)} does.", param="at")
    if at < since:
        raise InvalidRequest(f"at must not lie before the tenant was added, on {rfc3339(since)}.", param="at")


def windows(
    adjustment: Adjustment, meters: Iterable[Meter], opened: Mapping[str, Bucket]
) -> list[tuple[Meter, Bucket]]:
    """Where it is booked: the windows at its time, in order of locking; one that nobody used is as it begins.

    `meters` are those with lasting windows that the tenant had at that time, `opened` their windows of then that there are: a time zone may
    have changed since.
    """
    found = [
        (meter, opened.get(meter.id) or open_bucket(meter, adjustment.at))
        for meter in meters
        if meter.level in ("tenant", "feature")
        and meter.in_force(adjustment.at)
        and meter.counts(adjustment.feature, adjustment.unit)
    ]
    return sorted(found, key=lambda item: item[1].key)


def book(
    adjustment: Adjustment,
    wanted: Sequence[tuple[Meter, Bucket]],
    live: Mapping[str, Meter],
    buckets: Mapping[BucketKey, Bucket],
    now: int,
) -> Rows:
    """An entry in each of the windows `wanted`; `live` are the meters, by id, that still count and may alert.

    Raises InvalidRequest, naming the meter, when less than nothing would be used of it, or more than can be counted.
    """
    books = Books(live, buckets, (), now)
    for number, (meter, window) in enumerate(wanted):
        used = books.buckets[window.key].used
        if not 0 <= used + adjustment.amount <= MAX_AMOUNT:
            raise InvalidRequest(
                f"{meter.name} ({meter.id}) has {used} used in its window from {rfc3339(window.start)}; "
                f"{adjustment.amount} cannot be added to that.",
                param="amount",
                remedy="Adjust by less, or at the time at which it was used.",
            )
        entry_id, by, reason = f"{adjustment.id}.{number}", adjustment.created_by, adjustment.reason
        books.enter(booking(window.key, entry_id, "adjust", by, reason, now, d_used=adjustment.amount))
    return books.rows()


def adjustment_json(adjustment: Adjustment) -> dict[str, Any]:
    """The shape that admins see."""
    return {
        "id": adjustment.id,
        "tenant": adjustment.tenant_id,
        "feature": adjustment.feature,
        "unit": adjustment.unit,
        "amount": adjustment.amount,
        "at": rfc3339(adjustment.at),
        "reason": adjustment.reason,
        "created_by": adjustment.created_by,
        "created_at": rfc3339(adjustment.created_at),
    }
