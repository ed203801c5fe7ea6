"""Steps that wait for people: who may say yes, what an approval is of, and that the last one makes the change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, BOB, wire

from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION
from rollout.core.steps import Advance, Edit, Jump, Pause, Restart, RollBack, Step
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, StaleVersion
from rollout.services.change_requests import ChangeRequests
from rollout.services.changes import Change, Changes
from rollout.services.ids import new_id

EVE = Actor("token:eve", "editor", "req_eve")
NEW_TITLE = Edit({"phases": {"general_availability": {"title": "All"}}})


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


def edit(services: SimpleNamespace, patch: dict[str, Any]) -> None:
    submitted = services.change_requests.submit(ALICE, GENERATION, Edit(patch), "setting it up")
    assert submitted.plan, "the edit waits"


def four_eyes(services: SimpleNamespace) -> None:
    edit(services, {"four_eyes": True})


def file(services: SimpleNamespace, step: Step = Advance(), by: Actor = ALICE) -> dict[str, Any]:  # noqa: B008
    submitted = services.change_requests.submit(by, GENERATION, step, "ready")
    assert submitted.plan is None
    request: dict[str, Any] = submitted.change_request
    return request


def approve(services: SimpleNamespace, request: dict[str, Any], by: Actor = BOB, **how: Any) -> Any:
    return services.change_requests.approve(by, request["id"], "looks right", **how)


def phase(services: SimpleNamespace) -> str:
    name: str = services.plans.get(GENERATION)["run"]["phase"]
    return name


def actions(services: SimpleNamespace, revision_back: int = 0) -> list[str]:
    """What the latest change wrote down, in order."""
    rows = services.audit.page(limit=20)
    revision = sorted({row["revision"] for row in rows})[-1 - revision_back]
    return [row["action"] for row in reversed(rows) if row["revision"] == revision]


def test_without_four_eyes_a_step_is_taken_at_once(services: SimpleNamespace) -> None:
    submitted = services.change_requests.submit(ALICE, GENERATION, Advance(), "ready")
    assert submitted.change_request is None
    assert submitted.plan["run"]["phase"] == "wider_beta"
    assert submitted.plan["tenants"]["lost"] == 0


def test_with_four_eyes_another_person_makes_the_change(services: SimpleNamespace) -> None:
    four_eyes(services)
    request = file(services)
    assert (request["state"], request["approvals_needed"]) == ("waiting", 1)
    assert phase(services) == "private_beta"
    with pytest.raises(PermissionDenied):
        approve(services, request, ALICE)
    approved = approve(services, request)
    assert approved.plan["run"]["phase"] == phase(services) == "wider_beta"
    assert approved.change_request["state"] == "applied"
    assert [one["by"] for one in approved.change_request["approvals"]] == ["token:bob"]
    assert actions(services) == ["change_request.approved", "plan.advanced"]


def test_what_makes_safer_waits_for_nobody(services: SimpleNamespace) -> None:
    four_eyes(services)
    for step in (Pause(), RollBack()):
        assert services.change_requests.submit(ALICE, GENERATION, step, "complaints").plan


@pytest.mark.parametrize("other", [Pause(), RollBack(), Restart(), Jump("internal")])
def test_any_other_move_voids_what_waits(services: SimpleNamespace, other: Step) -> None:
    edit(services, {"phases": {"wider_beta": {"entry": {"approvals": 1}}}})
    request = file(services)
    assert services.change_requests.submit(EVE, GENERATION, other, "first").plan
    found = services.change_requests.get(request["id"])
    assert (found["state"], found["ended_by"]) == ("void", "token:eve")
    assert actions(services)[-1] == "change_request.void"
    with pytest.raises(Conflict, match="void"):
        approve(services, request)


def test_any_edit_voids_an_approval(services: SimpleNamespace) -> None:
    edit(services, {"phases": {"wider_beta": {"entry": {"approvals": 2}}}})
    request = file(services)
    assert approve(services, request).plan is None
    edit(services, {"phases": {"general_availability": {"title": "All"}}})
    assert services.change_requests.get(request["id"])["state"] == "void"
    again = file(services)
    assert again["approvals"] == []
    assert again["content_hash"] != request["content_hash"]


def test_a_gate_may_ask_for_more_people_and_each_counts_once(services: SimpleNamespace) -> None:
    edit(services, {"phases": {"wider_beta": {"entry": {"approvals": 2}}}})
    request = file(services)
    assert approve(services, request).plan is None
    with pytest.raises(Conflict, match="already"):
        approve(services, request)
    assert approve(services, request, EVE).plan["run"]["phase"] == "wider_beta"


def test_a_jump_passes_no_approval(services: SimpleNamespace) -> None:
    edit(services, {"phases": {"wider_beta": {"entry": {"approvals": 1}}}})
    assert file(services, Jump("general_availability"))["approvals_needed"] == 1


def test_of_two_that_wait_the_one_that_is_made_voids_the_other(services: SimpleNamespace) -> None:
    four_eyes(services)
    advance, title = file(services), file(services, NEW_TITLE)
    approve(services, title)
    assert services.change_requests.get(advance["id"])["state"] == "void"
    assert services.change_requests.get(title["id"])["state"] == "applied"


def test_the_same_change_waits_once(services: SimpleNamespace) -> None:
    four_eyes(services)
    assert file(services)["id"] == file(services, by=EVE)["id"]


def test_an_edit_that_changes_nothing_asks_nobody(services: SimpleNamespace) -> None:
    four_eyes(services)
    before = services.plans.get(GENERATION)["version"]
    submitted = services.change_requests.submit(ALICE, GENERATION, Edit({"four_eyes": True}), "as it is")
    assert submitted.plan["version"] == before


def test_an_approval_says_what_it_saw(services: SimpleNamespace) -> None:
    four_eyes(services)
    request = file(services)
    with pytest.raises(StaleVersion):
        approve(services, request, content_hash="0" * 64)
    assert approve(services, request, content_hash=request["content_hash"]).plan


def test_what_waits_for_a_plan_is_approved_by_the_plans_name(services: SimpleNamespace) -> None:
    four_eyes(services)
    with pytest.raises(Conflict, match="0 wait"):
        services.change_requests.approve_waiting(BOB, GENERATION, "yes")
    one, two = file(services), file(services, NEW_TITLE)
    with pytest.raises(Conflict) as several:
        services.change_requests.approve_waiting(BOB, GENERATION, "yes")
    assert several.value.members["change_requests"] == [one["id"], two["id"]]
    approved = services.change_requests.approve_waiting(BOB, GENERATION, "yes", request_id=one["id"])
    assert approved.change_request["id"] == one["id"]
    with pytest.raises(NotFound):
        services.change_requests.approve_waiting(BOB, "image-painting", "yes")


def test_it_is_rejected_by_others_and_withdrawn_by_its_author(services: SimpleNamespace) -> None:
    four_eyes(services)
    request = file(services)
    with pytest.raises(PermissionDenied):
        services.change_requests.withdraw(BOB, request["id"], "no")
    assert services.change_requests.reject(BOB, request["id"], "not now")["outcome"] == "not now"
    for act in (services.change_requests.reject, services.change_requests.withdraw):
        with pytest.raises(Conflict):
            act(ALICE, request["id"], "again")
    assert services.change_requests.withdraw(ALICE, file(services)["id"], "typo")["state"] == "withdrawn"
    assert phase(services) == "private_beta"


def test_an_advance_whose_gates_are_not_met_is_refused_and_says_what_is_missing(
    services: SimpleNamespace, clock: Any
) -> None:
    services.change_requests.submit(
        ALICE, GENERATION, Restart({"exit": {"seconds": 3600, "requests": 2}}), "with a gate"
    )
    with pytest.raises(Conflict) as refused:
        services.change_requests.submit(ALICE, GENERATION, Advance(), "ready")
    told = {one["name"]: (one["word"], one["missing"]) for one in refused.value.members["unmet"]}
    assert told == {"seconds": ("not_yet", 3600), "requests": ("no_data", 2)}
    assert "private_beta needs 2 more requests" in refused.value.message
    assert phase(services) == "private_beta"
    assert services.change_requests.submit(ALICE, GENERATION, Jump("wider_beta"), "must be").plan


def test_the_last_approval_is_not_kept_when_a_gate_is_not_met_any_more(
    services: SimpleNamespace, clock: Any
) -> None:
    """The entry opens for a while only as far as the test's clock says: what was met when it was filed is not now."""
    opens = {"wider_beta": {"entry": {"approvals": 1, "not_before": "2026-11-22T12:00:00Z"}}}
    edit(services, {"phases": opens})
    request = file(services)
    clock.advance(-60)
    with pytest.raises(Conflict, match="opens at"):
        approve(services, request)
    assert services.change_requests.get(request["id"])["approvals"] == []
    clock.advance(60)
    assert approve(services, request).plan


