"""What becomes of a thinking budget: passed, mapped to an effort, or refused by its field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import orjson
import pytest

from rollout.core.catalogue import Model
from rollout.core.thinking import effort_for, think
from rollout.errors import InvalidRequest
from rollout.services.catalogue import load_seed

ADAPTIVE = load_seed().get("claude-sonnet-5-5")
BUDGETED = load_seed().get("claude-sonnet-4-5")
ALL = ("low", "medium", "high", "xhigh", "max")


def members(**values: Any) -> dict[str, msgspec.Raw]:
    return {
        name: msgspec.Raw(value if isinstance(value, bytes) else orjson.dumps(value))
        for name, value in values.items()
    }


def sent(model: Model, budget: int, **more: Any) -> tuple[dict[str, Any], str | None]:
    thought = think(
        model, members(thinking={"type": "enabled", "budget_tokens": budget}, **more), 100_000, "map"
    )
    return {name: orjson.loads(bytes(value)) for name, value in thought.members.items()}, thought.told


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(1_024, "low"), (1_999, "low"), (2_000, "medium"), (7_999, "medium"), (8_000, "high"), (23_999, "high"),
     (24_000, "xhigh"), (63_999, "xhigh"), (64_000, "max")],
)  # fmt: skip
def test_a_budget_becomes_the_effort_that_stands_for_it(budget: int, effort: str) -> None:
    assert effort_for(budget, ALL) == effort
    assert sent(ADAPTIVE, budget) == (
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}},
        f"adaptive; effort={effort}; cap={budget}",
    )


def test_a_model_that_lacks_the_effort_gets_the_next_lower_one() -> None:
    assert effort_for(30_000, ("low", "medium", "high")) == "high"
    assert effort_for(30_000, ()) is None
    assert sent(replace(ADAPTIVE, efforts=()), 30_000)[1] == "adaptive; cap=30000"


def test_a_model_that_takes_budgets_gets_the_very_bytes() -> None:
    asked = members(thinking=b'{ "budget_tokens":2048,"type":"enabled" }', temperature=1)

    thought = think(BUDGETED, asked, 4_000, "strict")

    assert thought.members is asked
    assert thought.told == "enabled; budget=2048"


def test_only_thinking_and_the_effort_change_every_other_byte_stays() -> None:
    asked = members(
        messages=b'[ {"role":"user"} ]',
        output_config=b'{"format": {"type" : "json_schema"}}',
        thinking=b'{"type":"enabled","budget_tokens":9000,"display" : "summarized"}',
        metadata=b'{ "user_id":"u" }',
    )

    found = {name: bytes(value) for name, value in think(ADAPTIVE, asked, 10_000, "map").members.items()}

    assert list(found) == list(asked)
    assert found["thinking"] == b'{"type":"adaptive","display":"summarized"}'
    assert found["output_config"] == b'{"format":{"type" : "json_schema"},"effort":"high"}'
    assert (found["messages"], found["metadata"]) == (b'[ {"role":"user"} ]', b'{ "user_id":"u" }')


def test_an_effort_that_the_caller_chose_stays() -> None:
    body, told = sent(ADAPTIVE, 9_000, output_config={"effort": "low"})

    assert body["output_config"] == {"effort": "low"}
    assert told == "adaptive; effort=low; cap=9000"


@pytest.mark.parametrize(
    "asked", [{}, {"thinking": None}, {"thinking": {"type": "adaptive"}}, {"thinking": {"type": "disabled"}}]
)
def test_what_names_no_budget_is_passed_on_and_nothing_is_told(asked: dict[str, Any]) -> None:
    given = members(**asked)

    assert think(ADAPTIVE, given, 1_000, "strict").members is given
    assert think(ADAPTIVE, given, 1_000, "map").told is None


def test_a_model_of_which_nothing_is_known_is_the_vendors_to_judge() -> None:
    given = members(thinking={"type": "enabled", "budget_tokens": 2_000})

    assert think(replace(BUDGETED, thinking=()), given, 3_000, "map").members is given


@pytest.mark.parametrize(
    ("model", "thinking", "param", "says"),
    [
        (ADAPTIVE, {"type": "enabled"}, "thinking.budget_tokens", "at least 1024"),
        (ADAPTIVE, {"type": "enabled", "budget_tokens": 1_023}, "thinking.budget_tokens", "at least 1024"),
        (ADAPTIVE, {"type": "enabled", "budget_tokens": "4096"}, "thinking.budget_tokens", "at least 1024"),
        (ADAPTIVE, {"type": "enabled", "budget_tokens": 2_000.5}, "thinking.budget_tokens", "at least 1024"),
        (ADAPTIVE, {"type": "enabled", "budget_tokens": True}, "thinking.budget_tokens", "at least 1024"),
        (ADAPTIVE, {"type": "enabled", "budget_tokens": 5_000}, "thinking.budget_tokens", "`max_tokens`, which is 5000"),
        (BUDGETED, {"type": "enabled", "budget_tokens": 64_000}, "thinking.budget_tokens", "the 64000 tokens"),
        (BUDGETED, {"type": "adaptive"}, "thinking.type", "enabled, disabled"),
        (ADAPTIVE, {"type": "always"}, "thinking.type", "between_tools"),
        (ADAPTIVE, {"type": 3}, "thinking.type", "a string"),
        (ADAPTIVE, "enabled", "thinking", "an object"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_field(model: Model, thinking: Any, param: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        think(model, members(thinking=thinking), 5_000, "map")

    assert refused.value.members["param"] == param
    assert says in refused.value.message


def test_a_strict_tenant_is_told_what_to_send_instead() -> None:
    with pytest.raises(InvalidRequest) as refused:
        think(ADAPTIVE, members(thinking={"type": "enabled", "budget_tokens": 4_000}), 5_000, "strict")

    assert refused.value.members["param"] == "thinking.budget_tokens"
    assert "adaptive" in refused.value.remedy_text


def test_a_count_has_no_max_tokens_to_lie_below() -> None:
    asked = members(thinking={"type": "enabled", "budget_tokens": 50_000})

    assert think(ADAPTIVE, asked, None, "map").told == "adaptive; effort=xhigh; cap=50000"
