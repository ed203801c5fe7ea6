"""What became of a generation, as webhooks are told of it."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.holds import Hold, StoredResult
from rollout.core.outcomes import outcome

MADE = StoredResult(200, {}, {"generation": "gen_1", "images": [{"id": "img_1", "$blob": "ab"}]})
REFUSED = StoredResult(400, {}, {"category": "violence"})


def hold(state: str, **fields: Any) -> Hold:
    made: dict[str, Any] = {
        "tenant_id": "acme",
        "id": "hold_1",
        "state": state,
        "feature": GENERATION,
        "decision_id": "dec_1",
        "request_id": "req_1",
        "api_key_id": "key_1",
        "idem_key": None,
        "attempt": 1,
        "fingerprint": "f",
        "lines": (),
        "vendor": "openai",
        "model": "gpt-image",
        "price_id": None,
        "cost_usd_micro": 40_000,
        "lease_until": None,
        "created_at": 0,
    }
    return Hold(**{**made, **fields})


@pytest.mark.parametrize(
    ("moved", "event"),
    [
        (hold("settled", result=MADE), "generation.succeeded"),
        (hold("settled", result=REFUSED), "generation.refused"),
        (hold("unknown"), "generation.unknown"),
        (hold("void"), "generation.failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_outcome_has_its_event(moved: Hold, event: str) -> None:
    told = outcome(moved)
    assert told is not None
    assert told[:2] == (event, "acme")
    assert told[2]["hold"] == "hold_1"
    assert told[2]["request_id"] == "req_1"


def test_pictures_are_named_and_not_carried() -> None:
    told = outcome(hold("settled", result=MADE))
    assert told is not None
    assert (told[2]["generation"], told[2]["images"], told[2]["cost_usd_micro"]) == (
        "gen_1",
        ["img_1"],
        40_000,
    )
    assert "ab" not in str(told[2])


@pytest.mark.parametrize(
    "moved",
    [hold("held"), hold("dispatched"), hold("settled"), hold("settled", feature=ANALYSIS, result=MADE)],
)
def test_nobody_is_told_of_what_is_no_outcome_of_a_generation(moved: Hold) -> None:
    assert outcome(moved) is None
