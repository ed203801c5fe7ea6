"""Moving a plan: who comes and goes, what is written down, and that of two people at once only one moves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, BOB
from phases import wire_phases

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.steps import STEPS, Advance, Pause, Resume, RollBack
from rollout.core.tenants import Tenant
from rollout.db import audit
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound, StaleVersion
from rollout.services import plans as plans_module
from rollout.services.change_requests import ChangeRequests
from rollout.services.changes import Change, Changes
from rollout.services.ids import new_id


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


def standing(services: SimpleNamespace) -> tuple[str, str, int]:
    plan = services.plans.get(GENERATION)
    return plan["run"]["phase"], plan["run"]["state"], plan["version"]


def test_a_new_plan_stands_at_private_beta(services: SimpleNamespace) -> None:
    assert standing(services) == ("private_beta", "running", 1)
    assert [plan["feature"] for plan in services.plans.list()] == [GENERATION]


def test_seeding_again_changes_nothing(services: SimpleNamespace, database: Database) -> None:
    before = services.plans.get(GENERATION)
    services.change_requests.submit(ALICE, GENERATION, Advance(), "ready")
    with Changes(database).begin(ALICE, "seed again") as change:
        services.plans.ensure_plan(change)
    after = services.plans.get(GENERATION)
    assert after["run"]["phase"] == "wider_beta"
    assert after["phases"][0] == before["phases"][0]


def test_an_advance_lets_in_more_and_loses_nobody(services: SimpleNamespace) -> None:
    services.grants.add(ALICE, "globex", GENERATION, "partner")
    services.tenants.change(ALICE, "acme", {"attributes": {"program": "beta"}}, "joined")
    services.state.refresh()
    moved = services.change_requests.submit(BOB, GENERATION, Advance(), "ready").plan
    assert moved["tenants"] == {"gained": 1, "lost": 0, "examined": 2, "complete": True}
    assert standing(services) == ("wider_beta", "running", 2)
    services.state.refresh()
    reasons = [
        services.features.decide(services.state.facts(tenant), GENERATION) for tenant in ("acme", "globex")
    ]
    assert [decision.reason for decision in reasons] == ["segment", "granted"]


def test_general_availability_lets_in_everyone_but_who_is_halted_or_suspended(
    services: SimpleNamespace,
) -> None:
    services.features.kill(BOB, GENERATION, "abuse", tenant="globex")
    services.tenants.add(ALICE, Tenant("initech", "Initech"), "new")
    services.tenants.set_state(ALICE, "initech", "suspended", "unpaid")
    moved = services.change_requests.submit(BOB, GENERATION, Advance("general_availability"), "launch").plan
    assert moved["tenants"] == {"gained": 1, "lost": 0, "examined": 2, "complete": True}


def test_a_rollback_says_how_many_it_removes(services: SimpleNamespace) -> None:
    services.grants.add(ALICE, "globex", GENERATION, "partner")
    services.change_requests.submit(BOB, GENERATION, Advance("general_availability"), "launch")
    moved = services.change_requests.submit(BOB, GENERATION, RollBack("private_beta"), "complaints").plan
    assert moved["tenants"] == {"gained": 0, "lost": 1, "examined": 2, "complete": True}
    assert standing(services) == ("private_beta", "running", 3)


def test_the_count_says_so_when_it_did_not_look_at_everyone(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans_module, "EXAMINED_TENANTS", 3)
    monkeypatch.setattr(plans_module, "PAGE", 2)
    for number in range(3):
        services.tenants.add(ALICE, Tenant(f"tenant-{number}", "A tenant"), "new")
    moved = services.change_requests.submit(
        BOB, GENERATION, Advance("general_availability"), "launch", dry_run=True
    ).plan
    assert moved["tenants"] == {"gained": 3, "lost": 0, "examined": 3, "complete": False}
    monkeypatch.setattr(plans_module, "EXAMINED_TENANTS", 100)
    monkeypatch.setattr(plans_module, "PAGE", 5)
    moved = services.change_requests.submit(
        BOB, GENERATION, Advance("general_availability"), "launch", dry_run=True
    ).plan
    assert moved["tenants"] == {"gained": 5, "lost": 0, "examined": 5, "complete": True}


def test_runs_are_kept_newest_first(services: SimpleNamespace, clock: Any) -> None:
    clock.advance(60)
    services.change_requests.submit(BOB, GENERATION, Advance(), "ready")
    clock.advance(60)
    services.change_requests.submit(ALICE, GENERATION, RollBack(), "not yet")
    runs = [(run["phase"], run["state"], run["left_at"]) for run in services.plans.get(GENERATION)["runs"]]
    assert runs == [
        ("private_beta", "running", None),
        ("wider_beta", "rolled_back", "2026-11-22T12:02:00Z"),
        ("private_beta", "completed", "2026-11-22T12:01:00Z"),
    ]


def test_a_pause_keeps_who_is_in_and_stops_the_advance(services: SimpleNamespace) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "partner")
    services.change_requests.submit(BOB, GENERATION, Pause(), "looking into it")
    services.state.refresh()
    assert standing(services) == ("private_beta", "paused", 2)
    assert services.features.decide(services.state.facts("acme"), GENERATION).allowed
    with pytest.raises(Conflict, match="paused"):
        services.change_requests.submit(BOB, GENERATION, Advance(), "ready")
    services.change_requests.submit(BOB, GENERATION, Resume(), "fine")
    assert (
        services.change_requests.submit(BOB, GENERATION, Advance(), "ready").plan["run"]["phase"]
        == "wider_beta"
    )


def test_each_move_is_audited_with_where_the_plan_stood(services: SimpleNamespace) -> None:
    services.change_requests.submit(BOB, GENERATION, Advance(), "ready")
    services.change_requests.submit(BOB, GENERATION, Pause(), "wait")
    services.change_requests.submit(BOB, GENERATION, Resume(), "go on")
    services.change_requests.submit(BOB, GENERATION, RollBack(), "not yet")
    with services.database.read() as tx:
        rows = audit.page(tx, tenant=None, subject=GENERATION, before=None, limit=4)[::-1]
    assert [row["action"] for row in rows] == [
        "plan.advanced",
        "plan.paused",
        "plan.resumed",
        "plan.rolled_back",
    ]
    first = rows[0]
    assert (first["actor"], first["reason"]) == ("token:bob", "ready")
    assert (first["before"]["run"]["phase"], first["after"]["run"]["phase"]) == ("private_beta", "wider_beta")
    assert (first["before"]["version"], first["after"]["version"]) == (1, 2)


@pytest.mark.parametrize("move", ["advance", "rollback", "pause", "resume"])
def test_a_move_based_on_an_old_version_is_refused_and_shows_the_current_one(
    services: SimpleNamespace, move: str
) -> None:
    services.change_requests.submit(BOB, GENERATION, Pause(), "wait")
    with pytest.raises(StaleVersion) as stale:
        services.change_requests.submit(ALICE, GENERATION, STEPS[move](), "mine", based_on=1)
    assert stale.value.members["current"]["run"]["state"] == "paused"
    assert standing(services) == ("private_beta", "paused", 2)


def test_of_two_advances_at_once_one_is_refused(services: SimpleNamespace, database: Database) -> None:
    """Bob and Alice both saw private_beta; Alice's change is made while Bob's begins. Neither sent a version."""

    class Overtaken(Changes):
        @contextmanager
        def begin(self, *arguments: Any, **options: Any) -> Iterator[Change]:
            services.change_requests.submit(ALICE, GENERATION, Advance(), "mine")
            with super().begin(*arguments, **options) as change:
                yield change

    overtaken = ChangeRequests(database, Overtaken(database), services.plans, new_id)
    with pytest.raises(StaleVersion):
        overtaken.submit(BOB, GENERATION, Advance(), "mine too")
    assert standing(services) == ("wider_beta", "running", 2)


@pytest.mark.parametrize("move", ["advance", "rollback", "pause"])
def test_a_dry_run_moves_nothing(services: SimpleNamespace, move: str) -> None:
    before = services.plans.get(GENERATION)
    assert (
        services.change_requests.submit(BOB, GENERATION, STEPS[move](), "rehearsal", dry_run=True).plan[
            "version"
        ]
        == 2
    )
    assert services.plans.get(GENERATION) == before


def test_a_move_needs_a_plan_a_reason_and_a_phase_that_exists(services: SimpleNamespace) -> None:
    with pytest.raises(NotFound, match=ANALYSIS):
        services.change_requests.submit(BOB, ANALYSIS, Advance(), "why not")
    with pytest.raises(NotFound):
        services.plans.get("image-painting")
    with pytest.raises(InvalidRequest):
        services.change_requests.submit(BOB, GENERATION, Advance(), None)
    with pytest.raises(InvalidRequest) as refused:
        services.change_requests.submit(BOB, GENERATION, Advance("open_beta"), "ready")
    assert refused.value.members["param"] == "to"


# -- who is in, and what a move would come to ----------------------------------------------------------------


def populate(services: SimpleNamespace) -> None:
    """With acme and globex: hooli granted, initech by its attribute, umbrella granted but halted, wayne suspended."""
    for name in ("hooli", "initech", "umbrella", "wayne"):
        services.tenants.add(ALICE, Tenant(name, name.capitalize()), "new")
    for name in ("hooli", "umbrella", "wayne"):
        services.grants.add(ALICE, name, GENERATION, "partner")
    services.tenants.change(ALICE, "initech", {"attributes": {"program": "beta"}}, "joined")
    services.features.kill(BOB, GENERATION, "abuse", tenant="umbrella")
    services.tenants.set_state(ALICE, "wayne", "suspended", "unpaid")


def inside(services: SimpleNamespace, after: str | None = None, limit: int = 50) -> list[tuple[str, str]]:
    found = services.plans.members(GENERATION, after=after, limit=limit)
    return [(tenant.id, reason) for tenant, reason in found.inside]


def test_who_is_in_is_told_with_the_reason(services: SimpleNamespace) -> None:
    populate(services)
    assert inside(services) == [("hooli", "granted")]
    services.change_requests.submit(BOB, GENERATION, Advance(), "ready")
    assert inside(services) == [("hooli", "granted"), ("initech", "segment")]
    counted = services.plans.count(GENERATION, limit=1)
    assert (counted.inside, counted.examined, counted.complete) == (2, 5, True)
    assert [(tenant.id, reason) for tenant, reason in counted.first] == [("hooli", "granted")]
    services.change_requests.submit(BOB, GENERATION, Advance("general_availability"), "launch")
    assert inside(services) == [(name, "ga") for name in ("acme", "globex", "hooli", "initech")]


def test_who_is_in_is_told_while_the_feature_is_stopped(services: SimpleNamespace) -> None:
    populate(services)
    services.features.kill(BOB, GENERATION, "incident")
    assert inside(services) == [("hooli", "granted")]


def test_who_is_in_comes_in_pages_that_miss_and_repeat_nobody(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans_module, "PAGE", 2)
    populate(services)
    services.change_requests.submit(BOB, GENERATION, Advance("general_availability"), "launch")
    found, after = [], None
    while True:
        page = services.plans.members(GENERATION, after=after, limit=3)
        found += [tenant.id for tenant, _ in page.inside]
        after = page.after
        if after is None:
            break
    assert found == ["acme", "globex", "hooli", "initech"]


def test_the_count_says_when_there_are_more_tenants_than_were_asked(
    services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans_module, "EXAMINED_TENANTS", 1)
    assert services.plans.count(GENERATION, limit=9) == plans_module.Count(0, 1, False, [])


def test_a_percentage_counts_as_the_engine_decides(services: SimpleNamespace) -> None:
    for number in range(60):
        services.tenants.add(ALICE, Tenant(f"t{number:02}", "T"), "new")
    services.change_requests.submit(BOB, GENERATION, Advance("percentage"), "ready")
    services.state.refresh()
    decided = [
        (tenant.id, decision.reason)
        for tenant in services.tenants.page(after=None, limit=100)
        if (decision := services.features.decide(services.state.facts(tenant.id), GENERATION)).allowed
    ]
    assert decided
    assert inside(services, limit=100) == decided


def test_what_an_advance_would_do_is_told_and_nothing_is_done(
    services: SimpleNamespace, database: Database
) -> None:
    populate(services)
    with database.read() as tx:
        before = audit.last_seq(tx)
    foreseen = services.plans.foresee(BOB, GENERATION, Advance())
    assert (foreseen.before.phase.key, foreseen.after.phase.key) == ("private_beta", "wider_beta")
    assert foreseen.as_json()["tenants"] == {"gained": 1, "lost": 0, "examined": 5, "complete": True}
    with database.read() as tx:
        assert audit.last_seq(tx) == before
    moved = services.change_requests.submit(BOB, GENERATION, Advance(), "ready").plan
    assert moved["tenants"] == foreseen.as_json()["tenants"]
    back = services.plans.foresee(BOB, GENERATION, RollBack("internal"))
    assert (back.after.phase.key, back.tenants.lost) == ("internal", 2)


def test_what_cannot_be_done_cannot_be_foreseen(services: SimpleNamespace) -> None:
    services.change_requests.submit(BOB, GENERATION, Pause(), "wait")
    with pytest.raises(Conflict):
        services.plans.foresee(BOB, GENERATION, Advance())
    with pytest.raises(InvalidRequest):
        services.plans.foresee(BOB, GENERATION, RollBack("nowhere"))
    with pytest.raises(NotFound):
        services.plans.foresee(BOB, ANALYSIS, Advance())
