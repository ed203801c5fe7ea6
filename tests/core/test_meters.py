"""Meters: what a valid one is, which window counts, what a full one answers."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import NOON, calendar_window, meter

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.meters import (
    MAX_AMOUNT,
    Bucket,
    Limit,
    Meter,
    default_name,
    limit_json,
    limit_of,
    meter_json,
    open_bucket,
    refusal,
    window,
)
from rollout.errors import InsufficientQuota, InvalidRequest, RateLimitExceeded

HOUR = 3600
ZONES = [
    "UTC",
    "Asia/Jakarta",
    "Asia/Kathmandu",
    "America/New_York",
    "Pacific/Auckland",
    "Australia/Lord_Howe",
    "Africa/Cairo",  # midnight does not exist on one day of the year
    "Asia/Beirut",
    "America/Havana",  # midnight comes twice
    "Africa/Casablanca",
]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


# -- windows ---------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["minute", "day", "month", "life", "concurrent"]),
    st.sampled_from(ZONES),
    st.integers(at("2015-01-01"), at("2036-01-01")),
)
def test_a_window_is_the_calendars(period: Any, tz: str, now: int) -> None:
    assert window(period, tz, now) == calendar_window(period, tz, now)


@pytest.mark.parametrize(
    ("tz", "noon", "hours"),
    [
        ("America/New_York", "2026-11-01T17:00", 25),
        ("America/New_York", "2026-03-08T16:00", 23),
        ("Pacific/Auckland", "2026-09-26T23:00", 23),
        ("Australia/Lord_Howe", "2026-04-04T12:00", 24),
        ("Africa/Cairo", "2026-04-24T10:00", 23),
        ("America/Havana", "2026-11-01T17:00", 25),
        ("Asia/Jakarta", "2026-11-22T12:00", 24),
    ],
)
def test_a_day_is_as_long_as_the_calendar_says(tz: str, noon: str, hours: int) -> None:
    start, ends = window("day", tz, at(noon))
    assert ends is not None
    assert ends - start == hours * HOUR


def test_a_day_whose_midnight_does_not_exist_begins_when_the_clock_jumps() -> None:
    jump = at("2026-04-23T22:00")  # Cairo: 23:59:59 is followed by 01:00:00
    assert window("day", "Africa/Cairo", jump)[0] == jump
    assert window("day", "Africa/Cairo", jump - 1)[1] == jump


def test_a_clock_that_goes_back_over_midnight_does_not_open_the_day_before_again() -> None:
    midnight = at("2010-11-07T02:30")  # St John's: at 00:01 it became 23:01 of the day before
    tomorrow = at("2010-11-08T03:30")
    for now in (midnight, midnight + 59, midnight + 60, midnight + HOUR, tomorrow - 1):
        assert window("day", "America/St_Johns", now) == (midnight, tomorrow)
    assert window("day", "America/St_Johns", midnight - 1)[1] == midnight


def test_months_end_with_their_last_day_leap_years_too() -> None:
    assert window("month", "UTC", at("2028-02-29T23:59")) == (at("2028-02-01"), at("2028-03-01"))
    assert window("month", "UTC", at("2026-12-31T23:59")) == (at("2026-12-01"), at("2027-01-01"))
    assert window("month", "Asia/Jakarta", at("2026-11-30T17:00"))[0] == at("2026-11-30T17:00")


@given(
    st.sampled_from(ZONES),
    st.sampled_from(["minute", "day", "month"]),
    st.integers(at("2000-01-01"), at("2037-01-01")),
)
def test_windows_follow_each_other_without_a_gap(tz: str, period: Any, now: int) -> None:
    start, ends = window(period, tz, now)
    assert ends is not None
    assert start <= now < ends
    assert window(period, tz, ends)[0] == ends
    assert window(period, tz, start - 1)[1] == start


# -- what a valid meter is -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"unit": "token"}, "unit"),
        ({"period": "week"}, "period"),
        ({"level": "galaxy"}, "level"),
        ({"level": "platform"}, "level"),
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"cap": -1}, "cap"),
        ({"cap": MAX_AMOUNT + 1}, "cap"),
        ({"cap": 1.5}, "cap"),
        ({"cap": True}, "cap"),
        ({"name": ""}, "name"),
        ({"name": "Image-Day"}, "name"),
        ({"name": "image--day"}, "name"),
        ({"name": 'a"b'}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"period": "concurrent"}, "period"),
        ({"unit": "slot"}, "period"),
        ({"feature": None}, "feature"),
        ({"level": "tenant", "feature": None, "hard": True}, "hard"),
    ],
)
def test_a_wrong_field_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        replace(meter("image", "day", 3), **changes)
    assert refused.value.members["param"] == param


def test_an_unknown_level_is_answered_with_the_levels_there_are() -> None:
    with pytest.raises(InvalidRequest, match="there are platform, phase, tenant, feature, api_key, end_user"):
        meter("image", "day", 3, level="galaxy")


@pytest.mark.parametrize("cap", [0, MAX_AMOUNT])
def test_caps_may_be_nothing_or_very_much(cap: int) -> None:
    assert meter("image", "day", cap).cap == cap


def test_a_meter_over_all_features_is_soft_and_counts_each_of_them() -> None:
    money = meter("usd_micro", "month", 10, level="tenant", feature=None, hard=False)
    assert money.counts(GENERATION, "usd_micro")
    assert money.counts(ANALYSIS, "usd_micro")
    assert not money.counts(ANALYSIS, "image")


def test_a_meter_of_a_feature_counts_that_feature_alone() -> None:
    images = meter("image", "day", 3)
    assert images.counts(GENERATION, "image")
    assert not images.counts(ANALYSIS, "image")


@pytest.mark.parametrize(
    ("unit", "period", "name"),
    [
        ("image", "day", "image-day"),
        ("usd_micro", "month", "money-month"),
        ("request", "minute", "request-minute"),
        ("slot", "concurrent", "concurrent"),
    ],
)
def test_a_meter_that_nobody_named_is_called_after_what_it_counts(unit: Any, period: Any, name: str) -> None:
    assert default_name(unit, period) == name


# -- what a full one answers -----------------------------------------------------------------------------------


def limit(of: Meter, *, used: int = 0, held: int = 0, now: int = NOON) -> Limit:
    bucket = open_bucket(of, now)
    return limit_of(of, Bucket(*bucket.key, bucket.ends, bucket.cap, used, held), now)


IMAGES, MONEY = meter("image", "day", 3), meter("usd_micro", "month", 5_000_000)
SPEED, SLOTS = meter("request", "minute", 60), meter("slot", "concurrent", 4)
LIFE = meter("image", "life", 1000)


def test_a_full_day_says_when_it_resets() -> None:
    error = refusal([(limit(IMAGES, used=2, held=1), 1)], "dec_7", NOON)
    assert type(error) is InsufficientQuota
    assert error.members == {
        "limit": "image-day",
        "violated_policies": ["image-day"],
        "resets_at": "2026-11-23T00:00:00Z",
        "decision_id": "dec_7",
    }
    assert error.retry_after == 12 * HOUR
    assert error.message == "image-day is 3 images a day: 2 used, 1 held, and this needs 1."


def test_speed_and_slots_ask_to_come_back_soon() -> None:
    speed = refusal([(limit(SPEED, used=60, now=NOON + 20), 1)], "dec_1", NOON + 20)
    assert (type(speed), speed.retry_after) == (RateLimitExceeded, 40)
    slots = refusal([(limit(SLOTS, held=4), 1)], "dec_1", NOON)
    assert (type(slots), slots.retry_after) == (RateLimitExceeded, 1)
    both = refusal([(limit(SLOTS, held=4), 1), (limit(SPEED, used=60), 1)], "dec_1", NOON)
    assert (both.members["limit"], both.retry_after) == ("request-minute", 60)


def test_what_lasts_names_the_code_before_speed_and_slots_and_all_are_told() -> None:
    full = [(limit(one, used=one.cap), 1) for one in (SPEED, SLOTS, IMAGES, MONEY)]
    error = refusal(full, "dec_1", NOON)
    assert type(error) is InsufficientQuota
    assert error.members["limit"] == "money-month"
    assert error.members["resets_at"] == "2026-12-01T00:00:00Z"
    assert error.members["violated_policies"] == [
        "request-minute",
        "slot-concurrent",
        "image-day",
        "money-month",
    ]


def test_money_is_a_quota_even_by_the_minute() -> None:
    by_minute = meter("usd_micro", "minute", 10)
    assert type(refusal([(limit(by_minute, used=10), 1)], "dec_1", NOON)) is InsufficientQuota


def test_a_quota_for_life_never_resets_and_says_so() -> None:
    error = refusal([(limit(IMAGES, used=3), 1), (limit(LIFE, used=1000), 1)], "dec_1", NOON)
    assert error.members["limit"] == "image-life"
    assert error.remedy_text == "Ask the operator for a larger quota: this limit never resets."
    assert "resets_at" not in error.members
    assert error.retry_after is None
    assert math.isinf(limit(LIFE).wait(NOON))


def test_a_request_that_can_never_fit_is_told_to_ask_for_less() -> None:
    error = refusal([(limit(IMAGES), 4)], "dec_1", NOON)
    assert error.remedy_text == "Ask for less, or for a larger quota: this can never fit."
    assert refusal([(limit(IMAGES, used=1), 3)], "dec_1", NOON).remedy_text == InsufficientQuota.remedy


def test_what_remains_is_never_below_nothing() -> None:
    assert limit(IMAGES, used=1, held=1).remaining == 1
    assert limit(IMAGES, used=9).remaining == 0


def test_limits_and_meters_are_shown_in_their_shapes() -> None:
    assert limit_json(limit(IMAGES, used=1)) == {
        "meter": "mtr_image_day", "name": "image-day", "level": "feature", "feature": GENERATION, "unit": "image", "period": "day",
        "cap": 3, "used": 1, "held": 0, "remaining": 2, "resets_at": "2026-11-23T00:00:00Z", "hard": True,
    }  # fmt: skip
    assert limit_json(limit(SLOTS))["resets_at"] is None
    assert meter_json(SLOTS) == {
        "id": "mtr_slot_concurrent", "tenant": "acme", "name": "slot-concurrent", "level": "feature",
        "subject": None, "feature": GENERATION, "unit": "slot", "period": "concurrent", "tz": "UTC", "zones": [], "cap": 4,
        "scheduled": [], "hard": True, "thresholds": [50, 80, 100], "effective_at": None, "until": None,
    }  # fmt: skip
