"""Steps of a plan: which are possible, what they leave behind, and that of them all only a roll back removes anybody."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.decisions import GENERATION
from rollout.core.gates import Gate
from rollout.core.plans import (
    BASIS_POINTS,
    Everyone,
    Granted,
    Percentage,
    Phase,
    Plan,
    Run,
    RunningPlan,
    RunState,
    partner_bucket,
)
from rollout.core.steps import (
    STEPS,
    Advance,
    Edit,
    Jump,
    Pause,
    Restart,
    Resume,
    RollBack,
    Step,
    parse_step,
    step_json,
    take,
)
from rollout.core.templates import default_phases
from rollout.errors import Conflict, InvalidRequest

BUCKETS = [partner_bucket("salt", f"tenant-{number}") for number in range(10_000)]


def standing(phase: str, state: RunState = "running", open_to: str | None = None) -> RunningPlan:
    plan = Plan(GENERATION, "salt", default_phases(GENERATION), version=7)
    return RunningPlan(plan, Run(4, phase, state, 100, "ana", open_to=open_to))


def run_after(running: RunningPlan, step: Step) -> Run:
    return take(running, step, "bob", 200).run


def test_an_advance_ends_one_run_and_begins_the_next_phase() -> None:
    taken = take(standing("private_beta"), Advance(), "bob", 200)
    assert taken.ended == Run(4, "private_beta", "completed", 100, "ana", left_at=200)
    assert taken.run == Run(5, "wider_beta", "running", 200, "bob")
    assert taken.plan.version == 8


def test_an_advance_may_skip_phases() -> None:
    assert run_after(standing("internal"), Advance("percentage")).phase == "percentage"


def test_a_rollback_goes_to_the_previous_phase_or_an_earlier_one() -> None:
    taken = take(standing("percentage"), RollBack(), "bob", 200)
    assert taken.ended == Run(4, "percentage", "rolled_back", 100, "ana", left_at=200)
    assert taken.run == Run(5, "wider_beta", "running", 200, "bob")
    assert run_after(standing("percentage"), RollBack("internal")).phase == "internal"


def test_a_jump_goes_anywhere_and_back_with_everybody_who_is_in() -> None:
    assert run_after(standing("internal"), Jump("percentage")) == Run(5, "percentage", "running", 200, "bob")
    back = take(standing("percentage"), Jump("internal"), "bob", 200).after
    assert (back.run.phase, back.run.open_to) == ("internal", "percentage")
    assert [phase.key for phase in back.open_phases][-1] == "percentage"
    assert take(back, Advance(), "bob", 300).run.open_to == "percentage"
    assert take(back, Advance("percentage"), "bob", 300).run.open_to is None
    assert take(back, Advance("percentage_50"), "bob", 300).after.reach == 4


def test_a_rollback_ends_what_a_jump_back_kept() -> None:
    back = standing("private_beta", open_to="percentage")
    assert run_after(back, RollBack("private_beta")).open_to is None
    assert run_after(back, RollBack()).phase == "internal"
    assert run_after(standing("internal", open_to="percentage"), RollBack()) == Run(
        5, "internal", "running", 200, "bob"
    )


def test_a_restart_begins_the_phase_anew_and_keeps_who_is_in() -> None:
    taken = take(standing("private_beta", open_to="percentage"), Restart(), "bob", 200)
    assert taken.ended == Run(4, "private_beta", "completed", 100, "ana", 200, "percentage")
    assert taken.run == Run(5, "private_beta", "running", 200, "bob", open_to="percentage")


def test_a_restart_may_change_what_the_phase_says() -> None:
    after = take(
        standing("percentage"),
        Restart({"audience": {"basis_points": 1250}, "hold": {"failed_percent": 2}}),
        "bob",
        200,
    )
    phase = after.plan.phases[3]
    assert (phase.audience, phase.hold) == (Percentage(1250), Gate(failed_percent=2))
    assert after.run.number == 5


@pytest.mark.parametrize(
    ("at", "audience", "grows"),
    [
        ("percentage", {"basis_points": 999}, False),
        ("percentage", {"filter": [{"contextName": "region", "operator": "IN", "values": ["eu"]}]}, False),
        ("percentage", {"kind": "granted"}, False),
        ("internal", {"cohorts": ["internal", "friends"]}, True),
        ("internal", {"cohorts": ["friends"]}, False),
        ("internal", {"cohorts": None}, True),
        ("private_beta", {"cohorts": ["friends"]}, False),
        (
            "wider_beta",
            {"constraints": [{"contextName": "program", "operator": "IN", "values": ["ga"]}]},
            False,
        ),
    ],
)
def test_the_audience_of_a_phase_that_begins_anew_can_only_grow(at: str, audience: Any, grows: bool) -> None:
    step = Restart({"audience": audience})
    if grows:
        assert take(standing(at), step, "bob", 200).run.number == 5
        return
    with pytest.raises(Conflict) as refused:
        take(standing(at), step, "bob", 200)
    assert refused.value.members["param"] == f"phases.{at}.audience"


def test_a_restart_changes_no_other_phase() -> None:
    with pytest.raises(InvalidRequest) as refused:
        take(standing("percentage"), Restart({"phases": {"internal": None}}), "bob", 200)
    assert refused.value.members["param"] == "phases.percentage.phases"


def test_what_is_paused_goes_nowhere_but_back() -> None:
    paused = standing("wider_beta", "paused")
    for step in (Advance(), Jump("percentage"), Jump("internal"), Restart()):
        with pytest.raises(Conflict, match="paused"):
            take(paused, step, "bob", 200)
    assert run_after(paused, RollBack()) == Run(5, "private_beta", "running", 200, "bob")


def test_pause_and_resume_keep_the_run() -> None:
    taken = take(standing("wider_beta", open_to="percentage"), Pause(), "bob", 200)
    assert (taken.ended, taken.run) == (
        None,
        Run(4, "wider_beta", "paused", 100, "ana", open_to="percentage"),
    )
    assert run_after(standing("wider_beta", "paused"), Resume()) == Run(
        4, "wider_beta", "running", 100, "ana"
    )


@pytest.mark.parametrize(
    ("running", "step", "sentence"),
    [
        (standing("wider_beta", "paused"), Pause(), "is paused, not running"),
        (standing("wider_beta"), Resume(), "is running, not paused"),
        (standing("general_availability"), Advance(), "last phase"),
        (standing("internal"), RollBack(), "first phase"),
    ],
)
def test_a_step_that_makes_no_sense_is_a_conflict(running: RunningPlan, step: Step, sentence: str) -> None:
    with pytest.raises(Conflict, match=sentence):
        take(running, step, "bob", 200)


@pytest.mark.parametrize(
    "step",
    [
        *[Advance(to) for to in ("private_beta", "internal", "nowhere")],
        *[RollBack(to) for to in ("private_beta", "percentage", "nowhere")],
        *[Jump(to) for to in ("private_beta", "nowhere")],
    ],
)
def test_a_step_to_where_it_does_not_lead_names_the_field(step: Step) -> None:
    with pytest.raises(InvalidRequest) as refused:
        take(standing("private_beta"), step, "bob", 200)
    assert refused.value.members["param"] == "to"


def test_an_edit_keeps_the_run_and_one_that_changes_nothing_the_version_too() -> None:
    running = standing("private_beta")
    taken = take(running, Edit({"phases": {"percentage": {"title": "Some"}}}), "bob", 200)
    assert (taken.ended, taken.run, taken.plan.version) == (None, running.run, 8)
    assert (
        take(running, Edit({"phases": {"percentage": {"title": "Percentage"}}}), "bob", 200).after == running
    )


@pytest.mark.parametrize(
    "step",
    [
        Advance(),
        Advance("a"),
        RollBack(),
        RollBack("a"),
        Jump("a"),
        Restart(),
        Restart({"hold": None}),
        Pause(),
        Resume(),
        Edit({}),
    ],
)
def test_a_step_is_written_and_read_alike(step: Step) -> None:
    assert parse_step(step_json(step)) == step
    assert type(step) is STEPS[step.do]


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ("advance", "step"),
        ({}, "step.do"),
        ({"do": "fly"}, "step.do"),
        ({"do": ["advance"]}, "step.do"),
        ({"do": "pause", "to": "a"}, "step.to"),
        ({"do": "jump"}, "step.to"),
        ({"do": "jump", "to": 3}, "step.to"),
        ({"do": "edit"}, "step.patch"),
        ({"do": "edit", "patch": []}, "step.patch"),
        ({"do": "restart", "patch": "x"}, "step.patch"),
    ],
)
def test_what_is_no_step_is_refused_at_its_field(data: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_step(data, "step")
    assert refused.value.members["param"] == param


# -- who is in -----------------------------------------------------------------------------------------------


def inside(running: RunningPlan) -> set[int]:
    """Of 10,000 tenants those whom an open share lets in."""
    shares = [
        phase.audience.basis_points for phase in running.open_phases if isinstance(phase.audience, Percentage)
    ]
    everyone = any(isinstance(phase.audience, Everyone) for phase in running.open_phases)
    share = BASIS_POINTS if everyone else max(shares, default=0)
    return {number for number, bucket in enumerate(BUCKETS) if bucket < share}


@given(st.lists(st.integers(0, BASIS_POINTS), min_size=2, max_size=8))
def test_no_way_of_raising_a_share_removes_one_of_ten_thousand_tenants(shares: list[int]) -> None:
    """Each share is tried by restarting the phase with it: the ones that would shrink it are refused."""
    plan = Plan(GENERATION, "salt", (Phase("share", "Share", Percentage(shares[0])),))
    running = RunningPlan(plan, Run(1, "share", "running", 0, "ana"))
    for share in shares[1:]:
        members, step = inside(running), Restart({"audience": {"basis_points": share}})
        try:
            running = take(running, step, "bob", 1).after
        except Conflict:
            assert share < running.phase.audience.basis_points  # type: ignore[union-attr]
        assert members <= inside(running)


keys = st.sampled_from([phase.key for phase in default_phases(GENERATION)])
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Advance, st.none() | keys),
    st.builds(RollBack, st.none() | keys),
    st.builds(Jump, keys),
    st.just(Restart()),
    st.just(Pause()),
    st.just(Resume()),
)


@given(st.lists(steps, max_size=20))
def test_of_all_steps_only_a_rollback_closes_an_audience(taken: list[Step]) -> None:
    running = standing("internal")
    for step in taken:
        before = {phase.key for phase in running.open_phases}
        try:
            after = take(running, step, "bob", 200).after
        except (Conflict, InvalidRequest):
            continue
        assert after.plan.version == running.plan.version + 1
        assert after.run.number in (running.run.number, running.run.number + 1)
        if not isinstance(step, RollBack):
            assert before <= {phase.key for phase in after.open_phases}
        running = after


def test_edits_of_phases_to_come_open_nothing() -> None:
    running = dataclasses.replace(standing("private_beta"))
    edit = Edit({"phases": {"percentage": {"audience": {"kind": "granted"}}, "percentage_50": None}})
    assert take(running, edit, "bob", 200).after.open_phases == running.open_phases
    assert isinstance(running.plan.phases[0].audience, Granted)
