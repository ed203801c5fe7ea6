"""What is planned for a meter: caps to come, and a change of its time zone. Times are UTC epoch seconds.

    change                        the cap by time
                                  100
    cap 200 until Friday          200, Friday 100
    cap 150 from Wednesday on     200, Wednesday 150, Friday 100
    cap 80                         80, Wednesday 150, Friday 100
    cap 90, nothing planned        90

A new cap holds from its time up to its `until`, or else to the next change that is planned. What was planned for the
time between is replaced; what was planned for before and after stays. `scheduled` replaces the whole plan.

A new time zone counts from the end of the open window on: nothing is counted again. The first window after it may be
shorter than a day or month, never longer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rollout.core.meters import Meter, window, window_of
from rollout.core.tenants import check_tz
from rollout.core.times import check_ahead, rfc3339
from rollout.errors import InvalidRequest

MAX_SCHEDULED = 20

CHANGING = ("cap", "hard", "thresholds", "tz", "scheduled", "effective_at", "until")
"""What `revise` takes; the last two say when the new cap holds."""


def revise(before: Meter, fields: Mapping[str, Any], now: int) -> Meter:
    """`before` as it is by its plan at `now`, and with `fields`; itself when that changes nothing.

    Raises InvalidRequest, which names the field; other members than CHANGING are fixed.
    """
    fixed = sorted(set(fields) - set(CHANGING))
    if fixed:
        raise InvalidRequest(
            f"The {fixed[0]} of a meter is fixed, so that the books stay readable.",
            param=fixed[0],
            remedy="Archive this meter and add another.",
        )
    after = _due(before, now)
    if "scheduled" in fields:
        after = dataclasses.replace(after, scheduled=_plan(fields["scheduled"], now))
    if "cap" in fields:
        after = _with_cap(after, fields["cap"], fields.get("effective_at"), fields.get("until"), now)
    elif misplaced := [name for name in ("effective_at", "until") if fields.get(name) is not None]:
        raise InvalidRequest(
            f"{misplaced[0]} says when a new cap holds: send it with a cap.", param=misplaced[0]
        )
    if "tz" in fields:
        after = _in_zone(after, fields["tz"], now)
    simple = {name: fields[name] for name in ("hard", "thresholds") if name in fields}
    after = dataclasses.replace(after, **simple)
    return before if after == before else dataclasses.replace(after, version=before.version + 1)


def overlaps(one: Meter, other: Meter) -> bool:
    """Whether both count exactly the same, at some time."""
    return (
        _counts(one) == _counts(other) and _begins_before_end(one, other) and _begins_before_end(other, one)
    )


def _counts(meter: Meter) -> tuple[str | None, ...]:
    return meter.level, meter.feature, meter.unit, meter.period, meter.subject


def _begins_before_end(one: Meter, other: Meter) -> bool:
    return one.effective_at is None or other.until is None or one.effective_at < other.until


def _due(meter: Meter, now: int) -> Meter:
    """The meter after what was planned up to `now`, with what is still to come."""
    tz = meter.tz_at(now)
    first_day = window(meter.period, tz, now)[0]
    return dataclasses.replace(
        meter,
        cap=meter.cap_at(now),
        scheduled=tuple(item for item in meter.scheduled if item[0] > now),
        tz=tz,
        zones=tuple(
            zone
            for zone in meter.zones
            if zone[0] > now or (zone[1] == tz and zone[0] > first_day)  # the open window begins with it
        ),
    )


def _with_cap(meter: Meter, cap: int, since: int | None, until: int | None, now: int) -> Meter:
    """`cap` from `since` (None: now) up to `until` (None: the next change that is planned)."""
    check_ahead(since, now, "effective_at")
    check_ahead(until, now, "until")
    begin = now if since is None else since
    if until is None:
        later = [item for item in meter.scheduled if item[0] > begin]
    elif until <= begin:
        raise InvalidRequest("until must lie after effective_at.", param="until")
    else:
        later = [(until, meter.cap_at(until)), *(item for item in meter.scheduled if item[0] > until)]
    if since is None:
        return dataclasses.replace(meter, cap=cap, scheduled=_bounded(later))
    earlier = [item for item in meter.scheduled if item[0] < since]
    return dataclasses.replace(meter, scheduled=_bounded([*earlier, (since, cap), *later]))


def _plan(wanted: Sequence[tuple[int, int]], now: int) -> tuple[tuple[int, int], ...]:
    last = now
    for position, (at, _) in enumerate(wanted):
        if at <= last:
            raise InvalidRequest(
                f"What is scheduled lies in the future, each later than the one before; {rfc3339(at)} does not.",
                param=f"scheduled.{position}.at",
            )
        last = at
    return _bounded(wanted)


def _bounded(planned: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    if len(planned) > MAX_SCHEDULED:
        raise InvalidRequest(f"At most {MAX_SCHEDULED} caps of a meter can be planned.", param="scheduled")
    return tuple((at, cap) for at, cap in planned)


def _in_zone(meter: Meter, tz: str, now: int) -> Meter:
    """Counting in `tz` from the end of the open window on; a zone that was to come is forgotten."""
    check_tz(tz)
    begun = tuple(zone for zone in meter.zones if zone[0] <= now)
    meter = dataclasses.replace(meter, zones=begun)
    _, ends = window_of(meter, now)
    if tz == meter.tz:
        return meter
    if ends is None or meter.period == "minute":
        return dataclasses.replace(meter, tz=tz)
    return dataclasses.replace(meter, zones=(*begun, (ends, tz)))
