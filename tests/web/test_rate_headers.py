"""Rate headers as draft 10 and the vendors' SDKs want them."""

from __future__ import annotations

import re

from rollout.core.meters import Limit, Meter, open_bucket
from rollout.web.rates import rate_headers

NOON = 1_795_348_800
"""2026-11-22 12:00:00 UTC."""
FALL_BACK = 1_793_534_400
"""2026-11-01 12:00 UTC, the day that New York has for 25 hours."""


def limit(unit: str, period: str, cap: int, used: int, *, tz: str = "UTC", now: int = NOON) -> Limit:
    meter = Meter(
        "mtr_1",
        "acme",
        f"{unit.replace('_', '-')}-{period}",
        "feature",
        "image-generation",
        unit,
        period,
        tz,
        cap,
    )
    window = open_bucket(meter, now)
    return Limit(meter, window.start, window.ends, cap, used, 0)


def test_policies_tell_each_limit_and_states_what_is_left_the_scarcest_first() -> None:
    headers = rate_headers(
        [limit("request", "minute", 60, 6), limit("image", "day", 10, 9)], NOON + 15, anthropic=False
    )

    assert (
        headers["RateLimit-Policy"]
        == '"image-day";q=10;w=86400;rollout-unit="image", "request-minute";q=60;w=60'
    )
    assert re.fullmatch(
        r'"image-day";r=1;t=43185;pk=:[A-Za-z0-9+/]+={0,2}:, "request-minute";r=54;t=45;pk=:[A-Za-z0-9+/]+={0,2}:',
        headers["RateLimit"],
    )
    assert "acme" not in str(headers)


def test_a_day_has_its_real_length() -> None:
    day = limit("image", "day", 10, 0, tz="America/New_York", now=FALL_BACK)

    assert ";w=90000;" in rate_headers([day], FALL_BACK, anthropic=False)["RateLimit-Policy"]


def test_what_never_ends_has_no_window() -> None:
    headers = rate_headers(
        [limit("usd_micro", "life", 5, 0), limit("slot", "concurrent", 4, 1)], NOON, anthropic=False
    )

    assert '"usd-micro-life";q=5;rollout-unit="usd_micro"' in headers["RateLimit-Policy"]
    assert '"slot-concurrent";q=4;qu="concurrent-requests"' in headers["RateLimit-Policy"]
    assert ";t=" not in headers["RateLimit"]


def test_each_sdk_finds_its_own_fields_for_speed() -> None:
    speed = limit("request", "minute", 60, 6)

    assert rate_headers([speed], NOON + 15, anthropic=False) | {"RateLimit": "", "RateLimit-Policy": ""} == {
        "RateLimit": "",
        "RateLimit-Policy": "",
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "54",
        "x-ratelimit-reset-requests": "45s",
    }
    assert (
        rate_headers([speed], NOON + 15, anthropic=True)["anthropic-ratelimit-requests-reset"]
        == "2026-11-22T12:01:00Z"
    )


def test_a_cap_of_nothing_is_told_too() -> None:
    assert (
        '"image-day";r=0' in rate_headers([limit("image", "day", 0, 0)], NOON, anthropic=False)["RateLimit"]
    )
