"""What is kept of an error that a tenant was told."""

from __future__ import annotations

import json

from ledgers import meter

from rollout.core.meters import limit_of, open_bucket, refusal
from rollout.core.refusals import MAX_ITEMS, MAX_TEXT, members_of, text
from rollout.errors import FeatureNotEnabled, InvalidRequest


def test_what_callers_sent_is_not_kept() -> None:
    error = InvalidRequest(
        "wrong", param="size", errors=[{"message": "a secret prompt"}], prompt="a secret prompt"
    )
    assert members_of(error) == {"remedy": InvalidRequest.remedy, "param": "size"}


def test_reason_detail_and_an_own_remedy_are_kept() -> None:
    error = FeatureNotEnabled(
        "no", remedy="Ask.", reason="not_granted", detail="Not yet.", feature="image-generation"
    )
    assert members_of(error) == {
        "remedy": "Ask.",
        "feature": "image-generation",
        "reason": "not_granted",
        "detail": "Not yet.",
    }


def test_of_the_limits_those_that_were_full_are_kept_with_their_figures() -> None:
    full, roomy = meter("image", "day", 3), meter("request", "minute", 60)
    limits = [limit_of(one, open_bucket(one, 0), 0) for one in (full, roomy)]
    error = refusal([(limits[0], 4)], "dec_1", 0)
    error.limits = tuple(limits)
    (kept,) = members_of(error)["limits"]
    assert (kept["meter"], kept["cap"], kept["used"], kept["held"]) == (full.id, 3, 0, 0)


def test_texts_and_lists_are_bounded() -> None:
    error = InvalidRequest(
        "wrong", remedy="x" * 9_000, param="y" * 9_000, violated_policies=["z" * 9_000] * 900
    )
    kept = members_of(error)
    assert len(kept["remedy"]) == len(kept["param"]) == MAX_TEXT
    assert len(kept["violated_policies"]) == MAX_ITEMS
    assert len(json.dumps(kept)) < (MAX_ITEMS + 3) * MAX_TEXT


def test_what_no_database_keeps_is_replaced() -> None:
    assert text("a\x00b\ud800", 9) == "a\N{REPLACEMENT CHARACTER}b?"
