"""Meters: what is limited, over which window, by how much; and what a full one answers.

Amounts are integers (pictures, micro-dollars, requests, pieces of work in flight), times UTC epoch seconds.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from rollout.core.tenants import check_tz
from rollout.core.times import rfc3339
from rollout.errors import InsufficientQuota, InvalidRequest, QuotaExceeded, RateLimitExceeded

Unit = Literal["image", "usd_micro", "request", "slot"]
Period = Literal["minute", "day", "month", "life", "concurrent"]
Level = Literal["tenant", "feature"]
BucketKey = tuple[str, str, str, int]
"""(tenant_id, meter_id, subject, start); in this order buckets are locked."""

UNITS: tuple[Unit, ...] = get_args(Unit)
PERIODS: tuple[Period, ...] = get_args(Period)
LEVELS: tuple[Level, ...] = get_args(Level)
MAX_AMOUNT = 2**53
"""Larger integers are not safe in JSON."""

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_UNIT_WORDS = {"image": "images", "usd_micro": "micro-dollars", "request": "requests", "slot": "requests"}
_PERIOD_WORDS = {
    "minute": "a minute",
    "day": "a day",
    "month": "a month",
    "life": "in all",
    "concurrent": "at once",
}


@dataclass(frozen=True)
class Meter:
    """A limit of one tenant. One that is not `hard` counts and refuses nothing.

    `feature` None (level `tenant`) counts all features and is never hard: spent generation must not stop
    analysis.
    """

    id: str
    tenant_id: str
    name: str
    level: Level
    feature: str | None
    unit: Unit
    period: Period
    tz: str
    cap: int
    hard: bool = True
    version: int = 1
    created_at: int = 0

    def __post_init__(self) -> None:
        _one_of("level", self.level, LEVELS)
        _one_of("unit", self.unit, UNITS)
        _one_of("period", self.period, PERIODS)
        check_tz(self.tz)
        if len(self.name) > 64 or not _SLUG.fullmatch(self.name):
            raise InvalidRequest(
                "A meter's name is at most 64 lower-case letters and digits, in words joined by hyphens.",
                param="name",
            )
        if isinstance(self.cap, bool) or not isinstance(self.cap, int) or not 0 <= self.cap <= MAX_AMOUNT:
            raise InvalidRequest(f"A cap is a whole number from 0 to {MAX_AMOUNT}.", param="cap")
        if (self.unit == "slot") != (self.period == "concurrent"):
            raise InvalidRequest(
                "Slots are counted at once: unit slot and period concurrent go together.", param="period"
            )
        if self.level == "feature" and self.feature is None:
            raise InvalidRequest("A meter of level feature names its feature.", param="feature")
        if self.hard and self.feature is None:
            raise InvalidRequest(
                "A meter over all features cannot be hard: spent generation would stop analysis.",
                param="hard",
                remedy="Send hard: false, or name one feature.",
            )

    def counts(self, feature: str, unit: str) -> bool:
        """Whether `unit` of `feature` is counted here."""
        return self.unit == unit and self.feature in (None, feature)


@dataclass(frozen=True)
class Bucket:
    """One window of one meter. `subject` '' is the whole tenant, `ends` None means never. A `cap` below
    `used + held` was lowered."""

    tenant_id: str
    meter_id: str
    subject: str
    start: int
    ends: int | None
    cap: int
    used: int = 0
    held: int = 0

    @property
    def key(self) -> BucketKey:
        return (self.tenant_id, self.meter_id, self.subject, self.start)

    def fits(self, amount: int) -> bool:
        return self.used + self.held + amount <= self.cap


@dataclass(frozen=True)
class Limit:
    """A meter with its window as it stands: what rate headers and `/quotas` tell."""

    meter: Meter
    start: int
    ends: int | None
    cap: int
    used: int
    held: int

    @property
    def remaining(self) -> int:
        return max(0, self.cap - self.used - self.held)

    @property
    def lasting(self) -> bool:
        """Whether waiting seconds will not help: day, month, life and money, unlike speed and slots."""
        return self.meter.unit == "usd_micro" or self.meter.period in ("day", "month", "life")

    def wait(self, now: int) -> float:
        """Seconds until there may be room again: to the window's end; 1 for a slot, infinity for `life`."""
        if self.meter.period == "concurrent":
            return 1
        return math.inf if self.ends is None else max(1, self.ends - now)


