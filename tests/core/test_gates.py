"""Gates: what they say, how they stand, and that evidence is never told as met where nothing happened."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.gates import CONDITIONS, Condition, Evidence, Gate, Kind, parse_gate, standing
from rollout.errors import InvalidRequest

NOW = 1_795_348_800
NOTHING = Evidence()

COUNT = st.integers(1, 1000)
PERCENT = st.integers(0, 100) | st.floats(0, 100)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "not_before": st.integers(946_684_800, 7_000_000_000),
    "seconds": COUNT,
    "approvals": st.integers(1, 10),
    "requests": COUNT,
    "tenants": COUNT,
    "ratings": COUNT,
    "raters": COUNT,
    "evaluations": COUNT,
    "refused_percent": PERCENT,
    "failed_percent": PERCENT,
    "negative_percent": PERCENT,
    "poor_percent": PERCENT,
    "usd_micro_per_image": COUNT,
}


def gates(kind: Kind) -> st.SearchStrategy[Gate]:
    return st.fixed_dictionaries({}, optional={name: VALUES[name] for name in CONDITIONS[kind]}).map(
        lambda said: Gate(**said)
    )


def whole(most: int = 2000) -> st.SearchStrategy[int]:
    return st.integers(0, most)


EVIDENCE = st.builds(
    lambda requests, refused, failed, ratings, negative, evaluations, poor, **others: Evidence(
        requests=requests,
        refused=min(refused, requests),
        failed=min(failed, requests),
        ratings=ratings,
        negative=min(negative, ratings),
        evaluations=evaluations,
        poor=min(poor, evaluations),
        **others,
    ),
    requests=whole(),
    refused=whole(),
    failed=whole(),
    ratings=whole(),
    negative=whole(),
    evaluations=whole(),
    poor=whole(),
    tenants=whole(),
    raters=whole(),
    images=whole(),
    cost_usd_micro=whole(),
)


def look(gate: Gate, kind: Kind, evidence: Evidence = NOTHING, passed: int = 0) -> list[Condition]:
    return standing(gate, kind, "beta", evidence, NOW, NOW + passed)


def words(*found: Condition) -> list[str]:
    return [condition.word for condition in found]


@pytest.mark.parametrize("kind", get_args(Kind))
@given(data=st.data())
def test_a_gate_is_read_as_it_was_written(kind: Kind, data: st.DataObject) -> None:
    gate = data.draw(gates(kind))
    written = gate.as_json()
    if written and (kind != "hold" or set(written) - {"requests", "ratings", "evaluations"}):
        assert parse_gate(written, "gate", kind) == gate


@given(gates("exit"), EVIDENCE, whole())
def test_an_exit_is_met_once_each_minimum_is_there_and_stays_met(
    gate: Gate, evidence: Evidence, passed: int
) -> None:
    met = all(word == "healthy" for word in words(*look(gate, "exit", evidence, passed)))
    minimums = ("requests", "tenants", "ratings", "raters", "evaluations")
    assert met == (
        passed >= (gate.seconds or 0)
        and all(getattr(evidence, name) >= (getattr(gate, name) or 0) for name in minimums)
    )
    assert not met or set(words(*look(gate, "exit", evidence, passed + 1))) <= {"healthy"}


@given(gates("hold"), EVIDENCE)
def test_a_ceiling_is_judged_only_where_enough_happened(gate: Gate, evidence: Evidence) -> None:
    for condition in look(gate, "hold", evidence):
        counted = {"negative_percent": "ratings", "poor_percent": "evaluations"}.get(
            condition.name, "requests"
        )
        enough = getattr(evidence, counted) >= (getattr(gate, counted) or 1)
        if condition.word in ("failing", "healthy"):
            assert enough
            assert condition.actual is not None
            assert (condition.word == "failing") == (condition.actual > condition.wanted)
        else:
            assert condition.missing > 0
            assert not enough or condition.actual is None


@given(gates("exit"))
def test_where_nothing_happened_no_minimum_is_met_and_nothing_fails(gate: Gate) -> None:
    found = [condition for condition in look(gate, "exit", NOTHING, 10**9) if not condition.by_time_alone]
    assert set(words(*found)) <= {"no_data"}


def test_an_entry_opens_at_its_time() -> None:
    gate = Gate(not_before=NOW + 60)
    assert words(*look(gate, "entry")) == ["not_yet"]
    assert words(*look(gate, "entry", passed=60)) == ["healthy"]
    assert look(gate, "entry")[0].sentence == "beta opens at 2026-11-22T12:01:00Z, not before."


def test_the_four_words_of_a_ceiling() -> None:
    gate = Gate(requests=100, failed_percent=5)
    told = {
        name: look(gate, "hold", evidence)[0]
        for name, evidence in {
            "no_data": NOTHING,
            "not_enough": Evidence(requests=40, failed=40),
            "failing": Evidence(requests=100, failed=6),
            "healthy": Evidence(requests=100, failed=5),
        }.items()
    }
    assert {name: condition.word for name, condition in told.items()} == {name: name for name in told}
    assert told["not_enough"].missing == 60
    assert told["not_enough"].sentence == "beta needs 60 more requests before failed_percent can be told."
    assert told["failing"].sentence == "6 percent of the requests in beta count as failed, more than 5."


def test_what_a_picture_costs_is_told_only_of_pictures() -> None:
    gate = Gate(usd_micro_per_image=40_000)
    assert words(*look(gate, "hold", Evidence(requests=3, refused=3))) == ["not_enough"]
    dear = Evidence(requests=3, images=2, cost_usd_micro=80_002)
    assert words(*look(gate, "hold", dear)) == ["failing"]


@pytest.mark.parametrize(
    ("kind", "data", "param"),
    [
        ("entry", [], "at"),
        ("entry", {}, "at"),
        ("entry", {"seconds": 5}, "at.seconds"),
        ("entry", {"not_before": "2026-12-01T00:00:00"}, "at.not_before"),
        ("entry", {"not_before": "tomorrow"}, "at.not_before"),
        ("entry", {"not_before": 5}, "at.not_before"),
        ("entry", {"approvals": 11}, "at.approvals"),
        ("exit", {"requests": 0}, "at.requests"),
        ("exit", {"requests": True}, "at.requests"),
        ("exit", {"seconds": 1.5}, "at.seconds"),
        ("exit", {"failed_percent": 5}, "at.failed_percent"),
        ("hold", {"failed_percent": 101}, "at.failed_percent"),
        ("hold", {"failed_percent": float("nan")}, "at.failed_percent"),
        ("hold", {"failed_percent": "5"}, "at.failed_percent"),
        ("hold", {"requests": 100}, "at"),
    ],
)
def test_what_a_gate_cannot_say_is_refused_with_its_place(kind: Kind, data: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_gate(data, "at", kind)
    assert refused.value.members["param"] == param
