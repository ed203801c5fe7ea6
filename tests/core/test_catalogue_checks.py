"""What a vendor's list says otherwise than the catalogue."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sandboxes import model, seed

from rollout.core.catalogue import Catalogue
from rollout.core.catalogue_checks import (
    DAY,
    Finding,
    Listed,
    Proposal,
    applied,
    differences,
    ending,
    family,
)
from rollout.core.catalogue_rows import model_json, read_model
from rollout.core.times import epoch, rfc3339

CLAUDES = [one for one in seed().models if one.vendor == "anthropic" and one.lifecycle != "retired"]
NOW = epoch("2026-11-22T12:00:00Z")
LATER = epoch("2027-05-01T00:00:00Z")


def listed(*changes: Listed, without: str = "") -> list[Listed]:
    """Anthropic's list, which agrees with the catalogue but for the changes."""
    rows = {one.upstream_id: Listed(one.upstream_id, one.retires_at) for one in CLAUDES}
    rows |= {one.upstream_id: one for one in changes}
    rows.pop(without, None)
    return list(rows.values())


def told(*changes: Listed, without: str = "") -> list[Finding]:
    return differences("anthropic", seed(), listed(*changes, without=without))


def test_a_list_that_agrees_says_nothing() -> None:
    assert told() == []


def test_a_day_that_is_new_or_another_one_is_found() -> None:
    day = {"retires_at": "2027-05-01T00:00:00Z"}
    for name in ("claude-haiku-5-5", "claude-sonnet-4-5"):
        assert told(Listed(name, LATER)) == [Finding("anthropic", name, "retires", day)]


def test_a_vendor_that_names_no_day_says_nothing_of_ours() -> None:
    assert told(Listed("claude-sonnet-4-5")) == []


def test_a_model_that_is_missing_or_named_as_retired_is_gone() -> None:
    assert told(without="claude-haiku-5-5") == [
        Finding("anthropic", "claude-haiku-5-5", "gone", {"retires_at": None})
    ]
    (found,) = told(Listed("claude-haiku-5-5", LATER, is_retired=True))
    assert (found.kind, found.found) == ("gone", {"retires_at": "2027-05-01T00:00:00Z"})


def test_more_of_a_family_is_found_and_other_families_are_not() -> None:
    (found,) = told(
        Listed("claude-haiku-6"), Listed("claude-haiku-4", is_retired=True), Listed("embed-english-3")
    )
    assert (found.model, found.kind, found.found) == (
        "claude-haiku-6",
        "unlisted",
        {"like": "claude-haiku-5-5"},
    )


def test_what_the_catalogue_knows_as_retired_or_by_another_name_is_not_new() -> None:
    assert told(Listed("claude-sonnet-4-20250514"), Listed("claude-sonnet-4")) == []


def test_models_by_tasks_stand_in_no_list() -> None:
    by_tasks = replace(model("gpt-image-2"), is_async=True)
    assert differences("openai", Catalogue([by_tasks]), [Listed("whisper-1")]) == []


@pytest.mark.parametrize(
    ("upstream_id", "kin"),
    [
        ("claude-sonnet-5-5", "claude-sonnet-"),
        ("gpt-image-2", "gpt-image-"),
        ("whisper", "whisper"),
        ("4o", ""),
    ],
)
def test_a_family_is_what_stands_before_the_first_figure(upstream_id: str, kin: str) -> None:
    assert family(upstream_id) == kin


@pytest.mark.parametrize(
    ("left", "days"),
    [
        (31 * DAY, None),
        (30 * DAY, 30),
        (8 * DAY, 30),
        (7 * DAY, 7),
        (DAY + 1, 7),
        (DAY, 1),
        (1, 1),
        (0, None),
    ],
)
def test_an_end_is_near_by_thirty_seven_and_one_days(left: int, days: int | None) -> None:
    one = replace(model("claude-sonnet-4-5"), retires_at=NOW + left)
    assert [found for _, found in ending([one], NOW)] == ([] if days is None else [days])
    assert list(ending([replace(one, lifecycle="retired")], NOW)) == []


def proposal(kind: str, name: str, **found: object) -> Proposal:
    return Proposal("prp_1", "anthropic", name, kind, found, "open", NOW)  # type: ignore[arg-type]


def test_a_day_that_is_applied_deprecates_the_row() -> None:
    document = model_json(model("claude-haiku-5-5"))
    after = applied(proposal("retires", "claude-haiku-5-5", retires_at=rfc3339(LATER)), document, (), NOW)
    assert after == {
        **document,
        "lifecycle": "deprecated",
        "deprecated_at": rfc3339(NOW),
        "retires_at": rfc3339(LATER),
    }


def test_a_model_that_is_gone_is_retired_by_the_day_that_is_known() -> None:
    document = model_json(model("claude-sonnet-4-5"))
    after = applied(proposal("gone", "claude-sonnet-4-5", retires_at=None), document, (), NOW)
    assert after == {**document, "lifecycle": "retired"}


def test_a_model_that_is_new_is_disabled_and_without_price_under_a_name_of_its_own() -> None:
    like = model_json(replace(model("claude-haiku-5-5"), fallbacks=("claude-sonnet-5-5",)))
    new = proposal("unlisted", "claude-haiku-6", like="claude-haiku-5-5")
    made, faults = read_model(applied(new, like, (), NOW))
    assert made, faults
    assert (made.name, made.upstream_id, made.vendor) == ("claude-haiku-6", "claude-haiku-6", "anthropic")
    assert (made.enabled, made.prices, made.fallbacks, made.created_at) == (False, (), (), NOW)
    assert made.max_tokens == model("claude-haiku-5-5").max_tokens
    named = applied(new, like, ("claude-haiku-6",), NOW)
    assert (named["name"], named["upstream_id"]) == ("anthropic-claude-haiku-6", "claude-haiku-6")
