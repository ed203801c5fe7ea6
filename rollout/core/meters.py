"""Meters: what is limited, over which window, by how much; and what a full one answers.

    level      belongs to     counts                                    buckets of a window
    platform   PLATFORM       every tenant                              one
    phase      PLATFORM       every tenant that a phase let in          one
    tenant     the tenant     all of its features, or one               one
    feature    the tenant     one feature                               one
    api_key    the tenant     one key, or (no `subject`) each           one a key
    end_user   the tenant     one end user, or (no `subject`) each      one an end user

Amounts are integers (pictures, micro-dollars, requests, pieces of work in flight), times UTC epoch seconds.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

from rollout.core.tenants import check_tz
from rollout.core.times import rfc3339
from rollout.errors import InsufficientQuota, InvalidRequest, QuotaExceeded, RateLimitExceeded

Unit = Literal["image", "usd_micro", "request", "slot"]
Period = Literal["minute", "day", "month", "life", "concurrent"]
Level = Literal["platform", "phase", "tenant", "feature", "api_key", "end_user"]
BucketKey = tuple[str, str, str, int]
"""(tenant_id, meter_id, subject, start); in this order buckets are locked."""

UNITS: tuple[Unit, ...] = get_args(Unit)
PERIODS: tuple[Period, ...] = get_args(Period)
LEVELS: tuple[Level, ...] = get_args(Level)
MAX_AMOUNT = 2**53
"""Larger integers are not safe in JSON."""

PLATFORM = "~platform"
"""The tenant to which meters of level platform and phase belong; sorts after every tenant, so their buckets are locked last."""

SHARED: tuple[Level, ...] = ("platform", "phase")
ANONYMOUS = "anonymous"
"""The end user of calls that name none."""

THRESHOLDS = (50, 80, 100)
"""Percent of the cap that are told of, unless a meter says otherwise."""

MAX_THRESHOLDS = 10

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_UNIT_WORDS = {"image": "images", "usd_micro": "micro-dollars", "request": "requests", "slot": "requests"}
_PERIOD_WORDS = {
    "minute": "a minute",
    "day": "a day",
    "month": "a month",
    "life": "in all",
    "concurrent": "at once",
}


class Caller(NamedTuple):
    """On whose behalf something is counted; `phase` is the plan's that let him in."""

    api_key_id: str
    end_user: str | None = None
    phase: str | None = None


