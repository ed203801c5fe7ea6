"""Schedules, and the controller that takes what is due: once, in one change, by a person's path, and no further than time alone leads."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, BOB, wire

from rollout.core.decisions import GENERATION
from rollout.core.steps import Advance, Edit, Jump, Pause, Restart, Resume, RollBack, Step
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound, StaleVersion

NOON = 1_795_348_800
"""When the test's clock begins, UTC epoch seconds."""

HOUR = 3600
DAILY = {"exit": {"seconds": 24 * HOUR}, "moves_on": True}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    """The plan stands at `internal`, the first of its five phases."""
    wired = wire(database, clock)
    submit(wired, RollBack("internal"))
    return wired


def submit(services: SimpleNamespace, step: Step) -> None:
    assert services.change_requests.submit(ALICE, GENERATION, step, "setting it up").plan, "it waits"


def phases(services: SimpleNamespace, **changed: dict[str, Any]) -> None:
    """Other members for these phases; that of now is restarted."""
    now = changed.pop(services.plans.get(GENERATION)["run"]["phase"], None)
    if changed:
        submit(services, Edit({"phases": changed}))
    if now:
        submit(services, Restart(now))


def schedule(services: SimpleNamespace, hours: float, step: Step = Advance(), **how: Any) -> dict[str, Any]:  # noqa: B008
    at = NOON + int(hours * HOUR)
    written: dict[str, Any] = services.schedules.add(ALICE, GENERATION, at, step, "as agreed", **how)
    return written


def tick_after(services: SimpleNamespace, clock: Any, hours: float) -> list[dict[str, Any]]:
    """The audit rows of what the controller did, that many hours after noon, oldest first."""
    clock.now = NOON + hours * HOUR
    seen = services.audit.page(limit=1)[0]["seq"]
    services.controller.tick()
    return [row for row in reversed(services.audit.page(limit=50)) if row["seq"] > seen]


def phase(services: SimpleNamespace) -> str:
    name: str = services.plans.get(GENERATION)["run"]["phase"]
    return name


def states(services: SimpleNamespace) -> list[str]:
    """Of all schedules, in order of their writing."""
    found = services.schedules.page(feature=None, state=None, before=None, limit=50)
    return [one["state"] for one in reversed(found)]


def test_a_scheduled_step_is_taken_at_its_time_and_written_down_as_a_persons_is(
    services: SimpleNamespace, clock: Any
) -> None:
    services.schedules.add(BOB, GENERATION, NOON + HOUR, Advance(), "launch day")
    assert tick_after(services, clock, 0.99) == []
    rows = tick_after(services, clock, 1)
    assert [row["action"] for row in rows] == ["plan.advanced", "schedule.applied"]
    assert {row["actor"] for row in rows} == {"system:controller"}
    assert rows[0]["reason"] == "Scheduled by token:bob for 2026-11-22T13:00:00Z: launch day"
    assert (rows[0]["before"]["run"]["phase"], rows[0]["after"]["run"]["phase"]) == (
        "internal",
        "private_beta",
    )
    assert states(services) == ["applied"]
    assert tick_after(services, clock, 2) == []


def test_three_overdue_timed_steps_make_one_change(services: SimpleNamespace, clock: Any) -> None:
    phases(services, internal=DAILY, private_beta=DAILY, wider_beta=DAILY)
    rows = tick_after(services, clock, 24 * 30)
    assert [row["action"] for row in rows] == ["plan.advanced"] * 3
    assert len({row["revision"] for row in rows}) == 1
    assert phase(services) == "percentage"
    assert services.plans.get(GENERATION)["run"]["entered_at"] == "2026-12-22T12:00:00Z"


def test_overdue_steps_stop_at_an_approval_and_ask_once(services: SimpleNamespace, clock: Any) -> None:
    phases(services, internal=DAILY, private_beta=DAILY, wider_beta={**DAILY, "entry": {"approvals": 1}})
    rows = tick_after(services, clock, 24 * 30)
    assert [row["action"] for row in rows] == ["plan.advanced", "change_request.added"]
    assert len({row["revision"] for row in rows}) == 1
    assert phase(services) == "private_beta"
    assert tick_after(services, clock, 24 * 31) == []
    (waiting,) = services.change_requests.page(feature=None, state="waiting", before=None, limit=9)
    assert waiting["created_by"] == "system:controller"
    services.change_requests.approve(ALICE, waiting["id"], "go")
    assert phase(services) == "wider_beta"
    assert [row["action"] for row in tick_after(services, clock, 24 * 32)] == ["plan.advanced"]


