"""What a flag reads of a context, and what becomes of the contexts that callers send."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from answering import constraint, feature, rollout, strategy, variant

from rollout.core.decisions import Reason
from rollout.core.flag_answers import as_tenant, flags_of, parse_context
from rollout.core.ofrep import REASONS, Told
from rollout.errors import InvalidRequest


def reads(*features: dict[str, Any], **members: Any) -> list[str]:
    """What the first flag reads."""
    return sorted(flags_of({"features": list(features), **members})[features[0]["name"]].reads)


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        (feature("f"), []),
        (feature("f", rollout(100, "default")), ["default"]),
        (feature("f", rollout(50, "random")), ["random"]),
        (feature("f", strategy("flexibleRollout")), ["default"]),
        (feature("f", strategy(constraints=[constraint("region", "IN", "eu")])), ["region"]),
        (feature("f", strategy("userWithId")), ["userId"]),
        (feature("f", strategy("gradualRolloutSessionId")), ["sessionId"]),
        (feature("f", strategy("gradualRolloutRandom")), ["random"]),
        (feature("f", strategy("remoteAddress")), ["remoteAddress"]),
        (feature("f", strategy("their-own")), []),
        (feature("f", variants=[variant("one")]), []),
        (feature("f", variants=[variant("one", 500), variant("two", 500)]), ["default"]),
        (
            feature("f", variants=[variant("one", overrides=[{"contextName": "team", "values": []}])]),
            ["team"],
        ),
        (
            feature("f", rollout(100, "tenantId", variants=[variant("a", stickiness="s"), variant("b")])),
            ["default", "s", "tenantId"],
        ),
        (feature("f", {"name": "default", "parameters": None, "constraints": None, "variants": None}), []),
    ],
)
def test_a_flag_reads_what_its_strategies_and_variants_do(
    document: dict[str, Any], fields: list[str]
) -> None:
    assert reads(document) == fields


def test_a_flag_reads_what_its_segments_and_all_flags_above_it_do() -> None:
    in_segment = feature("f", strategy(segments=[7, 8]), dependencies=[{"feature": "parent"}])
    parent = feature("parent", rollout(100, "plan"), dependencies=[{"feature": "top"}, {"feature": "gone"}])
    top = feature("top", strategy("userWithId"), dependencies=[{"feature": "f"}])
    segment = {"id": 7, "name": "s", "constraints": [constraint("region", "IN", "eu")]}
    assert reads(in_segment, parent, top, segments=[segment]) == ["plan", "region", "userId"]


def test_texts_numbers_and_truth_values_are_texts_and_the_rest_is_left_out() -> None:
    said = {
        "userId": 7,
        "sessionId": None,
        "plan": "gold",
        "paid": True,
        "share": 1.5,
        "address": {"city": "Jakarta"},
        "properties": {"plan": "silver", "list": [1]},
    }
    assert parse_context(said) == {
        "userId": "7",
        "properties": {"plan": "silver", "paid": "true", "share": "1.5"},
    }


@pytest.mark.parametrize("said", [None, [], "me", 1, {"properties": "x"}, {"properties": [1]}])
def test_what_is_no_context_is_refused(said: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_context(said)
    assert refused.value.members["param"].startswith("context")


def test_what_decides_a_gate_is_never_taken_from_a_caller() -> None:
    claims = {"tenantId": "globex", "grant": "active", "partnerBucket": "0", "plan": "gold", "region": "us"}
    context = parse_context({"userId": "u", "currentTime": "2031-01-01T00:00:00Z", **claims})
    assert as_tenant(context, {"tenantId": "acme", "region": "eu"}) == {
        "userId": "u",
        "properties": {"plan": "gold", "region": "eu", "tenantId": "acme"},
    }


def test_every_reason_of_ours_has_one_that_openfeatures_clients_know() -> None:
    assert set(REASONS) == set(get_args(Reason))
    assert set(REASONS.values()) <= set(get_args(Told))
