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
    ("name", "feature", "successor"),
    [
        ("claude-sonnet-4", "image-analysis", "claude-sonnet-5-5"),
        ("claude-opus-4", "image-analysis", "claude-opus-5-5"),
        ("claude-sonnet-4-5", "image-analysis", "claude-sonnet-5-5"),
        ("gpt-image-1", "image-generation", "gpt-image-2.5-flare"),
    ],
)
def test_an_old_name_is_refused_with_its_successor_where_a_tenant_wants_it_so(name, feature, successor):
    with pytest.raises(ModelRetired) as refused:
        seed().resolve(name, feature, strict=True)
    assert refused.value.members == {"param": "model", "successor": successor}


def test_a_retired_model_is_answered_for_by_its_successor_and_says_so():
    resolved = seed().resolve("claude-opus-4-20250514", "image-analysis")
    assert resolved.model.name == "claude-opus-5-5"
    assert resolved.sunset_at == 1_781_481_600  # 2026-06-15
    assert resolved.warnings == ("claude-opus-4-20250514 has been retired; claude-opus-5-5 answers",)


def test_a_retired_model_that_nothing_succeeds_is_refused():
    with pytest.raises(ModelRetired) as refused:
        Catalogue([replace(seed().get("claude-opus-4"), successor=None)]).resolve(
            "claude-opus-4", "image-analysis"
        )
    assert refused.value.members == {"param": "model"}


def test_a_model_that_is_not_enabled_is_not_found():
    disabled = replace(seed().get("gpt-image-2"), enabled=False)
    with pytest.raises(ModelNotFound):
        Catalogue([disabled]).resolve("gpt-image-2", "image-generation")


def test_a_name_that_moves_leads_to_its_next_model_where_the_move_has_come():
    old, new = seed().get("gpt-image-2.5-flare"), seed().get("gpt-image-2.6-flare")
    catalogue = Catalogue([old, new], [Alias("gpt-image-1", old.name, warning="old", moves_to=new.name)])
    stays = catalogue.resolve("gpt-image-1", "image-generation", moved=lambda _: False)
    goes = catalogue.resolve("gpt-image-1", "image-generation", moved=lambda name: name == "gpt-image-1")
    assert (stays.model, stays.warnings) == (old, ("old; gpt-image-2.5-flare answers",))
    assert (goes.model, goes.warnings) == (new, ("old; gpt-image-2.6-flare answers",))


def test_a_model_that_moves_takes_its_aliases_along():
    old = replace(seed().get("gpt-image-2"), moves_to="gpt-image-2.6-flare")
    catalogue = Catalogue([old, seed().get("gpt-image-2.6-flare")], [Alias("painter", old.name)])
    for name in ("painter", old.name):
        goes = catalogue.resolve(name, "image-generation", moved=lambda name: name == "gpt-image-2")
        assert goes.model.name == "gpt-image-2.6-flare"
    assert goes.warnings == ("gpt-image-2 is being replaced; gpt-image-2.6-flare answers",)


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
        if not model.enabled:
            continue
        price = model.price
        assert price.as_of
        assert price.source
        assert min(price.per_million.values(), default=1) > 0
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
    with pytest.raises(ValueError, match="old does not lead to a model, but to gone"):
        Catalogue([model], [Alias("old", to="gone")])
    with pytest.raises(ValueError, match="gpt-image-2 does not lead to a model, but to gone"):
        Catalogue([replace(model, successor="gone")])
    circle = [replace(model, name="a", successor="b"), replace(model, name="b", moves_to="a")]
    with pytest.raises(ValueError, match="a does not lead to a model, but to a"):
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