def test_who_said_no_is_not_asked_again_for_the_same(services: SimpleNamespace, clock: Any) -> None:
    phases(services, internal=DAILY, private_beta={"entry": {"approvals": 1}})
    (asked,) = tick_after(services, clock, 24)
    services.change_requests.reject(ALICE, asked["subject"], "not yet")
    assert tick_after(services, clock, 25) == []
    phases(services, general_availability={"title": "All"})
    assert [row["action"] for row in tick_after(services, clock, 26)] == ["change_request.added"]


def test_overdue_steps_stop_at_evidence(services: SimpleNamespace, clock: Any) -> None:
    needs_calls = {"exit": {"seconds": 60, "requests": 1}, "moves_on": True}
    phases(services, internal=DAILY, private_beta=needs_calls)
    assert [row["action"] for row in tick_after(services, clock, 24 * 30)] == ["plan.advanced"]
    assert phase(services) == "private_beta"
    assert tick_after(services, clock, 24 * 31) == []


@pytest.mark.parametrize("moved", [Pause(), Advance(), Edit({"phases": {"percentage": {"title": "Some"}}})])
def test_a_schedule_whose_plan_is_another_one_is_a_conflict_for_a_person(
    services: SimpleNamespace, clock: Any, moved: Step
) -> None:
    written = schedule(services, 1)
    submit(services, moved)
    assert services.schedules.get(written["id"])["stale"]
    before = services.plans.get(GENERATION)
    (row,) = tick_after(services, clock, 1)
    assert (row["action"], row["after"]["state"]) == ("schedule.conflict", "conflict")
    assert services.plans.get(GENERATION) == before
    assert tick_after(services, clock, 2) == []
    assert services.schedules.cancel(ALICE, written["id"], "seen")["state"] == "cancelled"


def test_schedules_rest_on_each_other(services: SimpleNamespace, clock: Any) -> None:
    first, second = schedule(services, 1), schedule(services, 2, Pause())
    assert second["base_version"] == first["base_version"] + 1
    assert [row["action"] for row in tick_after(services, clock, 9)] == [
        "plan.advanced", "schedule.applied", "plan.paused", "schedule.applied",
    ]  # fmt: skip


def test_what_rested_on_a_schedule_that_was_cancelled_is_a_conflict(
    services: SimpleNamespace, clock: Any
) -> None:
    first, second = schedule(services, 1), schedule(services, 2)
    services.schedules.cancel(BOB, first["id"], "another day")
    assert [one["stale"] for one in services.schedules.open_of(GENERATION)] == [True]
    assert [row["action"] for row in tick_after(services, clock, 9)] == ["schedule.conflict"]
    assert services.schedules.get(second["id"])["outcome"].startswith("It was planned on version")
    assert phase(services) == "internal"


@pytest.mark.parametrize("hours", [0, -1])
def test_a_schedule_lies_in_the_future(services: SimpleNamespace, hours: float) -> None:
    with pytest.raises(InvalidRequest) as refused:
        schedule(services, hours)
    assert refused.value.members["param"] == "at"
    assert states(services) == []


def test_what_will_not_be_possible_is_not_scheduled(services: SimpleNamespace) -> None:
    for hour, key in enumerate(("private_beta", "wider_beta", "percentage", "general_availability"), 1):
        schedule(services, hour, Advance(key))
    with pytest.raises(Conflict, match="last phase"):
        schedule(services, 9)
    with pytest.raises(InvalidRequest):
        schedule(services, 9, Advance("nowhere"))
    unknown_vendor = Edit({"phases": {"general_availability": {"vendors": ["nobody"]}}})
    with pytest.raises(InvalidRequest, match="nobody"):
        schedule(services, 0.5, unknown_vendor)
    with pytest.raises(StaleVersion):
        schedule(services, 9, Pause(), based_on=77)
    with pytest.raises(NotFound):
        services.schedules.add(ALICE, "image-analysis", NOON + HOUR, Pause(), "why not")
    assert len(states(services)) == 4


