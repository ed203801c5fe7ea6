"""What people write of a plan: the same after a round through JSON, by patches as by the whole, and never what makes no sense."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.contents import check_lock, parse_phases, patch_to, patched
from rollout.core.decisions import GENERATION
from rollout.core.flags import Constraint
from rollout.core.gates import Gate
from rollout.core.plans import (
    Audience,
    Everyone,
    Granted,
    Percentage,
    Phase,
    Plan,
    Run,
    RunningPlan,
    Segment,
    content_json,
    plan_json,
)
from rollout.core.templates import TEMPLATES, default_phases, phases_of
from rollout.errors import Conflict, InvalidRequest

PLAN = Plan(GENERATION, "salt", default_phases(GENERATION), version=7)
METER = {"unit": "image", "period": "day", "cap": 5}
FULL = {**METER, "name": "image-day", "level": "feature", "feature": GENERATION, "hard": True}
DAY = "2026-12-01T00:00:00Z"
DAY_BEFORE = "2026-11-30T00:00:00Z"


def phase(key: str = "one", **members: Any) -> dict[str, Any]:
    return {"key": key, "title": key, "audience": {"kind": "granted"}, **members}


def share(key: str, points: int, **members: Any) -> dict[str, Any]:
    return phase(key, audience={"kind": "percentage", "basis_points": points}, **members)


def segment(*constraints: tuple[str, str, Any]) -> dict[str, Any]:
    said = [
        {
            "contextName": name,
            "operator": operator,
            **({"values": value} if isinstance(value, list) else {"value": value}),
        }
        for name, operator, value in constraints
    ]
    return {"kind": "segment", "constraints": said}


# -- what is there comes back --------------------------------------------------------------------------------

names = st.text("abcdefgh", min_size=1, max_size=6)
conditions = st.builds(
    lambda field, values: Constraint(field, "IN", tuple(values)),
    names,
    st.lists(names, min_size=1, max_size=3),
)
attributes = st.lists(conditions, min_size=1, max_size=2, unique_by=lambda item: item.context_name).map(tuple)
audiences: st.SearchStrategy[Audience] = st.one_of(
    st.builds(Granted, st.lists(names, max_size=2).map(tuple)),
    st.builds(Segment, attributes),
    st.builds(Percentage, st.just(5_000), st.just(()) | attributes),
)
meters = st.lists(st.just(FULL), max_size=1).map(tuple)
phases = st.builds(
    Phase,
    st.just(""),
    st.text("Aa é", min_size=1, max_size=9).filter(lambda text: text == text.strip()),
    audiences,
    meters,
    st.none() | st.just(("openai",)),
    st.none() | st.builds(Gate, not_before=st.just(1_800_000_000), approvals=st.integers(1, 3)),
    st.none() | st.builds(Gate, seconds=st.integers(1, 10**6), requests=st.integers(1, 99)),
    st.none() | st.builds(Gate, failed_percent=st.floats(0, 100), usd_micro_per_image=st.integers(1, 10**6)),
)
plans = st.lists(st.tuples(names, phases), min_size=1, max_size=5, unique_by=lambda pair: pair[0])


def made(pairs: list[tuple[str, Phase]], four_eyes: bool) -> Plan:
    """Nothing follows the last phase, so it has no exit."""
    listed = [dataclasses.replace(one, key=key) for key, one in pairs]
    listed[-1] = dataclasses.replace(listed[-1], exit=None)
    return Plan(GENERATION, "salt", tuple(listed), four_eyes=four_eyes)


@given(plans, st.booleans())
def test_what_is_written_is_read_again(pairs: list[tuple[str, Phase]], four_eyes: bool) -> None:
    plan = made(pairs, four_eyes)
    told = json.loads(json.dumps(content_json(plan)))
    assert parse_phases(told["phases"], GENERATION) == plan.phases
    shown = plan_json(RunningPlan(plan, Run(1, plan.phases[0].key, "running", 0, "ana")))
    assert parse_phases(json.loads(json.dumps(shown))["phases"], GENERATION) == plan.phases


@given(plans, plans, st.booleans())
def test_the_patch_from_one_plan_to_another_gives_the_other(
    before: list[tuple[str, Phase]], after: list[tuple[str, Phase]], four_eyes: bool
) -> None:
    one, other = made(before, False), made(after, four_eyes)
    patch = json.loads(json.dumps(patch_to(one, other)))
    assert patched(one, patch) == other
    assert patch_to(other, other) == {}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_makes_a_plan_that_could_have_been_written(template: str) -> None:
    plan = Plan(GENERATION, "salt", phases_of(template, GENERATION))
    assert parse_phases(content_json(plan)["phases"], GENERATION) == plan.phases


def test_a_template_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(InvalidRequest, match="partner_beta, percentage, internal_first") as refused:
        phases_of("big_bang", GENERATION)
    assert refused.value.members["param"] == "template"


# -- what makes no sense -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({}, "phases"),
        ([], "phases"),
        ([phase(f"p{number}") for number in range(31)], "phases"),
        (["one"], "phases.0"),
        ([phase(colour="red")], "phases.0.colour"),
        ([{**phase(), "key": 7}], "phases.0.key"),
        ([phase("Upper")], "phases.0.key"),
        ([phase("a" * 65)], "phases.0.key"),
        ([phase(), phase()], "phases.1.key"),
        ([phase(title=" ")], "phases.0.title"),
        ([phase(title="x" * 201)], "phases.0.title"),
        ([phase(title="a\nb")], "phases.0.title"),
        ([phase(audience=None)], "phases.0.audience"),
        ([phase(audience={"kind": "percentage", "basis_points": 12.5})], "phases.0.audience.basis_points"),
        (
            [phase(audience=segment(("grant", "IN", ["active"])))],
            "phases.0.audience.constraints.0.contextName",
        ),
        ([phase(vendors=[])], "phases.0.vendors"),
        ([phase(vendors="openai")], "phases.0.vendors"),
        ([phase(moves_on="yes")], "phases.0.moves_on"),
        ([phase(moves_on=True)], "phases.0.moves_on"),
        ([phase(entry={})], "phases.0.entry"),
        ([phase(entry={"requests": 3})], "phases.0.entry.requests"),
        ([phase(exit={"seconds": 60})], "phases.0.exit"),
        (
            [phase("a", entry={"not_before": DAY}), phase("b", entry={"not_before": DAY_BEFORE})],
            "phases.1.entry.not_before",
        ),
        ([share("a", 2_000), share("b", 1_000)], "phases.1.audience.basis_points"),
        ([share("a", 2_000), phase("b"), share("c", 1_999)], "phases.2.audience.basis_points"),
        ([share("a", 10), share("b", 0)], "phases.1.audience.basis_points"),
        ([share("a", 0, exit={"requests": 5}), share("b", 100)], "phases.0.exit.requests"),
        ([phase("a", audience={"kind": "all"}), phase("b")], "phases.1.audience"),
        ([phase("a", audience={"kind": "all"}), phase("b", audience={"kind": "all"})], "phases.1.audience"),
        ([phase(quota={})], "phases.0.quota"),
        ([phase(quota=["image"])], "phases.0.quota.0"),
        ([phase(quota=[{"unit": "image", "period": "day"}])], "phases.0.quota.0.cap"),
        ([phase(quota=[{**METER, "cap": -1}])], "phases.0.quota.0.cap"),
        ([phase(quota=[{**METER, "cap": True}])], "phases.0.quota.0.cap"),
        ([phase(quota=[{**METER, "cap": "5"}])], "phases.0.quota.0.cap"),
        ([phase(quota=[{**METER, "unit": "stone"}])], "phases.0.quota.0.unit"),
        ([phase(quota=[{**METER, "tenant": "acme"}])], "phases.0.quota.0.tenant"),
        ([phase(quota=[{**METER, "level": "platform"}])], "phases.0.quota.0.level"),
        ([phase(quota=[{**METER, "feature": "image-analysis"}])], "phases.0.quota.0.feature"),
        ([phase(quota=[METER, METER])], "phases.0.quota.1"),
        ([phase(quota=[METER] * 21)], "phases.0.quota"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(data: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_phases(data, GENERATION)
    assert refused.value.members["param"] == param


def test_a_meter_of_a_quota_gets_what_was_not_said_of_it() -> None:
    budget = {**METER, "level": "phase", "unit": "usd_micro"}
    each, together = parse_phases([phase(quota=[METER, budget])], GENERATION)[0].quota
    assert each == FULL
    assert (together["name"], together["hard"]) == ("image-generation-one-money-day", True)
    listed = parse_phases([phase(quota=[METER, budget])], GENERATION)
    assert listed[0].quota_of_each == (FULL,)


def test_shares_of_different_tenants_may_differ() -> None:
    eu = [{"contextName": "region", "operator": "IN", "values": ["eu"]}]
    listed = [share("a", 2_000), share("b", 1_000)]
    listed[1]["audience"]["filter"] = eu
    assert len(parse_phases(listed, GENERATION)) == 2
    assert len(parse_phases([share("a", 0), share("b", 0 + 1), share("c", 10_000)], GENERATION)) == 3


@pytest.mark.parametrize(
    "constraints",
    [
        (("region", "IN", ["eu"]), ("region", "IN", ["us"])),
        (("region", "IN", ["eu", "us"]), ("region", "STR_STARTS_WITH", ["a"])),
        (("region", "IN", ["eu", "us"]), ("region", "STR_ENDS_WITH", ["a"]), ("tier", "IN", ["1"])),
        (("region", "IN", ["eu"]), ("region", "STR_CONTAINS", ["x", "y"])),
        (("seats", "IN", ["5", "many"]), ("seats", "NUM_GT", "5")),
        (("seats", "NUM_GT", "5"), ("seats", "NUM_LT", "5")),
        (("seats", "NUM_GT", "5"), ("seats", "NUM_LTE", "5.0")),
        (("seats", "NUM_EQ", "5"), ("seats", "NUM_EQ", "6")),
        (("seats", "NUM_GTE", "7"), ("seats", "NUM_LT", "7")),
    ],
)
def test_conditions_that_no_tenant_can_meet_are_refused(constraints: Any) -> None:
    with pytest.raises(InvalidRequest, match="Nobody can enter") as refused:
        parse_phases([phase(audience=segment(*constraints))], GENERATION)
    assert refused.value.members["param"] == "phases.0.audience.constraints"
    in_share = {"kind": "percentage", "basis_points": 5, "filter": segment(*constraints)["constraints"]}
    with pytest.raises(InvalidRequest) as refused:
        parse_phases([phase(audience=in_share)], GENERATION)
    assert refused.value.members["param"] == "phases.0.audience.filter"


@pytest.mark.parametrize(
    "constraints",
    [
        (("region", "IN", ["eu", "us"]), ("region", "IN", ["us"])),
        (("region", "IN", ["eu"]), ("country", "IN", ["us"])),
        (("region", "STR_STARTS_WITH", ["eu"]), ("region", "STR_ENDS_WITH", ["1"])),
        (("seats", "NUM_GT", "5"), ("seats", "NUM_LT", "5.1")),
        (("seats", "NUM_GTE", "5"), ("seats", "NUM_LTE", "5")),
        (("seats", "IN", ["5", "6"]), ("seats", "NUM_GT", "5")),
        (("seats", "NUM_GT", "5"), ("seats", "STR_CONTAINS", ["9"])),
    ],
)
def test_conditions_that_somebody_could_meet_are_taken(constraints: Any) -> None:
    assert len(parse_phases([phase(audience=segment(*constraints))], GENERATION)) == 1


# -- patches -------------------------------------------------------------------------------------------------


def patch(**phases: Any) -> Plan:
    return patched(PLAN, {"phases": phases})


def keys(plan: Plan) -> list[str]:
    return [one.key for one in plan.phases]


def test_a_patch_changes_what_it_names_and_nothing_else() -> None:
    plan = patch(percentage={"audience": {"basis_points": 2_500}, "vendors": ["openai"]})
    assert plan.phases[3] == dataclasses.replace(
        PLAN.phases[3], audience=Percentage(2_500), vendors=("openai",)
    )
    assert plan.phases[:3] + plan.phases[4:] == PLAN.phases[:3] + PLAN.phases[4:]
    assert patched(plan, {"phases": {"percentage": {"vendors": None}}}).phases[3].vendors is None
    assert patched(PLAN, {"four_eyes": True}) == dataclasses.replace(PLAN, four_eyes=True)


def test_an_audience_of_another_kind_keeps_nothing_of_the_former() -> None:
    assert patch(percentage={"audience": {"kind": "granted"}}).phases[3].audience == Granted()


def test_phases_are_added_moved_and_removed() -> None:
    added = patch(pilot={"title": "Pilot", "audience": {"kind": "granted"}, "after": "wider_beta"})
    assert keys(added)[2:4] == ["wider_beta", "pilot"]
    assert keys(patched(added, {"phases": {"pilot": {"after": None}}}))[0] == "pilot"
    assert keys(patched(added, {"phases": {"pilot": None}})) == keys(PLAN)
    swapped = patch(
        percentage_50=None, late={"title": "Late", "audience": {"kind": "granted"}, "after": "percentage"}
    )
    assert keys(swapped)[3:] == ["percentage", "late", "general_availability"]


@pytest.mark.parametrize(
    ("patch", "param"),
    [
        ({"run": {}}, "run"),
        ({"four_eyes": "yes"}, "four_eyes"),
        ({"phases": []}, "phases"),
        ({"phases": {"percentage": "half"}}, "phases.percentage"),
        ({"phases": {"percentage": {"key": "share"}}}, "phases.percentage.key"),
        ({"phases": {"percentage": {"after": "nowhere"}}}, "phases.percentage.after"),
        ({"phases": {"percentage": {"after": "percentage"}}}, "phases.percentage.after"),
        (
            {"phases": {"percentage": {"audience": {"basis_points": 6_000}}}},
            "phases.percentage_50.audience.basis_points",
        ),
        ({"phases": {"percentage": {"audience": None}}}, "phases.percentage.audience"),
        ({"phases": {"percentage": {"entry": 3}}}, "phases.percentage.entry"),
        ({"phases": {"nowhere": None}}, "phases.nowhere"),
        ({"phases": {"new": {"title": "New"}}}, "phases.new.after"),
        ({"phases": {"new": {"title": "New", "after": "internal"}}}, "phases.new.audience"),
        ({"phases": {"new": phase("new", after="general_availability")}}, "phases.new.audience"),
        ({"phases": dict.fromkeys(keys(PLAN))}, "phases"),
    ],
)
def test_a_patch_that_makes_no_sense_is_refused_at_its_field(patch: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        patched(PLAN, patch)
    assert refused.value.members["param"] == param


# -- the lock ------------------------------------------------------------------------------------------------

RUNNING = RunningPlan(PLAN, Run(2, "private_beta", "running", 0, "ana", open_to="wider_beta"))


@pytest.mark.parametrize(
    "changes",
    [
        {"internal": {"title": "Us"}},
        {"percentage": {"audience": {"basis_points": 4_000}, "hold": {"failed_percent": 1}, "quota": []}},
        {"percentage": None, "percentage_50": {"moves_on": True, "exit": {"seconds": 60}}},
        {"late": phase("late", after="wider_beta")},
    ],
)
def test_titles_and_phases_to_come_may_change_while_it_runs(changes: Any) -> None:
    check_lock(RUNNING, patch(**changes))


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"internal": {"audience": {"cohorts": None}}}, "phases.internal.audience"),
        ({"private_beta": {"quota": []}}, "phases.private_beta.quota"),
        ({"wider_beta": {"vendors": ["openai"]}}, "phases.wider_beta.vendors"),
        ({"wider_beta": {"entry": {"approvals": 1}}}, "phases.wider_beta.entry"),
        ({"private_beta": {"exit": {"seconds": 60}}}, "phases.private_beta.exit"),
        ({"private_beta": {"hold": {"failed_percent": 1}}}, "phases.private_beta.hold"),
        ({"private_beta": {"exit": {"seconds": 60}, "moves_on": True}}, "phases.private_beta.exit"),
        ({"internal": None}, "phases.internal"),
        ({"wider_beta": None}, "phases.wider_beta"),
        ({"early": phase("early", after=None)}, "phases.early.after"),
        ({"early": phase("early", after="internal")}, "phases.early.after"),
        ({"percentage": {"after": "internal"}}, "phases.percentage.after"),
    ],
)
def test_a_phase_that_is_open_is_locked(changes: Any, param: str) -> None:
    with pytest.raises(Conflict, match="open") as refused:
        check_lock(RUNNING, patch(**changes))
    assert refused.value.members["param"] == param
    assert refused.value.remedy_text.startswith("Restart")


def test_of_all_phases_that_are_open_none_can_be_left_out() -> None:
    alone = dataclasses.replace(PLAN, phases=PLAN.phases[:2])
    with pytest.raises(Conflict) as refused:
        check_lock(RUNNING, alone)
    assert refused.value.members["param"] == "phases.wider_beta"
    assert Everyone() not in [one.audience for one in alone.phases]
