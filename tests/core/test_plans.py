"""Phases, the legal moves between them, and audiences as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.flags import Constraint
from rollout.core.plans import (
    BASIS_POINTS,
    Everyone,
    Granted,
    Percentage,
    Phase,
    Plan,
    Run,
    RunningPlan,
    Segment,
    compile_flag,
    parse_audience,
    partner_bucket,
    plan_json,
)
from rollout.core.plans import RunState as State
from rollout.core.templates import default_phases
from rollout.errors import InvalidRequest

FEATURE = "image-generation"
KEYS = ("internal", "private_beta", "wider_beta", "percentage", "percentage_50", "general_availability")


def standing(phase: str, state: State = "running", number: int = 4) -> RunningPlan:
    return RunningPlan(Plan(FEATURE, "salt", default_phases(FEATURE)), Run(number, phase, state, 100, "ana"))


def test_the_default_plan_has_its_phases_with_a_quota_each() -> None:
    phases = default_phases(FEATURE)
    assert tuple(phase.key for phase in phases) == KEYS
    for phase in phases:
        assert {(meter["unit"], meter["period"]) for meter in phase.quota} == {
            ("image", "day"),
            ("image", "month"),
            ("usd_micro", "month"),
            ("request", "minute"),
            ("slot", "concurrent"),
        }


def test_pausing_does_not_change_the_flag() -> None:
    running, paused = standing("wider_beta"), standing("wider_beta", "paused")
    assert compile_flag(running, killed=False) == compile_flag(paused, killed=False)


def test_a_kill_is_mirrored_in_the_flag() -> None:
    assert compile_flag(standing("internal"), killed=True)["enabled"] is False
    assert compile_flag(standing("internal"), killed=False)["enabled"] is True


def test_each_open_phase_is_a_strategy_and_general_availability_one_of_its_own() -> None:
    for position, key in enumerate(KEYS):
        strategies = compile_flag(standing(key), killed=False)["strategies"]
        assert [strategy["title"] for strategy in strategies] == [
            f"phase:{key}" for key in KEYS[: position + 1]
        ]
    everyone = compile_flag(standing("general_availability"), killed=False)["strategies"][-1]
    assert [item["contextName"] for item in everyone["constraints"]] == ["halt"]


def test_phases_need_keys_of_their_own() -> None:
    with pytest.raises(InvalidRequest):
        Plan(FEATURE, "salt", ())
    with pytest.raises(InvalidRequest):
        Plan(FEATURE, "salt", (Phase("a", "A", Everyone()), Phase("a", "B", Everyone())))


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=63))
def test_a_bucket_is_one_of_ten_thousand_and_stays(salt: str, tenant: str) -> None:
    bucket = partner_bucket(salt, tenant)
    assert 0 <= bucket < BASIS_POINTS
    assert bucket == partner_bucket(salt, tenant)


def test_buckets_are_spread_evenly() -> None:
    inside = sum(partner_bucket("salt", f"tenant-{number}") < 1250 for number in range(10_000))
    assert abs(inside / 10_000 - 0.125) <= 0.009


BETA = {"contextName": "program", "operator": "IN", "values": ["beta"]}


@pytest.mark.parametrize(
    ("data", "audience"),
    [
        ({"kind": "granted"}, Granted()),
        ({"kind": "granted", "cohorts": ["alpha", "eu"]}, Granted(("alpha", "eu"))),
        ({"kind": "segment", "constraints": [BETA]}, Segment((Constraint("program", "IN", ("beta",)),))),
        ({"kind": "percentage", "basis_points": 1250}, Percentage(1250)),
        (
            {"kind": "percentage", "basis_points": 0, "filter": [BETA]},
            Percentage(0, (Constraint("program", "IN", ("beta",)),)),
        ),
        ({"kind": "all"}, Everyone()),
    ],
)
def test_an_audience_is_read_and_written_alike(data: dict[str, Any], audience: Any) -> None:
    assert parse_audience(data) == audience
    assert parse_audience(audience.as_json()) == audience
    assert audience.as_json() == data


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ("all", "audience"),
        ({}, "audience.kind"),
        ({"kind": "everyone"}, "audience.kind"),
        ({"kind": "all", "cohorts": []}, "audience.cohorts"),
        ({"kind": "granted", "cohorts": "alpha"}, "audience.cohorts"),
        ({"kind": "granted", "cohorts": ["a,b"]}, "audience.cohorts"),
        ({"kind": "granted", "cohorts": [""]}, "audience.cohorts"),
        ({"kind": "segment"}, "audience.constraints"),
        ({"kind": "segment", "constraints": []}, "audience.constraints"),
        (
            {"kind": "segment", "constraints": [{**BETA, "contextName": "grant"}]},
            "audience.constraints.0.contextName",
        ),
        (
            {"kind": "segment", "constraints": [{**BETA, "operator": "NOT_IN"}]},
            "audience.constraints.0.operator",
        ),
        ({"kind": "percentage"}, "audience.basis_points"),
        ({"kind": "percentage", "basis_points": 12.5}, "audience.basis_points"),
        ({"kind": "percentage", "basis_points": True}, "audience.basis_points"),
        ({"kind": "percentage", "basis_points": 10_001}, "audience.basis_points"),
        ({"kind": "percentage", "basis_points": -1}, "audience.basis_points"),
        ({"kind": "percentage", "basis_points": 1, "filter": {}}, "audience.filter"),
    ],
)
def test_an_audience_that_makes_no_sense_is_refused_at_its_field(data: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_audience(data)
    assert refused.value.members["param"] == param


def test_a_plan_shows_where_it_stands_and_not_its_salt() -> None:
    shown = plan_json(standing("private_beta"))
    assert shown["run"]["phase"] == "private_beta"
    assert [phase["open"] for phase in shown["phases"]] == [True, True, False, False, False, False]
    assert "salt" not in str(shown)