@dataclass(frozen=True)
class Meter:
    """A limit. One that is not `hard` counts and refuses nothing.

    `feature` None (levels platform and tenant) counts all features and is never hard: spent generation must
    not stop analysis. `scheduled` are caps to come, (at, cap) in order of time; `zones` changes of the time zone,
    (since, tz), each from the end of a window on. It counts from `effective_at` up to, without, `until`.
    `thresholds` are percent of the cap.
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
    subject: str | None = None
    thresholds: tuple[int, ...] = THRESHOLDS
    scheduled: tuple[tuple[int, int], ...] = ()
    zones: tuple[tuple[int, str], ...] = ()
    effective_at: int | None = None
    until: int | None = None
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
        for cap in (self.cap, *(cap for _, cap in self.scheduled)):
            check_cap(cap)
        if (self.unit == "slot") != (self.period == "concurrent"):
            raise InvalidRequest(
                "Slots are counted at once: unit slot and period concurrent go together.", param="period"
            )
        if self.effective_at is not None and self.until is not None and self.until <= self.effective_at:
            raise InvalidRequest("`until` must lie after `effective_at`.", param="until")
        self._check_place()
        self._check_thresholds()

    def _check_place(self) -> None:
        if self.shared != (self.tenant_id == PLATFORM):
            raise InvalidRequest(
                f"Meters of level {' and '.join(SHARED)} belong to no tenant, all others to one.",
                param="level",
            )
        if self.level in ("feature", "phase") and self.feature is None:
            raise InvalidRequest(f"A meter of level {self.level} names its feature.", param="feature")
        if self.level == "phase" and self.subject is None:
            raise InvalidRequest("A meter of level phase names its phase.", param="subject")
        if self.level in ("platform", "tenant", "feature") and self.subject is not None:
            raise InvalidRequest(
                "Only meters of level phase, api_key and end_user have a subject.", param="subject"
            )
        if self.subject is not None and not (1 <= len(self.subject) <= 255 and self.subject.isprintable()):
            raise InvalidRequest("A subject is 1-255 visible characters.", param="subject")
        if self.hard and self.feature is None:
            raise InvalidRequest(
                "A meter over all features cannot be hard: spent generation would stop analysis.",
                param="hard",
                remedy="Send hard: false, or name one feature.",
            )

    def _check_thresholds(self) -> None:
        right = all(type(percent) is int and 1 <= percent <= 1000 for percent in self.thresholds)
        if (
            not right
            or len(self.thresholds) > MAX_THRESHOLDS
            or list(self.thresholds) != sorted(set(self.thresholds))
        ):
            raise InvalidRequest(
                f"Thresholds are at most {MAX_THRESHOLDS} whole percentages from 1 to 1000, each larger than the one before.",
                param="thresholds",
            )

    @property
    def shared(self) -> bool:
        """Whether it counts more than one tenant; what it says is not for partners."""
        return self.level in SHARED

    @property
    def lasts(self) -> bool:
        """Whether its windows are worth telling of, topping up and correcting: speed and slots are free again before
        anybody could."""
        return self.period in ("day", "month", "life")

    def counts(self, feature: str, unit: str) -> bool:
        """Whether `unit` of `feature` is counted here."""
        return self.unit == unit and self.feature in (None, feature)

    def subject_of(self, caller: Caller) -> str | None:
        """The subject of the bucket that counts this caller; None: he is not counted here."""
        match self.level:
            case "phase":
                return "" if caller.phase == self.subject else None
            case "api_key":
                return caller.api_key_id if self.subject in (None, caller.api_key_id) else None
            case "end_user":
                name = caller.end_user or ANONYMOUS
                return end_user_subject(self.tenant_id, name) if self.subject in (None, name) else None
        return ""

    @property
    def only_subject(self) -> str | None:
        """The subject of its one bucket of a window; None: each key, or each end user, has one."""
        if self.level == "end_user" and self.subject is not None:
            return end_user_subject(self.tenant_id, self.subject)
        return self.subject if self.level in ("api_key", "end_user") else ""

    @property
    def zones_to_come(self) -> tuple[tuple[int, str], ...]:
        """Without the one that is in use already."""
        return tuple(zone for zone in self.zones if zone[1] != self.tz)

    @property
    def last_tz(self) -> str:
        """The time zone that it counts in when all that is planned has come."""
        return self.zones[-1][1] if self.zones else self.tz

    @property
    def due_at(self) -> int | None:
        """When the first of what is planned for it is to happen; None: nothing is."""
        planned = [at for at, _ in (*self.scheduled[:1], *self.zones_to_come)]
        return min(planned if self.until is None else [*planned, self.until], default=None)

    def in_force(self, now: int) -> bool:
        return (self.effective_at is None or self.effective_at <= now) and (
            self.until is None or now < self.until
        )

    def cap_at(self, now: int) -> int:
        """Its own cap by its schedule, without top-ups."""
        if not self.scheduled:
            return self.cap
        due = [cap for at, cap in self.scheduled if at <= now]
        return due[-1] if due else self.cap

    def tz_at(self, now: int) -> str:
        if not self.zones:
            return self.tz
        due = [tz for since, tz in self.zones if since <= now]
        return due[-1] if due else self.tz


class BucketTopUp(NamedTuple):
    """A top-up as its bucket carries it: in force from `effective` up to, without, `expires` (None: with the window)."""

    id: str
    amount: int
    effective: int
    expires: int | None

    def in_force(self, now: int) -> bool:
        return self.effective <= now and (self.expires is None or now < self.expires)


class Bucket(NamedTuple):
    """One window of one meter. `subject` '' is everybody whom the meter counts, `ends` None means never.

    `cap` is what it was when last written, top-ups included; below `used + held` if it was lowered. `topped` is
    what ended top-ups leave in the cap, since it was drawn; `alerted` the highest threshold that was told,
    `exhausted_at` when a request first did not fit.
    """

    tenant_id: str
    meter_id: str
    subject: str
    start: int
    ends: int | None
    cap: int
    used: int = 0
    held: int = 0
    topups: tuple[BucketTopUp, ...] = ()
    topped: int = 0
    alerted: int = 0
    exhausted_at: int | None = None

    @property
    def key(self) -> BucketKey:
        return self[:4]

    def cap_by(self, meter: Meter, now: int) -> int:
        """What the window may come to now: the meter's own cap, and what tops it up."""
        own = meter.cap_at(now) + self.topped
        return own + sum(one.amount for one in self.topups if one.in_force(now)) if self.topups else own


