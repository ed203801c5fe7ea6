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
    advance,
    compile_flag,
    default_phases,
    parse_audience,
    partner_bucket,
    pause,
    plan_json,
    resume,
    roll_back,
)
from rollout.core.plans import RunState as State
from rollout.errors import Conflict, InvalidRequest

FEATURE = "image-generation"
KEYS = ("internal", "private_beta", "wider_beta", "percentage", "general_availability")


def standing(phase: str, state: State = "running", number: int = 4) -> RunningPlan:
    return RunningPlan(Plan(FEATURE, "salt", default_phases(FEATURE)), Run(number, phase, state, 100, "ana"))


def test_the_default_plan_has_the_five_phases_with_a_quota_each() -> None:
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


def test_an_advance_ends_one_run_and_begins_the_next_phase() -> None:
    move = advance(standing("private_beta"), None, "bob", 200)
    assert move.ended == Run(4, "private_beta", "completed", 100, "ana", left_at=200)
    assert move.run == Run(5, "wider_beta", "running", 200, "bob")


def test_an_advance_may_skip_phases() -> None:
    assert advance(standing("internal"), "percentage", "bob", 200).run.phase == "percentage"


def test_a_rollback_goes_to_the_previous_phase_or_an_earlier_one() -> None:
    move = roll_back(standing("percentage"), None, "bob", 200)
    assert move.ended == Run(4, "percentage", "rolled_back", 100, "ana", left_at=200)
    assert move.run == Run(5, "wider_beta", "running", 200, "bob")
    assert roll_back(standing("percentage"), "internal", "bob", 200).run.phase == "internal"


def test_a_paused_plan_is_not_advanced_but_may_be_rolled_back() -> None:
    paused = standing("wider_beta", "paused")
    with pytest.raises(Conflict, match="paused"):
        advance(paused, None, "bob", 200)
    assert roll_back(paused, None, "bob", 200).run == Run(5, "private_beta", "running", 200, "bob")


def test_pause_and_resume_keep_the_run() -> None:
    move = pause(standing("wider_beta"))
    assert move.ended is None
    assert move.run == Run(4, "wider_beta", "paused", 100, "ana")
    assert resume(standing("wider_beta", "paused")).run == Run(4, "wider_beta", "running", 100, "ana")


def test_pausing_what_is_paused_and_resuming_what_runs_are_conflicts() -> None:
    with pytest.raises(Conflict, match="is paused, not running"):
        pause(standing("wider_beta", "paused"))
    with pytest.raises(Conflict, match="is running, not paused"):
        resume(standing("wider_beta"))


def test_there_is_nothing_after_the_last_phase_and_nothing_before_the_first() -> None:
    with pytest.raises(Conflict, match="last phase"):
        advance(standing("general_availability"), None, "bob", 200)
    with pytest.raises(Conflict, match="first phase"):
        roll_back(standing("internal"), None, "bob", 200)


@pytest.mark.parametrize("to", ["private_beta", "internal", "nowhere"])
def test_an_advance_to_a_phase_that_is_not_later_names_the_field(to: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        advance(standing("private_beta"), to, "bob", 200)
    assert refused.value.members["param"] == "to"


@pytest.mark.parametrize("to", ["private_beta", "percentage", "nowhere"])
def test_a_rollback_to_a_phase_that_is_not_earlier_names_the_field(to: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        roll_back(standing("private_beta"), to, "bob", 200)
    assert refused.value.members["param"] == "to"


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


@given(st.lists(st.integers(0, BASIS_POINTS), min_size=2, max_size=8).map(sorted))
def test_no_sequence_of_raised_shares_removes_a_tenant(shares: list[int]) -> None:
    members: set[int] = set()
    for share in shares:
        inside = {number for number, bucket in enumerate(BUCKETS) if bucket < share}
        assert members <= inside
        members = inside


BUCKETS = [partner_bucket("salt", f"tenant-{number}") for number in range(10_000)]

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
    assert [phase["open"] for phase in shown["phases"]] == [True, True, False, False, False]
    assert "salt" not in str(shown)
