"""What a change of a plan is expected to use, and whether it fits: sums that round against us."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollout.core.decisions import TenantFacts
from rollout.core.meters import PLATFORM, Limit, Meter
from rollout.core.simulations import Asked, Forecast, Recorded, Use, forecast, head_room, replay
from rollout.core.tenants import Tenant

METER = Meter("mtr_1", PLATFORM, "images", "platform", "image-generation", "image", "day", "UTC", 100)


def asked(name: str, was: bool, will: bool) -> Asked:
    facts = TenantFacts(Tenant(name, name))
    return Asked(facts, "beta" if was else None, "beta" if will else None)


def test_who_stays_uses_what_it_used_and_who_comes_as_much_as_one_of_those_who_are_in() -> None:
    used = {"a": Use(10, 20, 1_000), "b": Use(1, 1, 1), "out": Use(50, 50, 50)}
    everyone = [
        asked("a", True, True),
        asked("b", True, False),
        asked("c", True, True),
        asked("d", False, True),
    ]
    assert forecast(everyone, used) == Forecast(now=Use(11, 21, 1_001), then=Use(14, 27, 1_334))
    assert forecast([asked("out", False, False)], used) == Forecast(Use(), Use())


def test_where_nobody_is_in_nothing_can_be_expected() -> None:
    assert forecast([asked("d", False, True)], {"d": Use(5, 5, 5)}).then == Use()


@pytest.mark.parametrize(
    ("unit", "period", "expected", "fits"),
    [
        ("image", "day", 10, True),
        ("image", "month", 285, False),
        ("request", "day", 4, True),
        ("usd_micro", "day", 715, False),
    ],
)
def test_a_budget_is_compared_with_what_one_period_is_expected_to_use(
    unit: str, period: str, expected: int, fits: bool
) -> None:
    meter = replace(METER, unit=unit, period=period)  # type: ignore[arg-type]
    told = head_room(Limit(meter, 0, None, cap=100, used=99, held=0), Use(50, 133, 10_000), days=14)
    assert (told["expected"], told["fits"], told["used"]) == (expected, fits, 99)


def test_what_no_plan_decided_stays_as_it_was() -> None:
    records = [
        Recorded("a", 3, ground="killed"),
        Recorded("a", 2, ground="tenant_halted"),
        Recorded("a", 4, ground="not_granted"),
        Recorded("a", 1, ground="model"),
        Recorded("b", 7),
    ]
    told = replay(records, lambda record: record.tenant_id == "a")
    assert told == {
        "decisions": 17,
        "allowed": 7,
        "denied": 10,
        "newly_allowed": {"decisions": 4, "tenants": 1},
        "newly_denied": {"decisions": 7, "tenants": 1},
    }
