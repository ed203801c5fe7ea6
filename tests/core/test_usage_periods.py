"""Periods, words and sums of usage reports."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rollout.core.usage import (
    ADMIN_DIMENSIONS,
    DIMENSIONS,
    Figures,
    Period,
    Tally,
    dimensions,
    period,
    report,
    report_columns,
    report_json,
    report_rows,
)
from rollout.errors import InvalidRequest

NOW = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def test_days_are_those_of_the_time_zone_and_both_ends_count() -> None:
    asked = period("2026-11-01", "2026-11-02", "Asia/Jakarta", NOW)
    assert asked == Period(at("2026-10-31T17:00:00Z"), at("2026-11-02T17:00:00Z"), "Asia/Jakarta")


def test_a_day_on_which_the_clocks_change_has_its_own_length() -> None:
    asked = period("2026-10-25", "2026-10-25", "Europe/Berlin", NOW)
    assert asked.until - asked.since == 25 * 3600


def test_times_are_taken_as_they_are() -> None:
    asked = period("2026-11-01T06:30:00Z", "2026-11-01T09:00:00+01:00", "Asia/Jakarta", NOW)
    assert (asked.since, asked.until) == (at("2026-11-01T06:30:00Z"), at("2026-11-01T08:00:00Z"))


def test_without_a_period_it_is_the_30_days_that_end_today() -> None:
    asked = period(None, None, "UTC", NOW)
    assert (asked.since, asked.until) == (at("2026-10-24T00:00:00Z"), at("2026-11-23T00:00:00Z"))


def test_a_period_may_last_a_year_and_no_longer() -> None:
    assert period("2025-11-23", "2026-11-22", "UTC", NOW).since == at("2025-11-23T00:00:00Z")
    with pytest.raises(InvalidRequest, match="at most 366 days"):
        period("2025-11-21", "2026-11-22", "UTC", NOW)


@pytest.mark.parametrize(
    ("since", "until", "param"),
    [
        ("yesterday", None, "from"),
        ("2026-02-30", None, "from"),
        ("2026-11-01T00:00:00", None, "from"),
        ("0001-01-01", None, "from"),
        (None, "9999-12-31", "to"),
        (None, "9999-12-31T23:59:59Z", "to"),
        ("2026-11-03", "2026-11-02", "from"),
        ("2026-11-02T00:00:00Z", "2026-11-02T00:00:00Z", "from"),
    ],
)
def test_a_wrong_end_of_a_period_is_named(since: str | None, until: str | None, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        period(since, until, "UTC", NOW)
    assert refused.value.members["param"] == param


def test_words_are_told_apart_by_who_asks() -> None:
    assert dimensions("day, model,day", DIMENSIONS) == ("day", "model")
    assert dimensions(None, DIMENSIONS) == dimensions("", DIMENSIONS) == ()
    assert dimensions("vendor", ADMIN_DIMENSIONS) == ("vendor",)
    for text in ("vendor", "tenant", "day,", "cost"):
        with pytest.raises(InvalidRequest, match="not by") as refused:
            dimensions(text, DIMENSIONS)
        assert refused.value.members["param"] == "by"


def test_quarters_add_up_to_days_of_the_zone_and_lines_stand_in_order() -> None:
    asked = period("2026-11-01", "2026-11-03", "Asia/Kathmandu", NOW)  # UTC+05:45
    midnight = at("2026-11-01T18:15:00Z")
    tallies = [
        Tally(midnight, {"end_user": "ana"}, Figures(requests=1, cost_usd_micro=5)),
        Tally(midnight - 900, {"end_user": None}, Figures(requests=2, images=3)),
        Tally(midnight + 86_400 - 900, {"end_user": "ana"}, Figures(requests=4, pending_usd_micro=7)),
        Tally(midnight, {"end_user": None}, Figures(requests=8)),
    ]
    done = report(asked, ("day", "end_user"), tallies)
    names = [(row["day"], row["end_user"]) for row in report_rows(done)]
    assert names == [("2026-11-01", None), ("2026-11-02", "ana"), ("2026-11-02", None)]
    assert [list(row.values())[2:] for row in report_rows(done)] == [
        [2, 3, 0, 0, 0, 0],
        [5, 0, 0, 0, 5, 7],
        [8, 0, 0, 0, 0, 0],
    ]
    assert all(list(row) == report_columns(done) for row in report_rows(done))
    assert done.total == Figures(requests=15, images=3, cost_usd_micro=5, pending_usd_micro=7)
    shown = report_json(done)
    assert (shown["from"], shown["to"], shown["tz"]) == (
        "2026-10-31T18:15:00Z",
        "2026-11-03T18:15:00Z",
        "Asia/Kathmandu",
    )
    assert shown["data"] == report_rows(done)
