"""What is planned for a meter: caps now, at a time, until a time; time zones; which meters overlap."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import NOON, calendar_window, meter

from rollout.core.meters import PLATFORM, Meter, window_of
from rollout.core.schedule import MAX_SCHEDULED, overlaps, revise
from rollout.errors import InvalidRequest

HOUR = 3600
DAILY = meter("image", "day", 100)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def caps(of: Meter, *hours: int) -> list[int]:
    """Its cap so many hours after noon."""
    return [of.cap_at(NOON + hour * HOUR) for hour in hours]


# -- caps --------------------------------------------------------------------------------------------------------


def test_a_cap_changes_now_and_makes_a_new_version() -> None:
    after = revise(DAILY, {"cap": 5, "hard": False, "thresholds": (10,)}, NOON)
    assert (after.cap, after.hard, after.thresholds, after.version) == (5, False, (10,), 2)
    assert revise(DAILY, {"cap": 100}, NOON) is DAILY
    assert revise(DAILY, {}, NOON) is DAILY


def test_a_cap_changes_at_a_time() -> None:
    after = revise(DAILY, {"cap": 5, "effective_at": NOON + 2 * HOUR}, NOON)
    assert (after.cap, after.scheduled) == (100, ((NOON + 2 * HOUR, 5),))
    assert caps(after, 0, 1, 2, 3) == [100, 100, 5, 5]


def test_a_cap_holds_until_a_time_and_then_it_is_what_it_was() -> None:
    after = revise(DAILY, {"cap": 500, "until": NOON + 2 * HOUR}, NOON)
    assert caps(after, 0, 1, 2) == [500, 500, 100]


def test_a_cap_may_hold_from_a_time_until_a_time() -> None:
    after = revise(DAILY, {"cap": 500, "effective_at": NOON + HOUR, "until": NOON + 3 * HOUR}, NOON)
    assert caps(after, 0, 1, 2, 3) == [100, 500, 500, 100]


def test_a_cap_of_now_holds_up_to_the_next_that_is_planned() -> None:
    planned = revise(DAILY, {"cap": 500, "until": NOON + 4 * HOUR}, NOON)
    planned = revise(planned, {"cap": 300, "effective_at": NOON + 2 * HOUR}, NOON)
    assert caps(planned, 0, 1, 2, 3, 4) == [500, 500, 300, 300, 100]
    lowered = revise(planned, {"cap": 7}, NOON)
    assert caps(lowered, 0, 1, 2, 3, 4) == [7, 7, 300, 300, 100]


def test_a_cap_for_a_time_replaces_what_was_planned_for_that_time_alone() -> None:
    planned = revise(DAILY, {"scheduled": [(NOON + hour * HOUR, hour) for hour in (1, 2, 3, 4)]}, NOON)
    after = revise(planned, {"cap": 50, "effective_at": NOON + 2 * HOUR, "until": NOON + 4 * HOUR}, NOON)
    assert caps(after, 0, 1, 2, 3, 4) == [100, 1, 50, 50, 4]


def test_the_whole_plan_can_be_replaced_and_dropped() -> None:
    planned = revise(DAILY, {"cap": 5, "effective_at": NOON + HOUR}, NOON)
    other = revise(planned, {"scheduled": [(NOON + 2 * HOUR, 6)]}, NOON)
    assert other.scheduled == ((NOON + 2 * HOUR, 6),)
    assert revise(other, {"scheduled": []}, NOON).scheduled == ()
    assert caps(revise(planned, {"cap": 9, "scheduled": []}, NOON), 0, 1) == [9, 9]


def test_what_has_come_is_written_down_and_what_is_to_come_stays() -> None:
    planned = revise(DAILY, {"scheduled": [(NOON + 10, 5), (NOON + 20, 6), (NOON + 30, 7)]}, NOON)
    assert planned.due_at == NOON + 10
    after = revise(planned, {}, NOON + 20)
    assert (after.cap, after.scheduled, after.due_at) == (6, ((NOON + 30, 7),), NOON + 30)
    assert (revise(after, {}, NOON + 20) is after, after.version) == (True, planned.version + 1)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"cap": 5, "effective_at": NOON}, "effective_at"),
        ({"cap": 5, "until": NOON - 1}, "until"),
        ({"cap": 5, "effective_at": NOON + 9, "until": NOON + 9}, "until"),
        ({"until": NOON + 9}, "until"),
        ({"effective_at": NOON + 9}, "effective_at"),
        ({"cap": -1}, "cap"),
        ({"cap": -1, "effective_at": NOON + 9}, "cap"),
        ({"scheduled": [(NOON, 5)]}, "scheduled.0.at"),
        ({"scheduled": [(NOON + 9, 5), (NOON + 9, 6)]}, "scheduled.1.at"),
        ({"scheduled": [(NOON + 9 + number, 5) for number in range(MAX_SCHEDULED + 1)]}, "scheduled"),
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"thresholds": (80, 50)}, "thresholds"),
        ({"period": "month"}, "period"),
        ({"unit": "request"}, "unit"),
        ({"level": "tenant"}, "level"),
        ({"feature": None}, "feature"),
        ({"subject": "key_1"}, "subject"),
        ({"name": "another"}, "name"),
    ],
)
def test_a_wrong_change_is_refused_by_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        revise(DAILY, fields, NOON)
    assert refused.value.members["param"] == param


CHANGE = st.tuples(
    st.integers(0, 1000),
    st.one_of(st.none(), st.integers(1, 50)),
    st.one_of(st.none(), st.integers(1, 50)),
    st.integers(0, 20),
)
"""A cap, from when and until when (seconds from then on), and how long after the change before."""


@given(st.lists(CHANGE, max_size=8))
def test_the_cap_is_at_each_moment_what_was_said_last_for_it(
    changes: list[tuple[int, Any, Any, int]],
) -> None:
    """The model is a cap for each second, and the seconds at which somebody planned a change."""
    end = NOON + 250
    model = dict.fromkeys(range(NOON, end + 1), 100)
    planned: set[int] = set()
    known, now = DAILY, NOON
    for cap, since, until, later in changes:
        now += later
        planned = {second for second in planned if second > now}
        begin = now if since is None else now + since
        stop = (
            now + until
            if until is not None
            else min([second for second in planned if second > begin], default=end + 1)
        )
        fields = {"cap": cap} | ({} if since is None else {"effective_at": begin})
        if until is not None:
            fields["until"] = stop
        if stop <= begin:
            with pytest.raises(InvalidRequest):
                revise(known, fields, now)
            continue
        known = revise(known, fields, now)
        model |= dict.fromkeys(range(begin, stop), cap)
        planned = {second for second in planned if not begin <= second < stop} | {begin} - {now}
        planned |= {stop} if until is not None else set()
        assert [known.cap_at(second) for second in range(now, end + 1)] == [
            model[second] for second in range(now, end + 1)
        ]
        assert list(known.scheduled) == sorted(known.scheduled)
        assert {second for second, _ in known.scheduled} == planned


# -- time zones --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "noon"),
    [
        ("UTC", "Asia/Jakarta", "2026-11-22T12:00"),
        ("Asia/Jakarta", "UTC", "2026-11-22T12:00"),
        ("UTC", "America/New_York", "2026-11-01T02:00"),  # the day of 25 hours
        ("America/New_York", "Pacific/Auckland", "2026-09-26T12:00"),  # of 23
        ("Pacific/Auckland", "America/New_York", "2026-09-26T23:00"),
    ],
)
@pytest.mark.parametrize("period", ["day", "month"])
def test_a_new_zone_counts_from_the_end_of_the_open_window_on(
    before: str, after: str, noon: str, period: Any
) -> None:
    now = at(noon)
    known = meter("image", period, 3, tz=before)
    start, ends = calendar_window(period, before, now)
    assert ends is not None
    moved = revise(known, {"tz": after}, now)
    assert (moved.tz, moved.zones, moved.due_at) == (before, ((ends, after),), ends)
    assert window_of(moved, now) == (start, ends)
    assert window_of(moved, ends) == (ends, calendar_window(period, after, ends)[1])
    settled = revise(moved, {}, ends)
    assert (settled.tz, settled.due_at) == (after, None)
    for moment in (ends, ends + HOUR, ends + 40 * 24 * HOUR):
        assert window_of(settled, moment) == window_of(moved, moment)
    later = ends + 40 * 24 * HOUR
    assert revise(settled, {}, later).zones == ()
    assert window_of(settled, later) == calendar_window(period, after, later)


def test_windows_follow_each_other_without_a_gap_over_changes_of_zone() -> None:
    known, now, seen = meter("image", "day", 3), NOON, []
    for tz in ("Asia/Jakarta", "Pacific/Auckland", "America/New_York", "UTC"):
        known = revise(known, {"tz": tz}, now)
        seen.append(window_of(known, now))
        now = seen[-1][1] or 0
        known = revise(known, {}, now)
    assert [ends for _, ends in seen[:-1]] == [start for start, _ in seen[1:]]


def test_a_zone_that_was_to_come_can_be_taken_back_or_replaced() -> None:
    moved = revise(DAILY, {"tz": "Asia/Jakarta"}, NOON)
    assert revise(moved, {"tz": "UTC"}, NOON).zones == ()
    assert revise(moved, {"tz": "Asia/Jakarta"}, NOON) is moved
    assert [tz for _, tz in revise(moved, {"tz": "Africa/Cairo"}, NOON).zones] == ["Africa/Cairo"]


@pytest.mark.parametrize(
    ("unit", "period"), [("request", "minute"), ("image", "life"), ("slot", "concurrent")]
)
def test_what_knows_no_days_changes_its_zone_at_once(unit: Any, period: Any) -> None:
    moved = revise(meter(unit, period, 3), {"tz": "Asia/Jakarta"}, NOON)
    assert (moved.tz, moved.zones) == ("Asia/Jakarta", ())
    assert window_of(moved, NOON) == window_of(meter(unit, period, 3), NOON)


@pytest.mark.parametrize(
    ("tz", "noon", "hours"),
    [("America/New_York", "2026-11-01T17:00", 25), ("Pacific/Auckland", "2026-09-26T23:00", 23)],
)
def test_days_after_a_change_of_zone_are_as_long_as_the_calendar_says(tz: str, noon: str, hours: int) -> None:
    moved = revise(DAILY, {"tz": tz}, at(noon) - 48 * HOUR)
    start, ends = window_of(moved, at(noon))
    assert (ends or 0) - start == hours * HOUR


# -- which count the same ----------------------------------------------------------------------------------------


def test_meters_overlap_when_they_count_the_same_at_some_time() -> None:
    assert overlaps(DAILY, replace(DAILY, id="mtr_other", name="other", cap=7, tz="Asia/Jakarta", hard=False))
    for differently in (
        {"period": "month"},
        {"unit": "request"},
        {"level": "tenant"},
        {"feature": "image-analysis"},
        {"level": "api_key"},
    ):
        assert not overlaps(DAILY, replace(DAILY, **differently))  # type: ignore[arg-type]
    mine, yours = (replace(DAILY, level="api_key", subject=key) for key in ("key_1", "key_2"))
    assert not overlaps(mine, yours)
    assert not overlaps(mine, replace(DAILY, level="api_key"))


def test_meters_that_follow_each_other_do_not_overlap() -> None:
    first, second = replace(DAILY, until=NOON), replace(DAILY, effective_at=NOON)
    assert not overlaps(first, second)
    assert not overlaps(second, first)
    assert overlaps(first, replace(DAILY, effective_at=NOON - 1))
    assert overlaps(first, DAILY)


def test_shared_meters_overlap_like_others() -> None:
    shared = replace(DAILY, tenant_id=PLATFORM, level="platform")
    assert overlaps(shared, replace(shared, id="mtr_other"))
    assert not overlaps(shared, replace(shared, level="phase", subject="private_beta"))