def test_what_a_plan_waits_for_is_told_with_its_words(services: SimpleNamespace) -> None:
    gates = {"exit": {"seconds": 60}, "hold": {"failed_percent": 5}}
    services.change_requests.submit(ALICE, GENERATION, Restart(gates), "with gates")
    edit(services, {"phases": {"wider_beta": {"entry": {"approvals": 3}}}})
    waits = services.change_requests.waits_for(GENERATION)
    assert [(one["gate"], one["name"], one["word"]) for one in waits["conditions"]] == [
        ("exit", "seconds", "not_yet"),
        ("hold", "failed_percent", "no_data"),
    ]
    assert waits["approvals_needed"] == 3
    services.change_requests.submit(ALICE, GENERATION, Jump("general_availability"), "x")
    with pytest.raises(NotFound):
        services.change_requests.waits_for("image-analysis")


def test_of_two_people_who_advance_at_once_one_is_refused(
    services: SimpleNamespace, database: Database
) -> None:
    """Both saw private_beta; Alice's change is made while Bob's begins. Neither sent a version."""

    class Overtaken(Changes):
        @contextmanager
        def begin(self, *arguments: Any, **options: Any) -> Iterator[Change]:
            services.change_requests.submit(ALICE, GENERATION, Advance(), "mine")
            with super().begin(*arguments, **options) as change:
                yield change

    overtaken = ChangeRequests(database, Overtaken(database), services.plans, new_id)
    with pytest.raises(StaleVersion):
        overtaken.submit(BOB, GENERATION, Advance(), "mine too")
    assert phase(services) == "wider_beta"


