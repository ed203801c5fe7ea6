"""What a person may save as a flag: each slip is found, with where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.authoring import STRATEGIES, completed, examine_flag, examine_name
from rollout.core.constraints import ALL_OPERATORS, Doubt, Fault, Surroundings
from rollout.core.segments import examine_segment, parents_of, segments_of, values_of
from rollout.sync import embedded

NOW = 1_795_348_800  # 2026-11-22
AROUND = Surroundings(
    NOW,
    embedded.understands,
    segments={1},
    parents={"parent": ["grandparent"], "grandparent": [], "child": ["new"]},
    values={"region": {"eu"}},
)


def flag(**members: Any) -> dict[str, Any]:
    return completed({"name": "new", "enabled": True, "strategies": [{"name": "default"}], **members})


def strategy(name: str = "default", **members: Any) -> dict[str, Any]:
    return flag(strategies=[{"name": name, **members}])


def constraint(
    operator: str, value: str | None = None, values: list[str] | None = None, **members: Any
) -> dict[str, Any]:
    compared = {"value": value, "values": values or []}
    return strategy(constraints=[{"contextName": "userId", "operator": operator, **compared, **members}])


def faults(document: Mapping[str, Any]) -> list[str]:
    return [one.param for one in examine_flag(document, AROUND) if isinstance(one, Fault)]


def doubts(document: Mapping[str, Any]) -> list[str]:
    found = list(examine_flag(document, AROUND))
    assert not [one for one in found if isinstance(one, Fault)]
    return [one.param for one in found if isinstance(one, Doubt)]


VARIANT = {"name": "a", "weight": 1000}
AT = "strategies.0.constraints.0"

REFUSED = [
    (flag(strategies=[]), "strategies"),
    (flag(strategies="all"), "strategies"),
    (flag(strategies=["default"]), "strategies.0"),
    (flag(strategies=[{"name": "default"}] * 31), "strategies"),
    (flag(enabled="yes"), "enabled"),
    (flag(project="a b"), "project"),
    (flag(description="x" * 1001), "description"),
    (constraint("REGEX", "(a"), f"{AT}.value"),
    (constraint("REGEX", "a)b"), f"{AT}.value"),
    (constraint("REGEX", "a" * 513), f"{AT}.value"),
    (constraint("REGEX", "(a+)+$"), f"{AT}.value"),
    (constraint("REGEX", "((a|aa)b)*"), f"{AT}.value"),
    (constraint("REGEX", "a++"), f"{AT}.value"),
    (constraint("REGEX", "(a{2})?{3}"), f"{AT}.value"),
    (constraint("REGEX", r"(?=a)a"), f"{AT}.value"),
    (constraint("REGEX", r"(a)\1"), f"{AT}.value"),
    (constraint("REGEX", "[b-a]"), f"{AT}.value"),
    (constraint("REGEX", "a\\"), f"{AT}.value"),
    (constraint("REGEX", "a", ["a"]), f"{AT}.values"),
    (constraint("SEMVER_GT", "1.2"), f"{AT}.value"),
    (constraint("SEMVER_EQ", "v1.2.3"), f"{AT}.value"),
    (constraint("NUM_EQ", ".5"), f"{AT}.value"),
    (constraint("NUM_GT", "inf"), f"{AT}.value"),
    (constraint("NUM_GT", "1" * 101), f"{AT}.value"),
    (constraint("DATE_AFTER", "2027-01-01"), f"{AT}.value"),
    (constraint("DATE_AFTER", "2027-13-01T00:00:00Z"), f"{AT}.value"),
    (constraint("IN_CIDR", values=["10.0.0.0/33"]), f"{AT}.values.0"),
    (constraint("WITHIN", values=["a"]), f"{AT}.operator"),
    (constraint("IN"), f"{AT}.values"),
    (constraint("IN", values=["x" * 101]), f"{AT}.values.0"),
    (constraint("IN", values=[str(number) for number in range(251)]), f"{AT}.values"),
    (constraint("IN", "a", ["a"]), f"{AT}.value"),
    (constraint("IN", values=["a"], inverted="no"), f"{AT}.inverted"),
    (strategy(constraints=[{"operator": "IN", "values": ["a"]}]), f"{AT}.contextName"),
    (strategy(constraints=["userId"]), AT),
    (strategy(constraints={}), "strategies.0.constraints"),
    (strategy(segments=[2]), "strategies.0.segments.0"),
    (strategy(segments=["1"]), "strategies.0.segments.0"),
    (strategy("nearby"), "strategies.0.name"),
    (strategy(parameters=[]), "strategies.0.parameters"),
    (strategy("flexibleRollout"), "strategies.0.parameters.rollout"),
    (strategy("flexibleRollout", parameters={"rollout": "12.5"}), "strategies.0.parameters.rollout"),
    (strategy("flexibleRollout", parameters={"rollout": 50}), "strategies.0.parameters.rollout"),
    (strategy("gradualRolloutRandom", parameters={"percentage": "101"}), "strategies.0.parameters.percentage"),
    (strategy("userWithId", parameters={"userIds": " "}), "strategies.0.parameters.userIds"),
    (strategy("remoteAddress", parameters={"IPs": "10.0.0.1, home"}), "strategies.0.parameters.IPs"),
    (strategy(variants=[{"name": "a", "weight": 999}]), "strategies.0.variants"),
    (flag(variants=[{"name": "a", "weight": 500}, {"name": "b", "weight": 499}]), "variants"),
    (flag(variants=[{"name": "a", "weight": 1000.0}]), "variants"),
    (flag(variants=[{**VARIANT, "name": ""}]), "variants.0.name"),
    (flag(variants=[{"name": "a", "weight": 500}] * 2), "variants.1.name"),
    (flag(variants=[{**VARIANT, "payload": {"type": "json", "value": "{"}}]), "variants.0.payload.value"),
    (flag(variants=[{**VARIANT, "payload": {"type": "number", "value": "many"}}]), "variants.0.payload.value"),
    (flag(variants=[{**VARIANT, "payload": {"type": "string", "value": 1}}]), "variants.0.payload.value"),
    (flag(variants=[{**VARIANT, "payload": {"type": "xml", "value": ""}}]), "variants.0.payload.type"),
    (flag(variants=[{**VARIANT, "weightType": "heavy"}]), "variants.0.weightType"),
    (flag(variants=[{**VARIANT, "overrides": [{"values": ["a"]}]}]), "variants.0.overrides.0.contextName"),
    (flag(dependencies=[{"feature": "nobody"}]), "dependencies.0.feature"),
    (flag(dependencies=[{"feature": "new"}]), "dependencies.0.feature"),
    (flag(dependencies=[{"feature": "child"}]), "dependencies.0.feature"),
    (flag(dependencies=[{"feature": "parent", "variants": [1]}]), "dependencies.0.variants"),
]  # fmt: skip

ASKED = [
    (constraint("NOT_IN", values=["ana"]), AT),
    (constraint("STR_CONTAINS", values=["a"], inverted=True), AT),
    (constraint("IN", values=["a"], caseInsensitive=True), f"{AT}.caseInsensitive"),
    (constraint("DATE_BEFORE", "2026-01-01T00:00:00Z", contextName="currentTime"), f"{AT}.value"),
    (constraint("IN", values=["small"], contextName="plan"), f"{AT}.contextName"),
    (strategy("flexibleRollout", parameters={"rollout": "50", "stickiness": "userId"}), "strategies.0.parameters.stickiness"),
    (flag(variants=[{**VARIANT, "stickiness": "sessionId"}]), "variants.0.stickiness"),
    (flag(strategys=[]), "strategys"),
    (strategy(disabled=True), "strategies.0.disabled"),
    (strategy(parameters={"rollout": "5"}), "strategies.0.parameters.rollout"),
]  # fmt: skip

TAKEN = [
    flag(),
    flag(enabled=False, strategies=[]),
    constraint("IN", values=["ana"]),
    constraint("NOT_IN", values=["cli"], contextName="appName"),
    constraint("STR_STARTS_WITH", values=["A"], caseInsensitive=True),
    constraint("NUM_LTE", "-0.5"),
    constraint("DATE_AFTER", "2027-01-01T00:00:00+07:00", contextName="currentTime"),
    constraint("SEMVER_GTE", "1.20.0-rc.1"),
    constraint("IN_CIDR", values=["10.0.0.0/8", "::1"], contextName="remoteAddress"),
    constraint("REGEX", r"^(?:[a-z]+|\d{2,4}(\.\d+)?)@acme\.(com|org)$"),
    constraint("REGEX", r"[^]a[:digit:]+*]*"),
    strategy(segments=[1]),
    strategy("flexibleRollout", parameters={"rollout": "50"}),
    strategy("gradualRolloutUserId", parameters={"percentage": "5", "groupId": "g"}),
    strategy("remoteAddress", parameters={"IPs": "10.0.0.1, 10.1.0.0/16"}),
    flag(variants=[{**VARIANT, "payload": {"type": "json", "value": '{"a": 1}'}}]),
    flag(dependencies=[{"feature": "parent", "enabled": False}]),
]


@pytest.mark.parametrize(("document", "param"), REFUSED)
def test_what_would_be_misread_is_refused_with_where_it_stands(document: dict[str, Any], param: str) -> None:
    assert faults(document) == [param]


@pytest.mark.parametrize(("document", "param"), ASKED)
def test_what_may_not_be_meant_is_asked_about(document: dict[str, Any], param: str) -> None:
    assert doubts(document) == [param]


@pytest.mark.parametrize("document", TAKEN)
def test_what_is_right_is_taken_by_the_checks_and_by_the_engine(document: dict[str, Any]) -> None:
    assert doubts(document) == []
    assert embedded.load({"version": 2, "features": [document]}, 0).names == {"new"}


def test_a_value_that_elsewhere_is_written_in_another_case_is_asked_about() -> None:
    found = list(examine_flag(constraint("IN", values=["EU", "eu"], contextName="region"), AROUND))
    assert [one.param for one in found] == [f"{AT}.values.0", f"{AT}.contextName"]
    assert "eu" in found[0].message


def test_all_that_is_wrong_is_found_at_once() -> None:
    document = completed({"name": "new", "enabled": 1, "strategies": [{"name": "x"}], "variants": None})
    assert faults(document) == ["enabled", "strategies.0.name", "variants"]


def test_a_circle_of_dependencies_is_told_with_its_way() -> None:
    around = Surroundings(
        NOW, embedded.understands, parents={"a": ["b"], "b": ["c"], "c": ["new"], "x": ["a"]}
    )
    (found,) = examine_flag(flag(dependencies=[{"feature": "x"}]), around)
    assert "new -> x -> a -> b -> c -> new" in found.message


@pytest.mark.parametrize("name", ["../../admin", "", "a b", "é", "x" * 101, ".hidden", "export", 5, None])
def test_a_name_that_is_unsafe_in_an_address_is_refused(name: object) -> None:
    assert [one.param for one in examine_name(name)] == ["name"]


def test_what_may_be_left_out_is_filled_in_and_nothing_is_taken_away() -> None:
    rollout = {"name": "flexibleRollout", "parameters": {"rollout": "5"}, "segments": [1]}
    document = completed({"name": "new", "strategies": [rollout], "lastSeenAt": None})
    assert document == {
        "name": "new",
        "type": "release",
        "enabled": False,
        "project": "default",
        "stale": False,
        "impressionData": False,
        "description": None,
        "strategies": [
            {
                "name": "flexibleRollout",
                "parameters": {"rollout": "5", "stickiness": "default", "groupId": "new"},
                "constraints": [],
                "variants": [],
                "segments": [1],
            }
        ],
        "variants": [],
        "lastSeenAt": None,
    }
    assert completed(document) == document


def test_a_segment_needs_a_name_and_constraints_of_which_it_may_have_very_many_values() -> None:
    many = {"contextName": "tenantId", "operator": "IN", "values": [f"t{n}" for n in range(20_000)]}
    assert list(examine_segment({"id": 2, "name": "large", "constraints": [many]}, AROUND)) == []
    found = list(examine_segment({"id": 2, "name": " ", "constraints": []}, AROUND))
    assert [one.param for one in found] == ["name", "constraints"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
CONSTRAINTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "contextName": ANYTHING | st.just("userId"),
            "operator": st.sampled_from(ALL_OPERATORS) | ANYTHING,
            "value": st.text(max_size=8) | ANYTHING,
            "values": st.lists(st.text(max_size=4), max_size=3) | ANYTHING,
            "inverted": st.booleans() | ANYTHING,
        },
    ),
    max_size=2,
)
VARIANTS = st.lists(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("name", "weight", "payload", "stickiness", "overrides"), ANYTHING)
    ),
    max_size=2,
)
STRATEGY = st.fixed_dictionaries(
    {"name": st.sampled_from(list(STRATEGIES)) | ANYTHING},
    optional={
        "parameters": ANYTHING,
        "segments": ANYTHING,
        "constraints": CONSTRAINTS | ANYTHING,
        "variants": VARIANTS | ANYTHING,
    },
)
DEPENDENCY = st.fixed_dictionaries({}, optional={"feature": ANYTHING, "variants": ANYTHING})
WILD = st.fixed_dictionaries(
    {"name": st.just("new")},
    optional={
        "enabled": st.booleans() | ANYTHING,
        "type": ANYTHING,
        "variants": VARIANTS | ANYTHING,
        "dependencies": st.lists(DEPENDENCY, max_size=2) | ANYTHING,
        "strategies": st.lists(STRATEGY, max_size=2) | ANYTHING,
    },
)


@given(WILD)
def test_whatever_comes_is_looked_at_without_a_crash_and_what_passes_is_loaded(
    document: dict[str, Any],
) -> None:
    draft = completed(document)
    segments_of(draft), parents_of(draft), values_of([draft])
    if not [one for one in examine_flag(draft, AROUND) if isinstance(one, Fault)]:
        assert embedded.load({"version": 2, "features": [draft]}, 0).names == {"new"}
