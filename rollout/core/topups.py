"""Top-ups: room in one window of a meter, beyond its cap; what was drawn of one when it ends stays in the window's cap.

They are for windows that last: of a day, of a month, or for good. Amounts in the meter's unit, times UTC epoch seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from rollout.core.holds import Books, Rows, booking, expiry
from rollout.core.meters import MAX_AMOUNT, PLATFORM, Bucket, BucketTopUp, Caller, Meter, window_of
from rollout.core.times import rfc3339
from rollout.errors import Conflict, InvalidRequest

_ID = re.compile(r"top_[A-Za-z0-9_-]{1,50}")


@dataclass(frozen=True)
class NewTopUp:
    """What is asked for. `effective` None: at once; `expires` None: with its window. `subject` is the key's id or the end
    user's, where the meter has a window for each. Who makes the `id` may ask twice and gets one top-up."""

    meter_id: str
    amount: int
    effective: int | None = None
    expires: int | None = None
    subject: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.amount <= MAX_AMOUNT:
            raise InvalidRequest(
                f"A top-up's amount is a whole number from 1 to {MAX_AMOUNT}.",
                param="amount",
                remedy="To take room away, void the top-up that gave it, or lower the meter's cap.",
            )
        if self.id is not None and not _ID.fullmatch(self.id):
            raise InvalidRequest(
                "A top-up's id is top_ and then at most 50 letters, digits, - or _.", param="id"
            )


@dataclass(frozen=True)
class TopUp:
    """In force from `effective` up to, without, `expires`, in the window from `start` up to `ends` (None: it never ends).

    `subject` is that of its bucket.
    """

    tenant_id: str
    id: str
    meter_id: str
    subject: str
    start: int
    ends: int | None
    amount: int
    effective: int
    expires: int | None
    reason: str
    created_by: str
    created_at: int
    voided_at: int | None = None

    @property
    def until(self) -> int | None:
        """When it ends by itself; None: never."""
        return self.ends if self.expires is None else self.expires

    def state(self, now: int) -> str:
        """pending, active, expired or void."""
        if self.voided_at is not None:
            return "void"
        if self.until is not None and self.until <= now:
            return "expired"
        return "pending" if now < self.effective else "active"

    def check_not_ended(self, now: int) -> None:
        """Raises Conflict."""
        if self.state(now) not in ("pending", "active"):
            raise _ended()

    def in_force(self, at: int) -> bool:
        """Whether it topped up its window at that time."""
        return self.effective <= at and all(end is None or at < end for end in (self.until, self.voided_at))

    def is_what(self, asked: NewTopUp, subject: str) -> bool:
        """Whether this is what was asked for; what was left out then, and is now, is the same."""
        effective = self.created_at if asked.effective is None else asked.effective
        return (asked.meter_id, subject, asked.amount, effective, asked.expires) == (
            self.meter_id, self.subject, self.amount, self.effective, self.expires,
        )  # fmt: skip


def subject_of(meter: Meter, named: str | None) -> str:
    """The subject of the meter's bucket that `named`, a key's id or an end user's, has. Raises InvalidRequest."""
    if meter.level not in ("api_key", "end_user"):
        if named is not None:
            raise InvalidRequest(
                f"A meter of level {meter.level} counts nobody by himself: leave `subject` out.",
                param="subject",
            )
        return ""
    name = named or meter.subject
    if name is None:
        raise InvalidRequest(
            "This meter has a window for each: name in `subject` the key's id, or the end user's.",
            param="subject",
        )
    subject = meter.subject_of(Caller(name, name))
    if subject is None:
        raise InvalidRequest(f"This meter counts {meter.subject!r} alone.", param="subject")
    return subject


