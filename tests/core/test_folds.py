"""What is due of a plan: overdue steps fold into one change, as far as time alone leads, and no further."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from stepping import ENTERED, PLAN, running

from rollout.core.folds import Fold, conditions, fold, unmet
from rollout.core.gates import Evidence, Gate
from rollout.core.plans import Plan, RunningPlan
from rollout.core.schedules import Schedule, foreseen, stale
from rollout.core.steps import Advance, Edit, Jump, Pause, Restart, RollBack, Step, take
from rollout.errors import RolloutError

DAY = 86_400
NOTHING = Evidence()
PLENTY = Evidence(requests=1000, tenants=50, ratings=500, raters=80, images=1000, cost_usd_micro=1000)


def plan(*changes: dict[str, Any]) -> Plan:
    """The plan with its phases changed, in order."""
    phases = tuple(
        dataclasses.replace(phase, **change) for phase, change in zip(PLAN.phases, changes, strict=False)
    )
    return dataclasses.replace(PLAN, phases=(*phases, *PLAN.phases[len(changes) :]))


def daily(**others: Any) -> dict[str, Any]:
    return {"exit": Gate(seconds=DAY, **others), "moves_on": True}


def scheduled(*steps: tuple[int, Step], version: int = 1) -> list[Schedule]:
    """Each at so many seconds after the plan came to where it stands, each resting on the one before."""
    return [
        Schedule(
            f"sch_{n}", "image-generation", ENTERED + at, step, version + n, "planned", "token:ana", ENTERED
        )
        for n, (at, step) in enumerate(steps)
    ]


def due(
    of: RunningPlan,
    pending: list[Schedule] = [],  # noqa: B006  (only read)
    *,
    days: float,
    evidence: Evidence = NOTHING,
    killed: bool = False,
) -> Fold:
    return fold(of, pending, evidence, killed=killed, now=ENTERED + int(days * DAY))


def told(found: Fold) -> tuple[int, str | None]:
    """How many steps are due, and at what it stops."""
    return len(found.taken), found.stop.kind if found.stop else None


def test_three_overdue_timed_steps_are_one_fold() -> None:
    of = running(plan(daily(), daily(), daily()), "zero")
    assert told(due(of, days=0.9)) == (0, None)
    assert told(due(of, days=1)) == (1, None)
    found = due(of, days=30)
    assert told(found) == (3, None)
    assert [item.at for item in found.taken] == [ENTERED + DAY, ENTERED + 2 * DAY, ENTERED + 3 * DAY]


def test_a_fold_stops_at_an_approval() -> None:
    of = running(plan(daily(), daily(), {**daily(), "entry": Gate(approvals=1)}), "zero")
    found = due(of, days=30)
    assert told(found) == (1, "approval")
    assert found.stop is not None
    assert found.stop.due.step == Advance()


def test_under_four_eyes_nothing_moves_by_time_alone() -> None:
    of = running(dataclasses.replace(plan(daily(), daily()), four_eyes=True), "zero")
    assert told(due(of, days=30)) == (0, "approval")


def test_a_fold_stops_at_evidence_that_a_phase_it_ran_through_cannot_have() -> None:
    of = running(plan(daily(requests=10), daily(requests=10), daily()), "zero")
    assert told(due(of, days=30)) == (0, None)
    assert told(due(of, days=30, evidence=PLENTY)) == (1, None)


def test_time_in_the_next_phase_counts_from_when_the_evidence_was_seen() -> None:
    """It was there only now, so nobody was in the next phase for the day that it asks for."""
    of = running(plan(daily(requests=10), daily(), daily()), "zero")
    assert told(due(of, days=30, evidence=PLENTY)) == (1, None)


def test_an_entry_that_is_not_open_yet_keeps_a_phase_from_moving_on() -> None:
    of = running(plan(daily(), {"entry": Gate(not_before=ENTERED + 5 * DAY)}), "zero")
    assert told(due(of, days=4.9)) == (0, None)
    assert [item.at for item in due(of, days=6).taken] == [ENTERED + 5 * DAY]


def test_a_ceiling_that_is_exceeded_keeps_a_phase_from_moving_on() -> None:
    of = running(plan({**daily(), "hold": Gate(failed_percent=5)}), "zero")
    assert told(due(of, days=2, evidence=PLENTY)) == (1, None)
    assert told(due(of, days=2, evidence=Evidence(requests=100, failed=6))) == (0, None)
    assert told(due(of, days=2)) == (0, None)


def test_a_phase_moves_on_only_while_it_runs_and_is_not_stopped() -> None:
    of = running(plan(daily()), "zero")
    assert told(due(of, days=2, killed=True)) == (0, None)
    assert told(due(take(of, Pause(), "ana", ENTERED).after, days=2)) == (0, None)


def test_schedules_are_taken_in_their_order_and_only_when_it_is_time() -> None:
    pending = scheduled((60, Advance()), (120, Pause()), (180, RollBack()))
    assert [
        told(fold(running(), pending, NOTHING, killed=False, now=ENTERED + at)) for at in (59, 60, 150, 999)
    ] == [
        (0, None),
        (1, None),
        (2, None),
        (3, None),
    ]


def test_a_schedule_of_another_version_is_a_conflict_and_nothing_behind_it_is_taken() -> None:
    found = due(running(), scheduled((60, Advance()), (120, Advance()), version=7), days=1)
    assert told(found) == (0, "conflict")
    assert found.stop is not None
    assert "version 7" in found.stop.why


def test_a_schedule_that_became_impossible_is_a_conflict() -> None:
    found = due(running(phase="three"), scheduled((60, Advance())), days=1)
    assert told(found) == (0, "conflict")


def test_a_scheduled_advance_waits_for_its_gates_and_a_jump_does_not() -> None:
    of = running(plan({}, {"exit": Gate(requests=10)}))
    assert told(due(of, scheduled((60, Advance()), (120, Pause())), days=1)) == (0, "waits")
    assert told(due(of, scheduled((60, Advance())), days=1, evidence=PLENTY)) == (1, None)
    assert told(due(of, scheduled((60, Jump("two"))), days=1)) == (1, None)


def test_while_the_feature_is_stopped_only_what_makes_safer_is_taken() -> None:
    for step, stop in ((RollBack(), None), (Pause(), None), (Jump("two"), "waits"), (Restart(), "waits")):
        found = due(running(), scheduled((60, step)), days=1, killed=True)
        assert told(found) == (int(stop is None), stop)


def test_a_schedule_that_needs_people_asks_them() -> None:
    careful = running(dataclasses.replace(PLAN, four_eyes=True))
    title = Edit({"phases": {"three": {"title": "All"}}})
    assert told(due(careful, scheduled((60, title)), days=1)) == (0, "approval")
    assert told(due(careful, scheduled((60, RollBack()), (90, Pause())), days=1)) == (2, None)


def test_schedules_and_phases_that_move_on_are_taken_in_order_of_time() -> None:
    """The phase moves on a day after; the schedule behind it rests on a plan that did not."""
    of = running(plan({}, daily()))
    found = due(of, scheduled((2 * DAY, Pause())), days=3)
    assert told(found) == (1, "conflict")
    early = due(of, scheduled((60, Pause())), days=3)
    assert [item.schedule is not None for item in early.taken] == [True]


def test_an_advance_past_a_phase_does_not_skip_its_exit() -> None:
    of = running(plan({}, {}, {"exit": Gate(requests=1)}))
    assert not unmet(conditions(of, Advance(), NOTHING, ENTERED))
    assert [item.phase for item in unmet(conditions(of, Advance("three"), NOTHING, ENTERED))] == ["two"]
    assert conditions(of, Jump("three"), NOTHING, ENTERED) == []


SECONDS = st.integers(1, 5 * DAY)
PHASES = st.tuples(*[
    st.fixed_dictionaries(
        {
            "exit": st.builds(Gate, seconds=SECONDS, requests=st.none() | st.just(1), approvals=st.none() | st.just(1)),
            "moves_on": st.booleans(),
        }
    )
    for _ in range(3)
])  # fmt: skip


@given(PHASES, st.integers(0, 20 * DAY), st.integers(0, 20 * DAY))
def test_looking_often_never_leads_further_than_looking_once(
    changes: tuple[dict[str, Any], ...], first: int, second: int
) -> None:
    """Who looked in between may be behind, for time in a phase counts from when it was really entered; never ahead. What was taken
    is not due again."""
    first, second = sorted((first, second))
    once = running(plan(*changes), "zero")
    twice = once
    for item in fold(once, [], NOTHING, killed=False, now=ENTERED + first).taken:
        twice = take(twice, item.step, "system", ENTERED + first).after
    at_once = fold(once, [], NOTHING, killed=False, now=ENTERED + second)
    later = fold(twice, [], NOTHING, killed=False, now=ENTERED + second)
    assert twice.position + len(later.taken) <= len(at_once.taken)
    again = once
    for item in at_once.taken:
        again = take(again, item.step, "system", ENTERED + second).after
    assert not fold(again, [], NOTHING, killed=False, now=ENTERED + second).taken


@given(
    st.lists(st.tuples(SECONDS, st.sampled_from([Advance(), Pause(), RollBack(), Jump("three")])), max_size=6)
)
def test_schedules_that_were_written_one_after_another_rest_on_each_other(
    wanted: list[tuple[int, Step]],
) -> None:
    """In order of time each is accepted or refused at once; those that were accepted are all taken."""
    of, pending = running(), list[Schedule]()
    for number, (at, step) in enumerate(sorted(wanted, key=lambda item: item[0])):
        try:
            before = foreseen(of, pending, ENTERED + at, ENTERED)
            take(before, step, "", ENTERED + at)
        except RolloutError:
            continue
        pending.append(
            Schedule(f"sch_{number}", "f", ENTERED + at, step, before.plan.version, "why", "ana", ENTERED)
        )
    assert stale(of, pending) == set()
    found = fold(of, pending, NOTHING, killed=False, now=ENTERED + 10 * DAY)
    assert [item.schedule for item in found.taken] == pending
    assert found.stop is None


def test_one_that_is_cancelled_leaves_those_behind_it_stale() -> None:
    first, second = scheduled((60, Advance()), (120, Advance()))
    assert stale(running(), [first, second]) == set()
    assert stale(running(), [second]) == {second.id}
