from dataclasses import replace

import pytest
from sandboxes import seed

from rollout.core.catalogue import Alias, Catalogue, SizeRule
from rollout.errors import ModelNotFound, ModelRetired
from rollout.services.catalogue import parse

RULE = SizeRule(multiple_of=16, max_ratio=3, max_edge=3840, max_pixels=8_294_400)


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("gpt-image-1", "gpt-image-2.5-flare"),
        ("dall-e-2", "gpt-image-2.5-sunburst"),
        ("dall-e-3", "gpt-image-2.5-sunburst"),
        ("chatgpt-4o-image", "chatgpt-image-latest"),
        ("gpt-image-2", "gpt-image-2"),
    ],
)
def test_names_in_the_wild_lead_to_a_model_that_answers(name, answers):
    resolved = seed().resolve(name, "image-generation")
    assert resolved.model.name == answers
    assert resolved.requested == name
    assert bool(resolved.warnings) == (name != answers)


def test_a_name_that_ended_at_its_vendor_tells_when():
    resolved = seed().resolve("dall-e-3", "image-generation")
    assert resolved.sunset_at == 1_778_544_000  # 2026-05-12
    assert resolved.deprecated_at < resolved.sunset_at


def test_a_deprecated_model_answers_and_names_its_successor():
    resolved = seed().resolve("claude-sonnet-4-5", "image-analysis")
    assert resolved.sunset_at == 1_795_996_800  # 2026-11-30
    assert resolved.warnings == ("claude-sonnet-4-5 is deprecated; move to claude-sonnet-5-5",)


@pytest.mark.parametrize(
    ("name", "successor"), [("claude-sonnet-4", "claude-sonnet-5-5"), ("claude-opus-4", "claude-opus-5-5")]
)
def test_a_retired_model_is_refused_with_its_successor(name, successor):
    with pytest.raises(ModelRetired) as refused:
        seed().resolve(name, "image-analysis")
    assert refused.value.members == {"param": "model", "successor": successor}


@pytest.mark.parametrize("name", ["", "gpt-image-9", "claude-sonnet-5-5", "x" * 10_000])
def test_an_unknown_model_and_one_of_another_feature_are_not_found(name):
    with pytest.raises(ModelNotFound) as refused:
        seed().resolve(name, "image-generation")
    assert refused.value.members["param"] == "model"
    assert len(refused.value.message) < 300


def test_a_snapshot_answers_under_its_own_name_and_is_sent_as_such():
    resolved = seed().resolve("gpt-image-2-2026-04-21", "image-generation")
    assert resolved.model.upstream_id == "gpt-image-2-2026-04-21"
    assert resolved.model.price == seed().get("gpt-image-2").price


def test_every_price_of_the_seed_is_dated_sourced_and_above_zero():
    for model in seed().models:
        price = model.price
        assert price.as_of
        assert price.source
        assert min(price.per_million.values()) > 0
        assert all(min(cell.by_quality.values()) > 0 for cell in price.per_image)
        assert [cell.max_pixels for cell in price.per_image] == sorted(
            cell.max_pixels for cell in price.per_image
        )


@pytest.mark.parametrize(
    ("size", "allowed"),
    [
        ((16, 16), True),
        ((1792, 1024), True),
        ((3840, 2160), True),
        ((2160, 3840), True),
        ((1024, 3072), True),
        ((1024, 3088), False),
        ((1000, 1000), False),
        ((3840, 2176), False),
        ((3856, 2144), False),
        ((0, 16), False),
    ],
)
def test_the_size_rule_bounds_edges_ratio_and_area(size, allowed):
    assert RULE.allows(*size) is allowed


def test_a_catalogue_that_contradicts_itself_cannot_be_built():
    model = seed().get("gpt-image-2")
    with pytest.raises(ValueError, match="stands twice"):
        Catalogue([model, model])
    with pytest.raises(ValueError, match="is no model"):
        Catalogue([model], [Alias("old", to="gone")])
    with pytest.raises(ValueError, match="do not lead to a model"):
        Catalogue([replace(model, successor="gone")])
    circle = [replace(model, name="a", successor="b"), replace(model, name="b", successor="a")]
    with pytest.raises(ValueError, match="do not lead to a model"):
        Catalogue(circle)


def test_a_catalogue_is_read_from_toml():
    catalogue = parse(
        """
        [[prices]]
        id = "p"
        as_of = 2026-01-01
        source = "test"
        per_million = { text_in = 1 }
        [[models]]
        name = "m"
        vendor = "v"
        wire = "w"
        feature = "f"
        price = "p"
        created_at = 1970-01-02
        sizes = ["1x1"]
        [[aliases]]
        name = "n"
        to = "m"
        """
    )
    model = catalogue.resolve("n", "f").model
    assert (model.upstream_id, model.created_at, model.sizes, model.price.as_of) == (
        "m",
        86_400,
        ("1x1",),
        "2026-01-01",
    )
