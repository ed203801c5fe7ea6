"""What an SDK is given of a document: which flags, how their segments come, and that nothing is lost on the way."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.core.flag_tokens import ALL_PROJECTS
from rollout.core.unleash import (
    Query,
    client_features,
    features,
    hydration,
    parse_spec,
    segments,
    within,
)
from rollout.errors import InvalidRequest
from rollout.sync import embedded


def flag(name: str, *segments: int, project: str = "default", **members: Any) -> dict[str, Any]:
    strategy = {"name": "default", "parameters": {}, "constraints": [], "segments": list(segments)}
    return {"name": name, "enabled": True, "project": project, "strategies": [strategy], **members}


def segment(number: int, *users: str, **members: Any) -> dict[str, Any]:
    constraint = {"contextName": "userId", "operator": "IN", "values": list(users), **members}
    return {"id": number, "name": f"s{number}", "constraints": [constraint]}


DOCUMENT = {
    "version": 2,
    "features": [
        flag("shop.cart", 1, tags=[{"type": "team", "value": "shop"}]),
        flag("shop.pay", 2, project="money", tags=[{"type": "team", "value": "shop"}]),
        {**flag("quiet"), "enabled": False, "unheard": {"of": [1]}},
    ],
    "segments": [segment(1, "ann"), segment(2, "bob"), {**segment(3, "eve"), "unheard": True}],
    "unheard": "of",
}


@pytest.mark.parametrize(
    ("text", "version"),
    [(None, (0, 0, 0)), ("5.2.0", (5, 2, 0)), (" 4.10.1 ", (4, 10, 1)), ("6.1.0-beta.1+x", (6, 1, 0))],
)
def test_a_version_of_the_specification_is_read(text: str | None, version: tuple[int, int, int]) -> None:
    assert parse_spec(text) == version


@pytest.mark.parametrize("text", ["", "5", "5.2", "v5.2.0", "five", "5.2.0.1", "5.2.0;", "-1.0.0", "9" * 50])
def test_what_is_no_version_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_spec(text)
    assert refused.value.members["param"] == "Unleash-Client-Spec"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (Query("production"), ["shop.cart", "shop.pay", "quiet"]),
        (Query("production", ("money",)), ["shop.pay"]),
        (Query("production", ()), []),
        (Query("production", prefix="shop."), ["shop.cart", "shop.pay"]),
        (Query("production", ("default",), "shop.", ("team:shop",)), ["shop.cart"]),
        (Query("production", tags=("team:shop", "team:other")), []),
    ],
)
def test_a_query_gets_the_flags_that_it_asks_for(query: Query, names: list[str]) -> None:
    assert [feature["name"] for feature in features(DOCUMENT, query)] == names


def test_a_query_tells_itself_from_others() -> None:
    queries = [
        Query("production"),
        Query("development"),
        Query("production", inline=True),
        Query("production", ()),
        Query("production", ("default",)),
        Query("production", prefix="default"),
    ]
    assert len({query.hash() for query in queries}) == len(queries)


def test_projects_are_those_of_the_token_that_were_asked_for() -> None:
    assert within(ALL_PROJECTS, []) == ALL_PROJECTS
    assert within(ALL_PROJECTS, ["b", "a", "b"]) == ("a", "b")
    assert within(("a", "b"), []) == ("a", "b")
    assert within(("a",), ["a", "secret"]) == ("a",)
    assert within(("a",), ["secret"]) == ()


def test_the_whole_document_is_served_with_all_that_it_holds() -> None:
    served = client_features(DOCUMENT, Query("production"), 7)
    assert {name: served[name] for name in DOCUMENT} == DOCUMENT
    assert served["query"] == {"environment": "production", "inlineSegmentConstraints": False}
    tag = f'"{Query("production").hash()}:7:v1"'
    assert served["meta"] == {"revisionId": 7, "etag": tag, "queryHash": Query("production").hash()}


def test_a_part_of_the_flags_comes_with_their_segments_alone() -> None:
    assert segments(DOCUMENT, Query("production", ("money",))) == [segment(2, "bob")]
    (event,) = hydration(DOCUMENT, Query("production", ("money",)), 7)["events"]
    assert (event["type"], event["eventId"]) == ("hydration", 7)
    assert [item["id"] for item in event["segments"]] == [2]


def test_an_older_sdk_gets_constraints_in_place_of_segments_and_the_document_stays() -> None:
    before = copy.deepcopy(DOCUMENT)
    served = client_features(DOCUMENT, Query("production", inline=True), 7)
    assert "segments" not in served
    (strategy,) = served["features"][0]["strategies"]
    assert "segments" not in strategy
    assert strategy["constraints"] == segment(1, "ann")["constraints"]
    assert served["features"][2]["unheard"] == {"of": [1]}
    assert before == DOCUMENT


USERS = ("ann", "bob", "eve")
_segments = st.lists(
    st.builds(
        lambda users, inverted, values: (users, {"inverted": inverted, **values}),
        st.lists(st.sampled_from(USERS), unique=True),
        st.booleans(),
        st.sampled_from([{}, {"operator": "STR_STARTS_WITH"}, {"operator": "NOT_IN"}]),
    ),
    max_size=3,
)


@settings(deadline=None, max_examples=60)
@given(known=_segments, used=st.lists(st.lists(st.integers(1, 4), max_size=3), max_size=3))
def test_in_place_or_by_id_segments_mean_the_same_to_the_engine(
    known: list[tuple[list[str], dict[str, Any]]], used: list[list[int]]
) -> None:
    """A segment that is not there lets nobody in, either way."""
    document = {
        "version": 2,
        "features": [flag(f"f{index}", *numbers) for index, numbers in enumerate(used)],
        "segments": [segment(number, *users, **rest) for number, (users, rest) in enumerate(known, 1)],
    }
    by_id = embedded.load(client_features(document, Query("production"), 1), 1)
    in_place = embedded.load(client_features(document, Query("production", inline=True), 1), 1)
    for name in by_id.names:
        for user in USERS:
            assert by_id.answer(name, {"userId": user}) == in_place.answer(name, {"userId": user})