def test_a_rehearsal_files_nothing_and_approves_nothing(services: SimpleNamespace) -> None:
    four_eyes(services)
    rehearsed = services.change_requests.submit(ALICE, GENERATION, Advance(), "ready", dry_run=True)
    assert rehearsed.change_request["state"] == "waiting"
    assert services.change_requests.page(feature=None, state=None, before=None, limit=9) == []
    request = file(services)
    assert approve(services, request, dry_run=True).plan["run"]["phase"] == "wider_beta"
    assert services.change_requests.get(request["id"])["state"] == "waiting"
    assert phase(services) == "private_beta"


def test_lists_are_newest_first_and_filtered(services: SimpleNamespace) -> None:
    four_eyes(services)
    one, two = file(services), file(services, NEW_TITLE)
    services.change_requests.reject(BOB, one["id"], "no")

    def ids(**asked: Any) -> list[str]:
        asked = {"feature": None, "state": None, "before": None, "limit": 9, **asked}
        return [found["id"] for found in services.change_requests.page(**asked)]

    assert ids() == [two["id"], one["id"]]
    assert ids(before=two["id"]) == [one["id"]]
    assert ids(state="waiting", feature=GENERATION) == [two["id"]]
    assert ids(feature="image-painting") == []


def test_a_change_needs_a_reason_and_one_that_is_there(services: SimpleNamespace) -> None:
    with pytest.raises(InvalidRequest):
        services.change_requests.submit(ALICE, GENERATION, Advance(), " ")
    for act in (services.change_requests.approve, services.change_requests.reject):
        with pytest.raises(NotFound):
            act(BOB, "chg_none", "yes")
