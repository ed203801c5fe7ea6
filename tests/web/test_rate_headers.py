"""Rate headers as draft 10 and the vendors' SDKs want them, read by a parser of RFC 9651."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import http_sf
import pytest

from rollout.core.meters import MAX_AMOUNT, PLATFORM, Limit, Meter, open_bucket, refusal
from rollout.web.rates import LARGEST, SPEED_SECONDS, SPREAD_SECONDS, rate_headers, retry_after

NOON = 1_795_348_800
"""2026-11-22 12:00:00 UTC."""
FALL_BACK = 1_793_534_400
"""2026-11-01 12:00 UTC, the day that New York has for 25 hours."""
SPRING_FORWARD = 1_790_463_600
"""2026-09-26 23:00 UTC: noon of the 27th in Auckland, which has 23 hours."""

SEEDS = [f"req_{number}" for number in range(200)]


def limit(
    unit: str,
    period: str,
    cap: int,
    used: int,
    *,
    tz: str = "UTC",
    now: int = NOON,
    level: str = "feature",
    subject: str = "",
) -> Limit:
    shared = level in ("platform", "phase")
    meter = Meter(
        "mtr_1",
        PLATFORM if shared else "acme",
        f"{unit.replace('_', '-')}-{period}",
        level,  # type: ignore[arg-type]
        "image-generation",
        unit,  # type: ignore[arg-type]
        period,  # type: ignore[arg-type]
        tz,
        cap,
    )
    window = open_bucket(meter, now)
    return Limit(meter, window.start, window.ends, cap, used, 0, subject)


def read(
    limits: list[Limit], now: int = NOON, seed: str = "req_1", *, anthropic: bool = False
) -> dict[str, Any]:
    """The headers, those of the draft as (name, parameters) pairs."""
    headers: dict[str, Any] = dict(rate_headers(limits, now, seed, anthropic=anthropic))
    for name in ("RateLimit-Policy", "RateLimit"):
        headers[name] = http_sf.parse(headers[name].encode(), tltype="list")
    return headers


def resets(one: Limit, now: int = NOON) -> set[int]:
    """What different answers say of one reset."""
    return {read([one], now, seed)["RateLimit"][0][1]["t"] for seed in SEEDS}


def test_policies_tell_each_limit_and_states_what_is_left_the_scarcest_first() -> None:
    headers = read([limit("request", "minute", 60, 6), limit("image", "day", 10, 9)], NOON + 15)

    assert headers["RateLimit-Policy"] == [
        ("image-day", {"q": 10, "w": 86_400, "rollout-unit": "image"}),
        ("request-minute", {"q": 60, "w": 60}),
    ]
    states = dict(headers["RateLimit"])
    assert list(states) == ["image-day", "request-minute"]
    assert (states["image-day"]["r"], states["request-minute"]["r"]) == (1, 54)
    assert {type(state["pk"]) for state in states.values()} == {bytes}
    assert "acme" not in str(headers)


@pytest.mark.parametrize(
    ("tz", "now", "hours"), [("America/New_York", FALL_BACK, 25), ("Pacific/Auckland", SPRING_FORWARD, 23)]
)
def test_a_day_has_its_real_length(tz: str, now: int, hours: int) -> None:
    ((_, policy),) = read([limit("image", "day", 10, 0, tz=tz, now=now)], now)["RateLimit-Policy"]

    assert policy["w"] == hours * 3600


def test_what_never_ends_has_no_window() -> None:
    headers = read([limit("usd_micro", "life", 5, 0), limit("slot", "concurrent", 4, 1)])

    assert dict(headers["RateLimit-Policy"]) == {
        "usd-micro-life": {"q": 5, "rollout-unit": "usd_micro"},
        "slot-concurrent": {"q": 4, "qu": "concurrent-requests"},
    }
    assert [set(state) for _, state in headers["RateLimit"]] == [{"r", "pk"}] * 2


def test_limits_that_tenants_share_and_soft_ones_are_not_told() -> None:
    own = limit("image", "day", 10, 9)
    shared = [limit("image", "life", 5, 5, level="platform")]
    soft = dataclasses.replace(own, meter=dataclasses.replace(own.meter, hard=False))

    assert rate_headers([*shared, soft], NOON, "req_1", anthropic=False) == {}
    assert [name for name, _ in read([own, *shared])["RateLimit-Policy"]] == ["image-day"]


def test_each_key_and_each_end_user_is_a_partition_of_its_own() -> None:
    keys = [limit("image", "day", 10, 0, level="api_key", subject=key) for key in ("key_1", "key_2")]
    partitions = [read([one])["RateLimit"][0][1]["pk"] for one in [limit("image", "day", 10, 0), *keys]]

    assert len(set(partitions)) == 3


def test_a_larger_number_than_the_syntax_has_is_told_as_its_largest() -> None:
    headers = read([limit("usd_micro", "month", MAX_AMOUNT, 5)])

    assert headers["RateLimit-Policy"][0][1]["q"] == headers["RateLimit"][0][1]["r"] == LARGEST


def test_a_cap_of_nothing_is_told_too() -> None:
    assert read([limit("image", "day", 0, 0)])["RateLimit"][0][1]["r"] == 0


def test_callers_come_back_one_after_another_and_none_before_the_reset() -> None:
    day = resets(limit("image", "day", 10, 9))
    minute = resets(limit("request", "minute", 60, 6), NOON + 15)

    assert (min(day), max(day)) == (12 * 3600, 12 * 3600 + SPREAD_SECONDS)
    assert minute == {45, 46, 47, 48}
    assert resets(limit("request", "minute", 60, 6), NOON) == {SPEED_SECONDS}


@pytest.mark.parametrize("level", ["feature", "platform"])
def test_retry_after_is_never_earlier_than_the_reset_that_is_told(level: str) -> None:
    full = limit("image", "day", 10, 10, level=level)
    refused = refusal([(limit("slot", "concurrent", 1, 1), 1), (full, 1)], "dec_1", NOON)
    refused.limits = (full,)
    waits = {seed: retry_after(refused, seed) for seed in SEEDS}

    assert {wait is not None and 0 <= wait - 12 * 3600 <= SPREAD_SECONDS for wait in waits.values()} == {True}
    assert len(set(waits.values())) > 1
    if level == "feature":
        told = {seed: read([full], seed=seed)["RateLimit"][0][1]["t"] for seed in SEEDS}
        assert told == waits


def test_where_waiting_does_not_help_nobody_is_told_to_come_back() -> None:
    assert retry_after(refusal([(limit("image", "life", 1, 1), 1)], "dec_1", NOON), "req_1") is None
    assert retry_after(refusal([(limit("slot", "concurrent", 1, 1), 1)], "dec_1", NOON), "req_1") == 1


@pytest.mark.parametrize(
    ("period", "at", "told"),
    [
        ("minute", NOON + 59, r"[1-4]s"),
        ("minute", NOON, r"1m0s"),
        ("day", NOON + 12 * 3600 - 370, r"6m(10|[1-3][0-9]|40)s"),
        ("day", NOON, r"12h0m([0-9]|[12][0-9]|30)s"),
    ],
)
def test_the_openai_sdks_find_the_fields_for_speed(period: str, at: int, told: str) -> None:
    headers = rate_headers([limit("request", period, 60, 6)], at, "req_1", anthropic=False)

    assert headers["x-ratelimit-limit-requests"] == "60"
    assert headers["x-ratelimit-remaining-requests"] == "54"
    assert re.fullmatch(told, headers["x-ratelimit-reset-requests"])
    assert not [name for name in headers if name.startswith("anthropic")]


def test_the_anthropic_sdks_find_theirs() -> None:
    headers = rate_headers([limit("request", "minute", 60, 6)], NOON, "req_1", anthropic=True)

    assert headers["anthropic-ratelimit-requests-limit"] == "60"
    assert headers["anthropic-ratelimit-requests-remaining"] == "54"
    assert headers["anthropic-ratelimit-requests-reset"] == "2026-11-22T12:01:00Z"
    assert not [name for name in headers if name.startswith("x-ratelimit")]