def test_a_schedule_under_four_eyes_asks_another_person_at_its_time(
    services: SimpleNamespace, clock: Any
) -> None:
    submit(services, Edit({"four_eyes": True}))
    schedule(services, 1)
    rows = tick_after(services, clock, 1)
    assert [row["action"] for row in rows] == ["change_request.added", "schedule.applied"]
    request = rows[0]["subject"]
    assert rows[1]["after"]["outcome"] == f"It waits for approval as {request}."
    assert services.change_requests.get(request)["created_by"] == ALICE.name
    services.change_requests.approve(BOB, request, "go")
    assert phase(services) == "private_beta"


def test_a_scheduled_advance_waits_for_evidence_until_it_is_there(
    services: SimpleNamespace, clock: Any
) -> None:
    phases(services, internal={"exit": {"seconds": 5 * HOUR}})
    schedule(services, 1)
    assert tick_after(services, clock, 4) == []
    assert states(services) == ["pending"]
    assert [row["action"] for row in tick_after(services, clock, 5)] == ["plan.advanced", "schedule.applied"]


def test_while_the_feature_is_stopped_nothing_widens_it(services: SimpleNamespace, clock: Any) -> None:
    phases(services, internal=DAILY)
    services.features.kill(BOB, GENERATION, "incident")
    schedule(services, 1, Jump("wider_beta"))
    assert tick_after(services, clock, 48) == []
    services.features.revive(ALICE, GENERATION, "fixed")
    assert [row["action"] for row in tick_after(services, clock, 49)] == ["plan.jumped", "schedule.applied"]


def test_a_stopped_feature_is_still_rolled_back_at_its_time(services: SimpleNamespace, clock: Any) -> None:
    submit(services, Jump("wider_beta"))
    schedule(services, 1, RollBack("internal"))
    services.features.kill(BOB, GENERATION, "incident")
    assert [row["action"] for row in tick_after(services, clock, 1)] == [
        "plan.rolled_back",
        "schedule.applied",
    ]


def test_a_paused_phase_does_not_move_on(services: SimpleNamespace, clock: Any) -> None:
    phases(services, internal=DAILY)
    submit(services, Pause())
    assert tick_after(services, clock, 48) == []


def test_a_move_of_the_controller_voids_what_waits_for_people(services: SimpleNamespace, clock: Any) -> None:
    phases(services, wider_beta={"entry": {"approvals": 1}})
    schedule(services, 1)
    waiting = services.change_requests.submit(ALICE, GENERATION, Jump("wider_beta"), "soon").change_request
    actions = [row["action"] for row in tick_after(services, clock, 1)]
    assert actions == ["plan.advanced", "change_request.void", "schedule.applied"]
    assert services.change_requests.get(waiting["id"])["state"] == "void"


def test_two_controllers_at_once_take_each_step_once(services: SimpleNamespace, clock: Any) -> None:
    phases(services, internal=DAILY, private_beta=DAILY)
    clock.now = NOON + 24 * 9 * HOUR
    both = threading.Barrier(2)

    def control() -> None:
        both.wait()
        services.controller.tick()

    threads = [threading.Thread(target=control) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    advanced = [row for row in services.audit.page(limit=50) if row["action"] == "plan.advanced"]
    assert len(advanced) == 2
    assert len({row["revision"] for row in advanced}) == 1
    assert phase(services) == "wider_beta"


def test_a_schedule_is_cancelled_once_and_not_after_it_was_taken(
    services: SimpleNamespace, clock: Any
) -> None:
    written = schedule(services, 1)
    with pytest.raises(StaleVersion):
        services.schedules.cancel(BOB, written["id"], "no", based_on=9)
    assert services.schedules.cancel(BOB, written["id"], "no", dry_run=True)["state"] == "cancelled"
    assert services.schedules.cancel(BOB, written["id"], "no", based_on=1)["outcome"] == "no"
    with pytest.raises(Conflict):
        services.schedules.cancel(BOB, written["id"], "no")
    assert tick_after(services, clock, 2) == []
    with pytest.raises(NotFound):
        services.schedules.get("sch_none")


def test_a_rehearsed_schedule_is_not_written(services: SimpleNamespace) -> None:
    assert schedule(services, 1, dry_run=True)["state"] == "pending"
    assert states(services) == []


def test_at_most_twenty_steps_of_a_plan_are_scheduled(services: SimpleNamespace) -> None:
    for hour in range(1, 11):
        schedule(services, hour, Pause())
        schedule(services, hour + 0.5, Resume())
    with pytest.raises(Conflict, match="20"):
        schedule(services, 11, Pause())
    assert states(services) == ["pending"] * 20
