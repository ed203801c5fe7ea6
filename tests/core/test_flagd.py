"""What is written for flagd means what the engine does, for every caller; what it could not mean is left out."""

from __future__ import annotations

from typing import Any

import pytest
from answering import constraint, feature, rollout, strategy, variant
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.core.flagd import SCHEMA, flagd_document
from rollout.sync import embedded

Json = dict[str, Any]


def logic(rule: Any, data: Json) -> Any:
    """As much of JsonLogic as is written."""
    if not isinstance(rule, dict):
        return rule
    (word, arguments), *_ = rule.items()
    if word == "var":
        return data.get(arguments)
    if word == "if":
        return arguments[1] if logic(arguments[0], data) else arguments[2]
    values = [logic(one, data) for one in arguments]
    return {
        "in": lambda: values[0] in values[1],
        "!": lambda: not values[0],
        "and": lambda: all(values),
        "or": lambda: any(values),
    }[word]()


def flagd_answer(flag: Json, data: Json) -> bool:
    assert flag["state"] == "ENABLED"
    variant: str = logic(flag["targeting"], data) if "targeting" in flag else flag["defaultVariant"]
    return bool(flag["variants"][variant])


_VALUES = st.sampled_from(("", "a", "b", "A"))
_LISTED = st.builds(
    lambda field, operator, values, inverted: constraint(field, operator, *values, inverted=inverted),
    st.sampled_from(("userId", "region", "sessionId")),
    st.sampled_from(("IN", "NOT_IN")),
    st.lists(_VALUES, max_size=2),
    st.booleans(),
)
_STRATEGIES = st.lists(
    st.builds(
        lambda base, constraints, segments: {**base, "constraints": constraints, "segments": segments},
        st.sampled_from(
            (strategy(), rollout(100, "default"), strategy("userWithId", parameters={"userIds": "a, b"}))
        ),
        st.lists(_LISTED, max_size=2),
        st.lists(st.just(1), max_size=1),
    ),
    max_size=3,
)
_CALLERS = st.dictionaries(st.sampled_from(("userId", "region", "sessionId")), _VALUES)


@settings(max_examples=150, deadline=None)
@given(strategies=_STRATEGIES, segment=st.lists(_LISTED, max_size=2), enabled=st.booleans(), caller=_CALLERS)
def test_flagd_would_answer_as_the_engine_does(
    strategies: list[Json], segment: list[Json], enabled: bool, caller: Json
) -> None:
    flag = {**feature("x"), "strategies": strategies, "enabled": enabled}
    document = {"version": 2, "features": [flag], "segments": [{"id": 1, "constraints": segment}]}
    written, left_out = flagd_document(document)
    assert (written["$schema"], left_out) == (SCHEMA, [])
    answer = embedded.load(document, 0).answer("x", caller)
    assert answer is not None
    data = {"targetingKey" if name == "userId" else name: value for name, value in caller.items()}
    assert flagd_answer(written["flags"]["x"], data) is answer["feature_enabled"]


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        (feature("x", dependencies=[{"feature": "y"}]), "depends on other flags"),
        (feature("x", variants=[variant("blue")]), "has variants"),
        (feature("x", strategy(variants=[variant("blue")])), "has variants"),
        (feature("x", rollout(50, "default")), "flexibleRollout"),
        (feature("x", rollout(100, "region")), "flexibleRollout"),
        (feature("x", strategy("made-up")), "made-up"),
        (feature("x", strategy(segments=[7])), "a segment that is not there"),
        (feature("x", strategy(constraints=[constraint("v", "SEMVER_GT", value="1.0.0")])), "SEMVER_GT"),
        (feature("x", strategy(constraints=[constraint("environment", "IN", "test")])), "'environment'"),
        (feature("x", strategy(constraints=[constraint("a.b", "IN", "test")])), "'a.b'"),
    ],
)
def test_what_flagd_cannot_say_exactly_is_left_out_with_the_reason(flag: Json, reason: str) -> None:
    written, left_out = flagd_document({"features": [flag, feature("plain")], "segments": []})
    assert list(written["flags"]) == ["plain"]
    assert [one["name"] for one in left_out] == ["x"]
    assert reason in left_out[0]["reason"]


def test_a_flag_that_is_off_stays_off_whatever_its_code_says() -> None:
    off = feature("x", rollout(50, "default"), enabled=False)
    (flag,) = flagd_document({"features": [off]})[0]["flags"].values()
    assert (flag["state"], flag["defaultVariant"], flag["variants"]["off"]) == ("ENABLED", "off", False)
