"""A flag that an engine would misread is refused before it sees it, with a pointer to the field."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from rollout.core.flags import Constraint, check_document, parse_constraint
from rollout.core.plans import Plan, Run, RunningPlan, compile_flag, document
from rollout.core.templates import default_phases
from rollout.errors import InvalidRequest

PLAN = RunningPlan(
    Plan("image-generation", "salt", default_phases("image-generation")),
    Run(1, "percentage", "running", 0, "ana"),
)


def good() -> dict[str, Any]:
    return copy.deepcopy(document([compile_flag(PLAN, killed=False)]))


def test_what_a_plan_compiles_to_is_accepted() -> None:
    assert check_document(good()) == {"image-generation"}


def test_a_document_without_flags_is_accepted() -> None:
    assert check_document(document([])) == frozenset()


def _drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda flag: flag.pop(name)


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda flag: flag.update({name: value})


def _in_strategy(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda flag: flag["strategies"][1].update({name: value})


FIRST = "features.0"
SECOND_STRATEGY = "features.0.strategies.1"


@pytest.mark.parametrize(
    ("spoil", "param"),
    [
        (_drop("strategies"), f"{FIRST}.strategies"),
        (_set("strategies", []), f"{FIRST}.strategies"),
        (_set("strategies", "all"), f"{FIRST}.strategies"),
        (_set("enabled", "true"), f"{FIRST}.enabled"),
        (_drop("enabled"), f"{FIRST}.enabled"),
        (_set("name", "a/b"), f"{FIRST}.name"),
        (_set("name", "x" * 101), f"{FIRST}.name"),
        (_set("name", None), f"{FIRST}.name"),
        (_in_strategy("name", "userWithId"), f"{SECOND_STRATEGY}.name"),
        (_in_strategy("parameters", {"rollout": 100}), f"{SECOND_STRATEGY}.parameters"),
        (_in_strategy("parameters", {"rollout": "12.5"}), f"{SECOND_STRATEGY}.parameters.rollout"),
        (_in_strategy("parameters", {"rollout": "101"}), f"{SECOND_STRATEGY}.parameters.rollout"),
        (_in_strategy("parameters", {"rollout": "50"}), f"{SECOND_STRATEGY}.parameters"),
        (_in_strategy("constraints", None), f"{SECOND_STRATEGY}.constraints"),
        (_in_strategy("variants", None), f"{SECOND_STRATEGY}.variants"),
        (_in_strategy("variants", [{"name": "a", "weight": 999}]), f"{SECOND_STRATEGY}.variants"),
        (_in_strategy("variants", [{"weight": 1000}]), f"{SECOND_STRATEGY}.variants"),
        (_in_strategy("variants", [{"name": "a", "weight": "1000"}]), f"{SECOND_STRATEGY}.variants"),
    ],
)
def test_a_flag_that_would_be_misread_is_refused(
    spoil: Callable[[dict[str, Any]], object], param: str
) -> None:
    spoiled = good()
    spoil(spoiled["features"][0])
    with pytest.raises(InvalidRequest) as refused:
        check_document(spoiled)
    assert refused.value.members["param"] == param


@pytest.mark.parametrize("text", [None, [], {}, {"features": {}}, {"version": 2}])
def test_a_document_of_another_shape_is_refused(text: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_document(text)
    assert refused.value.members["param"] == "features"


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_document({"features": [good()["features"][0], "flag"]})
    assert refused.value.members["param"] == "features.1.name"


def test_two_flags_of_one_name_are_refused() -> None:
    twice = good()
    twice["features"] *= 2
    with pytest.raises(InvalidRequest) as refused:
        check_document(twice)
    assert refused.value.members["param"] == "features.1.name"


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ("region", "at"),
        ({"contextName": "", "operator": "IN", "values": ["a"]}, "at.contextName"),
        ({"contextName": 7, "operator": "IN", "values": ["a"]}, "at.contextName"),
        ({"operator": "IN", "values": ["a"]}, "at.contextName"),
        ({"contextName": "region", "operator": "NOT_IN", "values": ["a"]}, "at.operator"),
        ({"contextName": "region", "operator": "SEMVER_EQ", "value": "1.0.0"}, "at.operator"),
        ({"contextName": "region", "operator": "IN", "values": []}, "at.values"),
        ({"contextName": "region", "operator": "IN"}, "at.values"),
        ({"contextName": "region", "operator": "IN", "values": "eu"}, "at.values"),
        ({"contextName": "region", "operator": "IN", "values": [1]}, "at.values"),
        ({"contextName": "region", "operator": "IN", "values": ["x" * 101]}, "at.values"),
        ({"contextName": "region", "operator": "IN", "values": ["x"] * 251}, "at.values"),
        ({"contextName": "region", "operator": "IN", "values": ["x"], "value": "x"}, "at.value"),
        ({"contextName": "seats", "operator": "NUM_LT", "value": "many"}, "at.value"),
        ({"contextName": "seats", "operator": "NUM_LT", "value": "NaN"}, "at.value"),
        ({"contextName": "seats", "operator": "NUM_LT", "value": 7}, "at.value"),
        ({"contextName": "seats", "operator": "NUM_LT", "values": ["7"], "value": "7"}, "at.values"),
        ({"contextName": "region", "operator": "IN", "values": ["a"], "inverted": True}, "at"),
        ({"contextName": "region", "operator": "IN", "values": ["a"], "caseInsensitive": True}, "at"),
        ({"contextName": "region", "operator": "IN", "values": ["a"], "not": True}, "at.not"),
    ],
)
def test_a_constraint_that_fails_open_or_means_nothing_is_refused(data: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_constraint(data, "at")
    assert refused.value.members["param"] == param


@pytest.mark.parametrize(
    "constraint",
    [Constraint("region", "IN", ("eu", "us")), Constraint("seats", "NUM_GTE", value="12.5")],
)
def test_a_constraint_survives_being_written_and_read(constraint: Constraint) -> None:
    assert parse_constraint(constraint.document(), "at") == constraint