def window(period: Period, tz: str, now: int) -> tuple[int, int | None]:
    """(start, end) of the window that holds `now`; end None: it never ends.

    Days and months are those of the calendar in `tz`, so a day may have 23 or 25 hours. A midnight that does
    not exist is the moment the clock jumps; one that comes twice is the first.
    """
    if period in ("life", "concurrent"):
        return 0, None
    if period == "minute":
        start = now - now % 60
        return start, start + 60
    zone = ZoneInfo(tz)
    first = datetime.fromtimestamp(now, zone).date()
    if _midnight(first + timedelta(days=1), zone) <= now:  # the clock went back over midnight
        first += timedelta(days=1)
    if period == "day":
        return _midnight(first, zone), _midnight(first + timedelta(days=1), zone)
    first = first.replace(day=1)
    return _midnight(first, zone), _midnight((first + timedelta(days=31)).replace(day=1), zone)


def open_bucket(meter: Meter, now: int) -> Bucket:
    """The bucket that counts at `now`, as it is before anybody used it."""
    start, ends = window(meter.period, meter.tz, now)
    return Bucket(meter.tenant_id, meter.id, "", start, ends, meter.cap)


def limit_of(meter: Meter, bucket: Bucket) -> Limit:
    return Limit(meter, bucket.start, bucket.ends, bucket.cap, bucket.used, bucket.held)


def refusal(full: Sequence[tuple[Limit, int]], decision_id: str, now: int) -> QuotaExceeded:
    """The error for `full`: the limits that have no room, each with the amount that does not fit.

    Day, month, life and money name the code before speed and slots; among equals the one that resets last,
    since no earlier retry can succeed.
    """
    lasting = [item for item in full if item[0].lasting]
    limit, amount = max(lasting or full, key=lambda item: item[0].wait(now))
    wait = limit.wait(now)
    allowed = f"{limit.cap} {_UNIT_WORDS[limit.meter.unit]} {_PERIOD_WORDS[limit.meter.period]}"
    kind: type[QuotaExceeded] = InsufficientQuota if lasting else RateLimitExceeded
    return kind(
        f"{limit.meter.name} is {allowed}: {limit.used} used, {limit.held} held, and this needs {amount}.",
        remedy=_remedy(limit, amount, wait),
        retry_after=None if math.isinf(wait) else int(wait),
        limit=limit.meter.name,
        violated_policies=[item[0].meter.name for item in full],
        resets_at=None if math.isinf(wait) else rfc3339(now + wait),
        decision_id=decision_id,
    )


def _remedy(limit: Limit, amount: int, wait: float) -> str | None:
    """None: the error's own, to wait for the reset."""
    if amount > limit.cap:
        return "Ask for less, or for a larger quota: this can never fit."
    return "Ask the operator for a larger quota: this limit never resets." if math.isinf(wait) else None


def default_name(unit: Unit, period: Period) -> str:
    """What a meter is called when nobody names it: `image-day`, `money-month`, `concurrent`."""
    if period == "concurrent":
        return "concurrent"
    return f"{'money' if unit == 'usd_micro' else unit}-{period}"


def revise(before: Meter, fields: Mapping[str, Any]) -> Meter:
    """`before` with `cap` and `hard` from `fields`; raises InvalidRequest for the members that are fixed."""
    fixed = sorted(set(fields) - {"cap", "hard"})
    if fixed:
        raise InvalidRequest(
            f"The {fixed[0]} of a meter is fixed, so that the books stay readable; cap and hard may change.",
            param=fixed[0],
            remedy="Archive this meter and add another.",
        )
    after = dataclasses.replace(before, **fields)
    return before if after == before else dataclasses.replace(after, version=before.version + 1)


def meter_json(meter: Meter) -> dict[str, Any]:
    """The shape that admins see."""
    return {
        "id": meter.id,
        "tenant": meter.tenant_id,
        "name": meter.name,
        "level": meter.level,
        "feature": meter.feature,
        "unit": meter.unit,
        "period": meter.period,
        "tz": meter.tz,
        "cap": meter.cap,
        "hard": meter.hard,
    }


def limit_json(limit: Limit) -> dict[str, Any]:
    """The shape that partners see in `/quotas`."""
    meter = limit.meter
    return {
        "meter": meter.id,
        "name": meter.name,
        "feature": meter.feature,
        "unit": meter.unit,
        "period": meter.period,
        "cap": limit.cap,
        "used": limit.used,
        "held": limit.held,
        "remaining": limit.remaining,
        "resets_at": rfc3339(limit.ends),
        "hard": meter.hard,
    }


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def _one_of(field: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InvalidRequest(f"There is no {field} {value!r}; there are {', '.join(allowed)}.", param=field)