@dataclass(frozen=True)
class Limit:
    """A meter with one of its windows as it stands: what rate headers and `/quotas` tell."""

    meter: Meter
    start: int
    ends: int | None
    cap: int
    used: int
    held: int
    subject: str = ""

    @property
    def remaining(self) -> int:
        return max(0, self.cap - self.used - self.held)

    @property
    def lasting(self) -> bool:
        """Whether waiting seconds will not help: day, month, life and money, unlike speed and slots."""
        return self.meter.unit == "usd_micro" or self.meter.period in ("day", "month", "life")

    def fits(self, amount: int) -> bool:
        return self.used + self.held + amount <= self.cap

    def wait(self, now: int) -> float:
        """Seconds until there may be room again: to the window's end; 1 for a slot, infinity for `life`."""
        if self.meter.period == "concurrent":
            return 1
        return math.inf if self.ends is None else max(1, self.ends - now)


@lru_cache(maxsize=1024)
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


def window_of(meter: Meter, now: int) -> tuple[int, int | None]:
    """The meter's window that holds `now`. The first one after a change of the time zone begins with the change."""
    start, ends = window(meter.period, meter.tz_at(now), now)
    if not meter.zones or ends is None:
        return start, ends
    since = max((at for at, _ in meter.zones if at <= now), default=start)
    return max(start, since), min([ends, *(at for at, _ in meter.zones if at > now)])


def open_bucket(meter: Meter, now: int, subject: str = "") -> Bucket:
    """The bucket that counts at `now`, as it is before anybody used it."""
    start, ends = window_of(meter, now)
    return Bucket(meter.tenant_id, meter.id, subject, start, ends, meter.cap_at(now))


def limit_of(meter: Meter, bucket: Bucket, now: int) -> Limit:
    bucket, _ = end_topups(meter, bucket, now)
    cap = bucket.cap_by(meter, now)
    return Limit(meter, bucket.start, bucket.ends, cap, bucket.used, bucket.held, bucket.subject)


def end_topups(meter: Meter, bucket: Bucket, now: int) -> tuple[Bucket, list[tuple[BucketTopUp, int]]]:
    """The bucket without the top-ups that have expired, and for each the rest that nobody drew.

    What was used and held beyond the meter's own cap was drawn from top-ups, from those that expire first; it
    stays in the cap, so that nothing that was sold is sold again.
    """
    if not bucket.topups:
        return bucket, []
    gone = [one for one in bucket.topups if one.expires is not None and one.expires <= now]
    rests = []
    for one in sorted(gone, key=lambda one: (one.expires, one.id)):
        own = meter.cap_at(one.expires or now) + bucket.topped
        drawn = min(one.amount, max(0, bucket.used + bucket.held - own))
        left = tuple(other for other in bucket.topups if other.id != one.id)
        bucket = bucket._replace(topups=left, topped=bucket.topped + drawn)
        rests.append((one, one.amount - drawn))
    return bucket, rests


def end_user_subject(tenant_id: str, end_user: str) -> str:
    """The end user as buckets name him: a hash, so that the books hold no names."""
    return hashlib.sha256(f"{tenant_id}\n{end_user}".encode()).hexdigest()[:40]