def new_topup(
    asked: NewTopUp, topup_id: str, meter: Meter, subject: str, *, by: str, reason: str, now: int
) -> TopUp:
    """Raises InvalidRequest for a meter whose windows do not last, and for times that make no sense."""
    if not meter.lasts:
        raise InvalidRequest(
            f"{meter.name} counts by the {meter.period}; only meters of a day, a month or for life are topped up.",
            param="meter",
            remedy="Raise the meter's cap instead.",
        )
    effective = now if asked.effective is None else asked.effective
    if effective < now:
        raise InvalidRequest(
            f"effective must not lie in the past; {rfc3339(effective)} does.",
            param="effective",
            remedy="Leave `effective` out, and it tops up the window of now at once.",
        )
    if not meter.in_force(effective):
        raise InvalidRequest(f"{meter.name} does not count at {rfc3339(effective)}.", param="effective")
    start, ends = window_of(meter, effective)
    if asked.expires is not None and asked.expires <= effective:
        raise InvalidRequest("`expires` must lie after `effective`.", param="expires")
    if asked.expires is not None and ends is not None and asked.expires > ends:
        raise InvalidRequest(
            f"A top-up is of one window, and this one ends at {rfc3339(ends)}.",
            param="expires",
            remedy="Leave `expires` out, and top up the windows after it by themselves.",
        )
    return TopUp(
        meter.tenant_id, topup_id, meter.id, subject, start, ends, asked.amount, effective, asked.expires,
        reason, by, now,
    )  # fmt: skip


def give(meter: Meter, bucket: Bucket, topup: TopUp, now: int) -> Rows:
    """The bucket of its window with the top-up, and the entry that says so. Raises InvalidRequest when it is too much."""
    books = Books({meter.id: meter}, {bucket.key: bucket}, (), now)
    before = books.buckets[bucket.key]
    given = meter.cap_at(now) + before.topped + sum(one.amount for one in before.topups)
    if given + topup.amount > MAX_AMOUNT:
        raise InvalidRequest(f"With this the cap would be above {MAX_AMOUNT}.", param="amount")
    carried = BucketTopUp(topup.id, topup.amount, topup.effective, topup.expires)
    books.buckets[bucket.key] = before._replace(topups=(*before.topups, carried))
    books.enter(
        booking(
            bucket.key, f"{topup.id}.topup", "topup", topup.created_by, topup.reason, now, d_cap=topup.amount
        )
    )
    return books.rows()


def take_back(meter: Meter, bucket: Bucket, topup: TopUp, *, by: str, reason: str, now: int) -> Rows:
    """The bucket without the top-up, as if it had not been given: only what nothing else in the cap covers was drawn from it,
    and stays. Raises Conflict when it has ended."""
    books = Books({meter.id: meter}, {bucket.key: bucket}, (), now)
    before = books.buckets[bucket.key]
    carried = next((one for one in before.topups if one.id == topup.id), None)
    if carried is None:  # the clock went back
        raise _ended()
    after = before._replace(topups=tuple(one for one in before.topups if one is not carried))
    beyond = before.used + before.held - after.cap_by(meter, now)
    drawn = min(carried.amount, max(0, beyond)) if carried.in_force(now) else 0
    books.buckets[bucket.key] = after._replace(topped=after.topped + drawn)
    books.enter(expiry(bucket, topup.id, carried.amount - drawn, by, now)._replace(reason=reason))
    return books.rows()


def _ended() -> Conflict:
    return Conflict(
        "The top-up has ended.", remedy="Nothing is left of it to take back; a cap is lowered by itself."
    )


def topup_json(topup: TopUp) -> dict[str, Any]:
    """The shape that admins see. `ends_at`: when it ends by itself."""
    return {
        "id": topup.id,
        "tenant": None if topup.tenant_id == PLATFORM else topup.tenant_id,
        "meter": topup.meter_id,
        "subject": topup.subject or None,
        "amount": topup.amount,
        "effective": rfc3339(topup.effective),
        "expires": rfc3339(topup.expires),
        "ends_at": rfc3339(topup.until),
        "voided_at": rfc3339(topup.voided_at),
        "reason": topup.reason,
        "created_by": topup.created_by,
        "created_at": rfc3339(topup.created_at),
    }
