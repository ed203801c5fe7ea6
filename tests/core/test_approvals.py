"""Who must say yes to a step, and what an approval is of: one content, which any edit and any move make another."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepping import PLAN, running

from rollout.core.approvals import (
    Approval,
    ChangeRequest,
    approvals_needed,
    check_approver,
    content_hash,
)
from rollout.core.gates import Gate
from rollout.core.plans import Plan, RunningPlan
from rollout.core.steps import Advance, Edit, Jump, Pause, Restart, Resume, RollBack, Step, take
from rollout.errors import Conflict, InvalidRequest, PermissionDenied

TITLE = Edit({"phases": {"two": {"title": "Another"}}})
STEPS: list[Step] = [
    Advance(),
    Advance("three"),
    Jump("three"),
    Jump("zero"),
    Restart(),
    RollBack(),
    Pause(),
    TITLE,
]


def with_gates(**gates: dict[str, Any]) -> Plan:
    """The plan with gates by phase: `with_gates(two={"entry": Gate(approvals=1)})`."""
    phases = tuple(dataclasses.replace(phase, **gates.get(phase.key, {})) for phase in PLAN.phases)
    return dataclasses.replace(PLAN, phases=phases)


def test_four_eyes_look_at_all_but_what_makes_safer() -> None:
    careful = running(dataclasses.replace(PLAN, four_eyes=True))
    needed = {type(step): approvals_needed(careful, step) for step in STEPS}
    assert needed == {Advance: 1, Jump: 1, Restart: 1, Edit: 1, RollBack: 0, Pause: 0}
    assert approvals_needed(careful, Resume()) == 0
    assert not any(approvals_needed(running(), step) for step in STEPS)


@pytest.mark.parametrize(
    ("step", "needed"),
    [
        (Advance(), 3),
        (Advance("three"), 4),
        (Jump("three"), 4),
        (Jump("two"), 3),
        (Jump("zero"), 0),
        (Restart(), 0),
    ],
)
def test_gates_on_the_way_ask_for_people_whom_no_jump_passes(step: Step, needed: int) -> None:
    plan = with_gates(
        one={"exit": Gate(approvals=2)}, two={"entry": Gate(approvals=3)}, three={"entry": Gate(approvals=4)}
    )
    assert approvals_needed(running(plan), step) == needed


@pytest.mark.parametrize("entry", [None, {"approvals": 1}])
def test_what_a_gate_asks_of_people_is_not_edited_away_by_fewer(entry: Any) -> None:
    plan = running(with_gates(two={"entry": Gate(approvals=2)}))
    assert approvals_needed(plan, Edit({"phases": {"two": {"entry": entry}}})) == 2
    assert approvals_needed(plan, Edit({"phases": {"two": None}})) == 2
    assert approvals_needed(plan, Edit({"phases": {"two": {"entry": {"approvals": 3}}}})) == 0
    assert approvals_needed(plan, TITLE) == 0


def test_nobody_turns_four_eyes_off_alone() -> None:
    careful = running(dataclasses.replace(PLAN, four_eyes=True))
    assert approvals_needed(careful, Edit({"four_eyes": False})) == 1


def test_a_step_to_nowhere_is_not_weighed() -> None:
    with pytest.raises(InvalidRequest):
        approvals_needed(running(), Advance("nowhere"))


@given(st.sampled_from(STEPS), st.sampled_from(STEPS))
def test_an_approval_dies_with_any_edit_and_any_move(approved: Step, other: Step) -> None:
    before = running()
    after = take(before, other, "bob", 50).after
    assert after != before
    assert content_hash(after, approved) != content_hash(before, approved)


@given(st.sampled_from(STEPS), st.sampled_from(STEPS))
def test_an_approval_is_of_one_step(one: Step, other: Step) -> None:
    assert (content_hash(running(), one) == content_hash(running(), other)) == (one == other)


def test_counting_a_version_up_changes_no_content() -> None:
    counted = dataclasses.replace(PLAN, version=99)
    assert content_hash(running(counted), Advance()) == content_hash(running(), Advance())


def request(running_: RunningPlan, *approvals: Approval) -> ChangeRequest:
    hashed = content_hash(running_, Advance())
    return ChangeRequest("chg_1", "f", {"do": "advance"}, hashed, 1, "ready", "ana", 0, approvals=approvals)


def test_the_author_is_no_second_person_and_nobody_counts_twice() -> None:
    given_ = request(running(), Approval("bob", content_hash(running(), Advance()), "fine", 5))
    with pytest.raises(PermissionDenied):
        check_approver(given_, "ana")
    with pytest.raises(Conflict):
        check_approver(given_, "bob")
    check_approver(given_, "eve")
    assert given_.approved_by(1)
    assert not given_.approved_by(2)


def test_an_approval_of_another_content_does_not_count() -> None:
    assert not request(running(), Approval("bob", "0" * 64, "fine", 5)).approved_by(1)