def check_cap(cap: object) -> None:
    """Raises InvalidRequest."""
    if isinstance(cap, bool) or not isinstance(cap, int) or not 0 <= cap <= MAX_AMOUNT:
        raise InvalidRequest(f"A cap is a whole number from 0 to {MAX_AMOUNT}.", param="cap")


def refusal(full: Sequence[tuple[Limit, int]], decision_id: str, now: int) -> QuotaExceeded:
    """The error for `full`: the limits that have no room, each with the amount that does not fit.

    Day, month, life and money name the code before speed and slots; among equals the one that resets last,
    since no earlier retry can succeed. Of a limit that tenants share a partner learns when to come back, no more.
    """
    lasting = [item for item in full if item[0].lasting]
    limit, amount = max(lasting or full, key=lambda item: item[0].wait(now))
    wait = limit.wait(now)
    kind: type[QuotaExceeded] = InsufficientQuota if lasting else RateLimitExceeded
    refused = kind(
        _full(limit, amount),
        remedy=_remedy(limit, amount, wait),
        retry_after=None if math.isinf(wait) else int(wait),
        limit=None if limit.meter.shared else limit.meter.name,
        violated_policies=[item[0].meter.name for item in full if not item[0].meter.shared] or None,
        resets_at=None if math.isinf(wait) else rfc3339(now + wait),
        decision_id=decision_id,
    )
    refused.full, refused.at = tuple(full), now
    return refused


def _full(limit: Limit, amount: int) -> str:
    meter = limit.meter
    if meter.shared:
        return "The service has reached a limit of its own."
    allowed = f"{limit.cap} {_UNIT_WORDS[meter.unit]} {_PERIOD_WORDS[meter.period]}"
    return f"{meter.name} is {allowed}: {limit.used} used, {limit.held} held, and this needs {amount}."


def _remedy(limit: Limit, amount: int, wait: float) -> str | None:
    """None: the error's own, to wait for the reset."""
    if limit.meter.shared:
        return "Ask the operator when there will be room again." if math.isinf(wait) else None
    if amount > limit.cap:
        return "Ask for less, or for a larger quota: this can never fit."
    return "Ask the operator for a larger quota: this limit never resets." if math.isinf(wait) else None


def default_name(unit: Unit, period: Period) -> str:
    """What a meter is called when nobody names it: `image-day`, `money-month`, `concurrent`."""
    if period == "concurrent":
        return "concurrent"
    return f"{'money' if unit == 'usd_micro' else unit}-{period}"


def shortage(limit: Limit) -> str | None:
    """What it means that more is used and held than the cap allows; None: it is not so."""
    taken = limit.used + limit.held
    if taken <= limit.cap or not limit.meter.hard:
        return None
    wait = "there is room" if limit.ends is None else f"the window ends at {rfc3339(limit.ends)}"
    return (
        f"{taken} of {limit.cap} are used or held: nothing is cancelled, and new work waits until {wait}, "
        "or until the cap is raised."
    )


def meter_json(meter: Meter) -> dict[str, Any]:
    """The shape that admins see."""
    return {
        "id": meter.id,
        "tenant": None if meter.shared else meter.tenant_id,
        "name": meter.name,
        "level": meter.level,
        "subject": meter.subject,
        "feature": meter.feature,
        "unit": meter.unit,
        "period": meter.period,
        "tz": meter.tz,
        "zones": [{"since": rfc3339(since), "tz": tz} for since, tz in meter.zones_to_come],
        "cap": meter.cap,
        "scheduled": [{"at": rfc3339(at), "cap": cap} for at, cap in meter.scheduled],
        "hard": meter.hard,
        "thresholds": list(meter.thresholds),
        "effective_at": rfc3339(meter.effective_at),
        "until": rfc3339(meter.until),
    }


def limit_json(limit: Limit) -> dict[str, Any]:
    """The shape that partners see in `/quotas`."""
    meter = limit.meter
    return {
        "meter": meter.id,
        "name": meter.name,
        "level": meter.level,
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
