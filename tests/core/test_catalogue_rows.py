"""Rows of the catalogue as documents: what is accepted, what is refused with a pointer, and what no accepted catalogue can do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandboxes import seed

from rollout.core.catalogue import Alias, Catalogue, Model
from rollout.core.catalogue_rows import (
    alias_json,
    examine_alias,
    examine_model,
    model_json,
    overlaid,
)
from rollout.core.decisions import GENERATION
from rollout.core.images import ImageRequest
from rollout.core.prices import maximum_image_cost, maximum_message_cost
from rollout.errors import ModelNotFound, ModelRetired, PriceUnknown
from rollout.services.providers import VENDORS

PAINTER, READER = "gpt-image-2", "claude-haiku-5-5"


def document(of: str = PAINTER, **changes: Any) -> dict[str, Any]:
    """The seed's row, with its price under an id of its own: nobody else's."""
    row = copy.deepcopy(model_json(seed().get(of)))
    return {**row, **changes}


def faults(row: dict[str, Any]) -> dict[str, str]:
    _, found = examine_model(row, seed(), VENDORS)
    return {fault.param: fault.message for fault in found}


def price(**changes: Any) -> dict[str, Any]:
    """A next price for PAINTER."""
    return {**document()["prices"][0], "id": "openai/gpt-image-2/2027-01", **changes}


@pytest.mark.parametrize("row", seed().models, ids=lambda model: model.name)
def test_every_row_of_the_seed_is_what_an_admin_could_have_put(row: Model) -> None:
    assert examine_model(model_json(row), seed(), VENDORS) == (row, [])


@pytest.mark.parametrize("row", seed().aliases, ids=lambda alias: alias.name)
def test_every_alias_of_the_seed_is_what_an_admin_could_have_put(row: Alias) -> None:
    assert examine_alias(alias_json(row), seed()) == (row, [])


def test_what_may_be_left_out_is_as_by_default() -> None:
    row = {
        "name": "painter",
        "vendor": "openai",
        "wire": "openai_images",
        "upstream_id": "p-1",
        "feature": GENERATION,
        "prices": [],
        "enabled": False,
    }
    model, found = examine_model(row, seed(), VENDORS)
    assert found == []
    assert model == Model("painter", "openai", "openai_images", "p-1", GENERATION, (), enabled=False)


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"colour": "red"}, "colour", "no such field"),
        ({"vendor": "acme"}, "vendor", "no vendor 'acme'"),
        ({"wire": "anthropic"}, "wire", "openai speaks"),
        ({"name": "new", "feature": "painting"}, "feature", "The features are"),
        ({"feature": "image-analysis"}, "feature", "gpt-image-2 is of image-generation"),
        ({"name": "a/b"}, "name", "1-58 letters"),
        ({"name": "gpt-image-1"}, "name", "An alias has this name"),
        ({"upstream_id": ""}, "upstream_id", "1 to 200"),
        ({"lifecycle": "dead"}, "lifecycle", "one of active, deprecated, retired"),
        ({"retires_at": "soon"}, "retires_at", "a time such as"),
        ({"retires_at": "2027-01-01T00:00:00"}, "retires_at", "a time such as"),
        ({"max_images": 0}, "max_images", "from 1 to"),
        ({"max_images": 10**10}, "max_images", "from 1 to"),
        ({"max_images": True}, "max_images", "Expected `int`"),
        ({"max_tokens": -1}, "max_tokens", "from 0 to"),
        ({"sizes": ["big"]}, "sizes.0", "WIDTHxHEIGHT"),
        ({"sizes": ["0x64"]}, "sizes.0", "WIDTHxHEIGHT"),
        ({"sizes": [1]}, "sizes.0", "Expected `str`"),
        ({"aspect_ratios": ["1:1", "16:9"]}, "aspect_ratios.1", "No size"),
        ({"aspect_ratios": ["wide"]}, "aspect_ratios.0", "No size"),
        ({"size_rule": {"multiple_of": 16}}, "size_rule.max_ratio", "missing"),
        ({"successor": "gone"}, "successor", "no other model 'gone'"),
        ({"successor": PAINTER}, "successor", "no other model"),
        ({"successor": READER}, "successor", "is of image-analysis"),
        ({"fallbacks": ["gpt-image-1.5", "gone"]}, "fallbacks.1", "no other model"),
        ({"moves_to": "gone"}, "moves_to", "no other model"),
        ({"moves_to": READER}, "moves_to", "is of image-analysis"),
        ({"prices": []}, "enabled", "without a price"),
        ({"prices": [price()]}, "prices.0", "stays as it is"),
        ({"prices": "cheap"}, "prices", "Expected"),
        ({"prices": [1]}, "prices.0", "an object"),
    ],
)
def test_what_is_wrong_is_said_with_where_it_stands(changes: dict[str, Any], param: str, words: str) -> None:
    assert words in faults(document(**changes))[param]


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"id": document()["prices"][0]["id"]}, "prices.1.id", "another price"),
        ({"id": "openai/gpt-image-1.5/2026-11"}, "prices.1.id", "another price"),
        ({"per_input_image": -1}, "prices.1.per_input_image", "not negative"),
        ({"id": ""}, "prices.1.id", "1 to 80"),
        ({"source": ""}, "prices.1.source", "where it was read"),
        ({"as_of": "yesterday"}, "prices.1.as_of", "a day such as"),
        ({"as_of": "2026-02-31"}, "prices.1.as_of", "a day such as"),
        ({"per_million": {"text_in": 0}}, "prices.1.per_million.text_in", "A price is 1 to"),
        ({"per_million": {"text_in": 10**10}}, "prices.1.per_million.text_in", "A price is 1 to"),
        ({"per_million": {"text_in": 1.5}}, "prices.1.per_million", "Expected `int`"),
        ({"per_image": []}, "prices.1.per_image", "No cell is as large"),
        ({"per_image": [{"max_pixels": 9, "by_quality": {"*": 5}}]}, "prices.1.per_image", "No cell"),
        (
            {"per_image": [{"max_pixels": 9_000_000, "by_quality": {"low": 5}}]},
            "prices.1.per_image.0.by_quality",
            "quality high",
        ),
        (
            {"per_image": [{"max_pixels": 9_000_000, "by_quality": {}}]},
            "prices.1.per_image.0.by_quality",
            "quality",
        ),
        (
            {"per_image": [{"max_pixels": 9_000_000, "by_quality": {"*": 5, "low": 0}}]},
            "prices.1.per_image.0.by_quality.low",
            "A price is 1 to",
        ),
        (
            {"per_image": [{"max_pixels": 9_000_000, "by_quality": {"*": 5}}] * 2},
            "prices.1.per_image.1.max_pixels",
            "more than the one before",
        ),
        ({"per_picture": {}}, "prices.1.per_picture", "no such field"),
    ],
)
def test_a_price_that_says_too_little_is_refused(changes: dict[str, Any], param: str, words: str) -> None:
    row = document()
    assert words in faults({**row, "prices": [*row["prices"], price(**changes)]})[param]


@pytest.mark.parametrize(
    ("rates", "tiers", "param"),
    [
        ({"in": 5}, [], "prices.1.per_million"),
        (
            {"in": 5, "out": 5},
            [{"above_input_tokens": 9, "per_million": {"in": 4}}],
            "prices.1.tiers.0.per_million.in",
        ),
        (
            {"in": 5, "out": 5},
            [{"above_input_tokens": 0, "per_million": {}}],
            "prices.1.tiers.0.above_input_tokens",
        ),
        ({"in": 5, "out": 5}, [{"above_input_tokens": 9}], "prices.1.tiers.0.per_million"),
    ],
)
def test_a_price_for_messages_says_what_goes_in_and_out_and_its_tiers_rise(
    rates: dict[str, int], tiers: list[Any], param: str
) -> None:
    row = document(READER)
    new = {"id": "n", "as_of": "2027-01-01", "source": "s", "per_million": rates, "tiers": tiers}
    assert param in faults({**row, "prices": [*row["prices"], new]})


def test_all_faults_are_told_at_once() -> None:
    assert set(faults(document(vendor="acme", feature="x", sizes=["a", "1x1", "b"], successor="gone"))) == {
        "vendor",
        "feature",
        "sizes.0",
        "sizes.2",
        "successor",
    }


def test_a_new_price_comes_behind_those_that_entries_name() -> None:
    row = document()
    model, found = examine_model({**row, "prices": [*row["prices"], price()]}, seed(), VENDORS)
    assert found == []
    assert model is not None
    assert model.price.id == "openai/gpt-image-2/2027-01"
    changed = overlaid(seed(), {PAINTER: model_json(model)}, {})
    assert changed.price(row["prices"][0]["id"]) == seed().get(PAINTER).price


def test_models_never_succeed_each_other_in_a_circle() -> None:
    among = overlaid(seed(), {PAINTER: document(successor="gpt-image-1.5")}, {})
    _, found = examine_model(document("gpt-image-1.5", successor=PAINTER), among, VENDORS)
    assert [fault.param for fault in found] == ["successor"]


@pytest.mark.parametrize(
    ("row", "param"),
    [
        ({"name": "n"}, "to"),
        ({"name": "n", "to": "gone"}, "to"),
        ({"name": "n", "to": "gpt-image-1"}, "to"),
        ({"name": PAINTER, "to": PAINTER}, "name"),
        ({"name": "-", "to": PAINTER}, "name"),
        ({"name": "n", "to": PAINTER, "warning": "x" * 2_001}, "warning"),
        ({"name": "n", "to": PAINTER, "since": 5}, "since"),
        ({"name": "n", "to": PAINTER, "moves_to": "gone"}, "moves_to"),
        ({"name": "n", "to": PAINTER, "moves_to": READER}, "moves_to"),
    ],
)
def test_an_alias_leads_to_a_model(row: dict[str, Any], param: str) -> None:
    assert [fault.param for fault in examine_alias(row, seed())[1]] == [param]


def test_a_row_takes_the_place_of_the_seeds_whatever_kind_it_is() -> None:
    """An upgrade may bring a name that an admin had given to something else."""
    model = document("gpt-image-1.5", name="dall-e-2")
    alias = {"to": PAINTER}
    found = overlaid(seed(), {"dall-e-2": model}, {"gpt-image-1-mini": alias})
    assert found.get("dall-e-2").upstream_id == "gpt-image-1.5"
    assert found.resolve("gpt-image-1-mini", GENERATION).model.name == PAINTER


def test_an_alias_of_the_seed_can_be_gone() -> None:
    with pytest.raises(ModelNotFound):
        overlaid(seed(), {}, {"dall-e-2": None}).resolve("dall-e-2", GENERATION)


# -- what no accepted catalogue can do ---------------------------------------------------------------------------------

NAMES = ["a", "b", "c", PAINTER, READER, "gpt-image-1"]
_numbers = st.integers(-1, 3)
_rates = st.dictionaries(st.sampled_from(["text_in", "in", "out", "image_out"]), _numbers, max_size=4)
_cells = st.lists(
    st.fixed_dictionaries(
        {
            "max_pixels": st.sampled_from([1, 4_096, 9_000_000]),
            "by_quality": st.dictionaries(st.sampled_from(["*", "low", "high"]), _numbers),
        }
    ),
    max_size=2,
)
_prices = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["p", "q", "r"]),
        "as_of": st.just("2026-01-01"),
        "source": st.just("s"),
        "per_million": _rates,
        "per_image": _cells,
    }
)
_models = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "vendor": st.just("openai"),
        "wire": st.just("openai_images"),
        "upstream_id": st.just("u"),
        "feature": st.sampled_from(["image-generation", "image-analysis"]),
        "prices": st.lists(_prices, max_size=2),
        "enabled": st.booleans(),
        "lifecycle": st.sampled_from(["active", "deprecated", "retired"]),
        "successor": st.sampled_from([None, *NAMES]),
        "sizes": st.lists(st.sampled_from(["64x64", "1024x1024"]), max_size=2),
        "auto_size": st.sampled_from(["64x64", "1024x1024"]),
        "qualities": st.lists(st.sampled_from(["low", "high"]), max_size=2),
        "max_images": _numbers,
    }
)
_aliases = st.fixed_dictionaries({"name": st.sampled_from(NAMES), "to": st.sampled_from(NAMES)})


@given(st.lists(st.one_of(_models, _aliases), max_size=12))
def test_no_accepted_catalogue_leads_nowhere_or_holds_nothing(rows: list[dict[str, Any]]) -> None:
    models: dict[str, Any] = {}
    aliases: dict[str, Any] = {}
    among = seed()
    for row in rows:
        kept, examined = (
            (models, examine_model(row, among, VENDORS))
            if "vendor" in row
            else (aliases, examine_alias(row, among))
        )
        if examined[0] is not None:
            kept[row["name"]] = row
            among = overlaid(seed(), models, aliases)
    for name in NAMES:
        for feature in ("image-generation", "image-analysis"):
            try:
                model = among.resolve(name, feature).model
            except (ModelNotFound, ModelRetired):
                continue
            assert model.enabled
            assert among.get(model.name) is model
            assert _least_hold(model) > 0


def _least_hold(model: Model) -> int:
    """The smallest hold of any request that the model allows; one that has no price is refused, never held for nothing."""
    if model.feature != GENERATION:
        return maximum_message_cost(model, 1, 1, False, 0).usd_micro
    sizes, qualities = (None, *model.sizes), (None, *model.qualities)
    asked = [
        ImageRequest("generate", "x", model.name, size=size, quality=one)
        for size in sizes
        for one in qualities
    ]
    return min(_hold(model, request) for request in asked)


def _hold(model: Model, request: ImageRequest) -> int:
    """Where there is no rate for the prompt; every size and quality has a cell."""
    try:
        return maximum_image_cost(model, request).usd_micro
    except PriceUnknown as unknown:
        return int(unknown.members["param"] == "model")


def test_a_row_that_makes_no_catalogue_is_not_loaded() -> None:
    with pytest.raises(ValueError, match="n does not lead to a model"):
        overlaid(seed(), {}, {"n": {"to": "gone"}})
    with pytest.raises(ValueError, match="wire: This is missing"):
        overlaid(seed(), {"n": {"vendor": "openai"}}, {})
    with pytest.raises(ValueError, match="stands twice"):
        Catalogue([*seed().models, *seed().models])
