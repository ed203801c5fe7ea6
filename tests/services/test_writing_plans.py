"""Plans are begun, written and changed: what is kept, what is audited, and what is refused before anything is written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, BOB
from phases import wire_phases

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.plans import plan_json
from rollout.core.steps import Advance, Edit, Jump, Pause, Restart, RollBack
from rollout.db import audit, plans
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, StaleVersion
from rollout.services.changes import Changes

EVERYTHING = {
    "four_eyes": False,
    "phases": {
        "percentage": {
            "title": "A tenth",
            "audience": {"filter": [{"contextName": "region", "operator": "IN", "values": ["eu"]}]},
            "quota": [
                {
                    "name": "tenth",
                    "level": "phase",
                    "feature": GENERATION,
                    "unit": "request",
                    "period": "life",
                    "cap": 5,
                    "hard": True,
                }
            ],
            "vendors": ["openai"],
            "entry": {"not_before": "2027-01-01T00:00:00Z", "approvals": 1},
            "exit": {"seconds": 3600, "requests": 10},
            "hold": {"failed_percent": 2.5, "requests": 20},
            "moves_on": True,
        },
        "pilot": {
            "title": "Pilot",
            "audience": {"kind": "granted", "cohorts": ["pilot"]},
            "after": "wider_beta",
        },
        "percentage_50": None,
    },
}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


def submit(services: SimpleNamespace, step: Any, **options: Any) -> dict[str, Any]:
    plan: dict[str, Any] = services.change_requests.submit(BOB, GENERATION, step, "as agreed", **options).plan
    return plan


def last_entry(services: SimpleNamespace) -> dict[str, Any]:
    with services.database.read() as tx:
        return dict(audit.page(tx, tenant=None, subject=GENERATION, before=None, limit=1)[0])


def without_plan(database: Database) -> None:
    with Changes(database).begin(ALICE, "make room") as change:
        for table in (plans.plan, plans.phase, plans.phase_run):
            change.tx.execute(table.delete())


def test_all_that_a_plan_says_is_kept(services: SimpleNamespace) -> None:
    before = services.plans.get(GENERATION)
    edited = submit(services, Edit(EVERYTHING))
    found = services.plans.get(GENERATION)
    assert found["phases"] == edited["phases"]
    assert [phase["key"] for phase in found["phases"]] == [
        "internal", "private_beta", "wider_beta", "pilot", "percentage", "general_availability",
    ]  # fmt: skip
    share = found["phases"][4]
    for name, value in EVERYTHING["phases"]["percentage"].items():  # type: ignore[index]
        assert share[name] == (
            value if name != "audience" else {"kind": "percentage", "basis_points": 1000, **value}
        )
    assert (found["version"], found["run"]) == (2, before["run"])
    assert edited["tenants"] == {"gained": 0, "lost": 0, "examined": 0, "complete": True}


def test_the_whole_of_a_plan_is_written_as_it_is_shown(services: SimpleNamespace) -> None:
    submit(services, Edit(EVERYTHING))
    shown = services.plans.get(GENERATION)
    assert services.plans.edit_to(GENERATION, shown) == Edit({})
    shown["phases"][4]["exit"] = None
    shown["phases"][4]["moves_on"] = False
    shown["phases"].insert(4, shown["phases"].pop(3))
    written = submit(services, services.plans.edit_to(GENERATION, shown))
    assert [phase["key"] for phase in written["phases"]] == [phase["key"] for phase in shown["phases"]]
    assert services.plans.get(GENERATION)["phases"][4]["exit"] is None


def test_an_edit_that_changes_nothing_leaves_no_trace(services: SimpleNamespace) -> None:
    entry = last_entry(services)
    assert submit(services, Edit({"phases": {"percentage": {"title": "Percentage"}}}))["version"] == 1
    assert last_entry(services) == entry


def test_an_edit_is_audited_with_all_that_the_plan_said_before_and_after(services: SimpleNamespace) -> None:
    with services.database.read() as tx:
        before = plans.get(tx, GENERATION)
    submit(services, Edit(EVERYTHING))
    with services.database.read() as tx:
        after = plans.get(tx, GENERATION)
    assert before is not None
    assert after is not None
    entry = last_entry(services)
    assert entry["action"] == "plan.edited"
    assert (entry["before"], entry["after"]) == (plan_json(before), plan_json(after))


def test_a_running_phase_is_locked_and_nothing_is_written(services: SimpleNamespace) -> None:
    before = services.plans.get(GENERATION)
    with pytest.raises(Conflict) as refused:
        submit(services, Edit({"four_eyes": True, "phases": {"private_beta": {"quota": []}}}))
    assert refused.value.members["param"] == "phases.private_beta.quota"
    assert services.plans.get(GENERATION) == before


def test_a_share_that_shrinks_from_phase_to_phase_is_refused(services: SimpleNamespace) -> None:
    with pytest.raises(InvalidRequest, match="only grows") as refused:
        submit(services, Edit({"phases": {"percentage_50": {"audience": {"basis_points": 999}}}}))
    assert refused.value.members["param"] == "phases.percentage_50.audience.basis_points"


def test_a_vendor_without_a_model_of_the_feature_is_refused(services: SimpleNamespace) -> None:
    with pytest.raises(InvalidRequest, match="anthropic has no model of image-generation") as refused:
        submit(services, Edit({"phases": {"percentage": {"vendors": ["openai", "anthropic"]}}}))
    assert refused.value.members["param"] == "phases.percentage.vendors"


def test_of_two_who_edit_one_version_the_second_is_refused(services: SimpleNamespace) -> None:
    submit(services, Edit({"phases": {"percentage": {"title": "Mine"}}}), based_on=1)
    with pytest.raises(StaleVersion) as stale:
        submit(services, Edit({"phases": {"percentage": {"title": "Yours"}}}), based_on=1)
    assert stale.value.members["current"]["phases"][3]["title"] == "Mine"


def test_a_jump_back_keeps_who_is_in_and_a_rollback_says_how_many_it_removes(
    services: SimpleNamespace,
) -> None:
    submit(services, Advance("general_availability"))
    back = submit(services, Jump("internal"))
    assert (back["run"]["phase"], back["run"]["open_to"]) == ("internal", "general_availability")
    assert back["tenants"]["lost"] == 0
    services.state.refresh()
    assert services.features.decide(services.state.facts("acme"), GENERATION).reason == "ga"
    assert [phase["open"] for phase in services.plans.get(GENERATION)["phases"]] == [True] * 6
    assert submit(services, RollBack())["tenants"]["lost"] == 2
    services.state.refresh()
    assert not services.features.decide(services.state.facts("acme"), GENERATION).allowed


def test_a_restart_begins_a_run_of_its_own_with_what_it_changes(
    services: SimpleNamespace, clock: Any
) -> None:
    clock.advance(60)
    restarted = submit(services, Restart({"hold": {"failed_percent": 2}}))
    assert restarted["run"]["run"] == 2
    assert restarted["run"]["entered_at"] == "2026-11-22T12:01:00Z"
    found = services.plans.get(GENERATION)
    assert found["phases"][1]["hold"] == {"failed_percent": 2}
    assert [(run["state"], run["phase"]) for run in found["runs"]] == [
        ("running", "private_beta"),
        ("completed", "private_beta"),
    ]
    assert last_entry(services)["action"] == "plan.restarted"


def test_a_step_taken_in_an_open_change_answers_the_plan_before_and_after_it(
    services: SimpleNamespace,
) -> None:
    with Changes(services.database).begin(ALICE, "several at once") as change:
        one = services.plans.take(change, GENERATION, Advance())
        two = services.plans.take(change, GENERATION, Advance(), based_on=2)
        assert one[1] == two[0]
        with pytest.raises(StaleVersion):
            services.plans.take(change, GENERATION, Pause(), based_on=2)
    found = services.plans.get(GENERATION)
    assert (found["run"]["phase"], found["run"]["run"], found["version"]) == ("percentage", 3, 3)


# -- a new plan ----------------------------------------------------------------------------------------------


def test_a_template_begins_a_plan_at_its_first_phase(services: SimpleNamespace, database: Database) -> None:
    without_plan(database)
    added = services.plans.add(ALICE, GENERATION, "we begin", template="percentage", four_eyes=True)
    assert [phase["audience"].get("basis_points") for phase in added["phases"]] == [100, 1000, 5000, None]
    assert (added["run"]["phase"], added["version"], added["four_eyes"]) == ("percentage_1", 1, True)
    assert services.plans.get(GENERATION)["phases"] == added["phases"]
    entry = last_entry(services)
    assert (entry["action"], entry["before"], entry["after"]) == ("plan.added", None, added)


def test_a_plan_begins_with_phases_of_its_own_at_the_one_that_is_named(
    services: SimpleNamespace, database: Database
) -> None:
    without_plan(database)
    phases = [
        {"key": "us", "title": "Us", "audience": {"kind": "granted"}},
        {"key": "all", "title": "All", "audience": {"kind": "all"}, "vendors": ["openai"]},
    ]
    added = services.plans.add(ALICE, GENERATION, "we begin", phases=phases, phase="all")
    assert (added["run"]["phase"], added["phases"][1]["vendors"]) == ("all", ["openai"])


@pytest.mark.parametrize(
    ("feature", "options", "param"),
    [
        (ANALYSIS, {"template": "percentage"}, "feature"),
        ("image-painting", {"template": "percentage"}, "feature"),
        (GENERATION, {}, "template"),
        (GENERATION, {"template": "percentage", "phases": []}, "template"),
        (GENERATION, {"template": "big_bang"}, "template"),
        (GENERATION, {"phases": []}, "phases"),
        (GENERATION, {"template": "percentage", "phase": "nowhere"}, "phase"),
        (GENERATION, {"template": "percentage", "reason": " "}, "reason"),
    ],
)
def test_a_plan_that_cannot_be_is_not_begun(
    services: SimpleNamespace, database: Database, feature: str, options: dict[str, Any], param: str
) -> None:
    without_plan(database)
    with pytest.raises(InvalidRequest) as refused:
        services.plans.add(ALICE, feature, **{"reason": "we begin", **options})
    assert refused.value.members["param"] == param
    assert services.plans.list() == []


def test_a_feature_has_one_plan(services: SimpleNamespace) -> None:
    with pytest.raises(Conflict, match="has a plan already"):
        services.plans.add(ALICE, GENERATION, "again", template="percentage")
