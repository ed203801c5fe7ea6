from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandboxes import model, seed

from rollout.core.catalogue import Cost, Price, Usage
from rollout.core.images import Finished, ImageRequest, Picture
from rollout.core.input_images import InputImage
from rollout.core.prices import (
    actual_image_cost,
    actual_message_cost,
    maximum_image_cost,
    maximum_message_cost,
    usage_image_cost,
)
from rollout.core.steering import Steering
from rollout.errors import PriceUnknown
from rollout.providers.sandbox.images import usage_of

PAINTERS = [model for model in seed().models if model.feature == "image-generation"]
READERS = [
    model for model in seed().models if model.feature == "image-analysis" and model.lifecycle != "retired"
]
FLARE = model("gpt-image-2.5-flare")


@st.composite
def legal_requests(draw):
    """A model of the seed and a request that its validation lets through."""
    painter = draw(st.sampled_from(PAINTERS))
    sizes = [None, "auto", *painter.sizes]
    if painter.size_rule:
        short = draw(st.integers(1, 135)) * 16
        long = draw(st.integers(short // 16, min(240, short * 3 // 16))) * 16
        edges = draw(st.permutations([short, long]))
        sizes += [f"{edges[0]}x{edges[1]}"] * painter.size_rule.allows(*edges)
    edit = draw(st.booleans())
    sides = st.integers(1, 8_000)
    images = st.builds(InputImage, st.just(b""), st.just("image/png"), sides, sides)
    request = ImageRequest(
        operation="edit" if edit else "generate",
        prompt=draw(st.text(min_size=1, max_size=200)),
        model=painter.name,
        n=draw(st.integers(1, painter.max_images)),
        size=draw(st.sampled_from(sizes)),
        quality=draw(st.sampled_from([None, "auto", *painter.qualities])),
        partial_images=draw(st.integers(0, 3)),
        images=tuple(draw(st.lists(images, min_size=1, max_size=painter.max_input_images))) if edit else (),
        mask=draw(images) if edit and draw(st.booleans()) else None,
    )
    return painter, request


def finished(request, usage, pictures=None, size=None, quality=None):
    some = tuple(Picture(b"", "image/png") for _ in range(request.n if pictures is None else pictures))
    return Finished(some, usage, created=0, size=size, quality=quality)


@settings(deadline=None)
@given(legal_requests())
def test_no_hold_is_below_what_the_sandbox_reports_for_any_model_and_legal_request(case):
    painter, request = case
    maximum = maximum_image_cost(painter, request)
    actual = actual_image_cost(painter, request, finished(request, usage_of(painter, request, Steering(""))))
    assert 0 < actual.usd_micro <= maximum.usd_micro
    assert actual.settled_from == "usage"
    assert maximum.price_id == actual.price_id == painter.price.id


@settings(deadline=None)
@given(legal_requests(), st.integers(0, 10), st.sampled_from([None, "1024x1024", "3840x2160", "odd"]))
def test_no_hold_is_below_the_price_list_where_a_vendor_tells_no_usage(case, pictures, size):
    painter, request = case
    maximum = maximum_image_cost(painter, request)
    told = finished(request, None, min(pictures, request.n), size, "low")
    actual = actual_image_cost(painter, request, told)
    assert 0 < actual.usd_micro <= maximum.usd_micro
    assert actual.settled_from == "price_list"


@settings(deadline=None)
@given(
    st.sampled_from(READERS),
    st.integers(1, 3_000_000),
    st.integers(0, 64_000),
    st.booleans(),
    st.integers(0, 100),
    st.data(),
)
def test_no_message_costs_more_than_its_hold(reader, body_bytes, max_tokens, cache, images, data):
    by_itself = reader.wire == "openai_chat"  # such a vendor caches unasked, and asks nothing for it
    maximum = maximum_message_cost(reader, body_bytes, max_tokens, cache and not by_itself, images)
    bound = min(reader.max_input_tokens, body_bytes + images * (reader.input_image_tokens or 4_784))
    read = data.draw(st.integers(0, bound))
    cached = data.draw(st.integers(0, read)) if cache else 0
    written = 0 if by_itself else data.draw(st.integers(0, cached))
    usage = Usage(
        input=read - cached,
        output=data.draw(st.integers(0, max_tokens)),
        cache_write=written,
        cache_write_1h=data.draw(st.integers(0, written)),
        cache_read=cached - written,
    )
    assert 0 <= actual_message_cost(reader, usage, maximum).usd_micro <= maximum.usd_micro
    assert maximum.usd_micro > 0


def test_the_sum_is_rounded_up_once():
    usage = Usage(input=3, output=1, text_in=2, image_in=1)
    price = Price("p", "2026-01-01", "test", {"text_in": 400_000, "image_in": 300_000, "image_out": 100_000})
    assert usage_image_cost(replace(FLARE, prices=(price,)), usage) == Cost(
        2, "usage", "p"
    )  # 0.8 + 0.3 + 0.1 = 1.2


def test_auto_is_held_at_the_dearest_that_the_vendor_picks():
    plain = ImageRequest("generate", "x", FLARE.name)
    dearest = ImageRequest("generate", "x", FLARE.name, size="2560x1440", quality="high")
    assert maximum_image_cost(FLARE, plain) == maximum_image_cost(FLARE, dearest)


def test_every_picture_input_and_partial_is_in_the_hold():
    one = maximum_image_cost(
        FLARE, ImageRequest("generate", "x", FLARE.name, size="1024x1024", quality="low")
    )
    assert one.usd_micro == 8_160 + 505  # the cell, and 101 tokens of text at 5 USD a million
    some = ImageRequest(
        "generate", "x", FLARE.name, n=3, size="1024x1024", quality="low", partial_images=2, stream=True
    )
    assert maximum_image_cost(FLARE, some).usd_micro == 3 * 8_160 + 505 + 3 * 2 * 100 * 30
    image = InputImage(b"", "image/png", 1, 1)
    edit = ImageRequest(
        "edit", "x", FLARE.name, size="1024x1024", quality="low", images=(image, image), mask=image
    )
    assert maximum_image_cost(FLARE, edit).usd_micro == 8_160 + 505 + 3 * 80_000


@pytest.mark.parametrize(
    ("size", "quality"), [("1024x1024", "ultra"), ("7680x4320", "low"), ("nonsense", "low")]
)
def test_a_combination_without_a_price_is_never_held_for_nothing(size, quality):
    with pytest.raises(PriceUnknown):
        maximum_image_cost(FLARE, ImageRequest("generate", "x", FLARE.name, size=size, quality=quality))


def test_where_pictures_are_what_is_paid_for_they_are_all_that_is_charged():
    by_picture = replace(FLARE, prices=(replace(FLARE.price, per_million={}),))
    request = ImageRequest("generate", "x", FLARE.name, n=2, size="1024x1024", quality="low")
    assert maximum_image_cost(by_picture, request).usd_micro == 2 * 8_160
    told = finished(request, Usage(input=9, output=9), pictures=1)
    assert actual_image_cost(by_picture, request, told) == Cost(8_160, "price_list", FLARE.price.id)


def test_what_a_model_may_think_and_say_beside_its_picture_is_in_the_hold_and_in_the_charge():
    price = replace(FLARE.price, per_million={**FLARE.price.per_million, "text_out": 7_500_000})
    speaking = replace(FLARE, prices=(price,), max_tokens=1_000)
    request = ImageRequest("generate", "x", FLARE.name, size="1024x1024", quality="low")
    assert maximum_image_cost(speaking, request).usd_micro == 8_160 + 505 + 7_500
    assert usage_image_cost(speaking, Usage(output=1_100, text_out=100)).usd_micro == 30_000 + 750


def test_a_model_without_rates_cannot_be_metered():
    bare = replace(FLARE, prices=(Price("p", "", ""),))
    with pytest.raises(PriceUnknown):
        maximum_image_cost(bare, ImageRequest("generate", "x", FLARE.name))
    with pytest.raises(PriceUnknown):
        maximum_message_cost(
            replace(model("claude-sonnet-5-5"), prices=(Price("p", "", ""),)), 1, 1, False, 0
        )


def test_missing_pictures_are_not_charged_by_the_price_list():
    request = ImageRequest("generate", "x", FLARE.name, n=2, size="1024x1024", quality="low")
    both = actual_image_cost(FLARE, request, finished(request, None)).usd_micro
    one = actual_image_cost(FLARE, request, finished(request, None, pictures=1)).usd_micro
    assert both - one == 8_160


def test_a_large_input_is_priced_at_its_tier():
    haiku = model("claude-haiku-5-5")
    small = actual_message_cost(haiku, Usage(input=100_000), Cost(0, "estimate", "p"))
    large = actual_message_cost(haiku, Usage(input=100_001), Cost(0, "estimate", "p"))
    assert (small.usd_micro, large.usd_micro) == (10_000, 50_001)


def test_what_a_cache_gave_that_has_no_price_is_charged_as_input():
    llama = model("llama-3.2-90b-vision")
    maximum = maximum_message_cost(llama, 10_000, 0, False, 0)
    plain, cached = (
        actual_message_cost(llama, Usage(input=1_000 - read, cache_read=read), maximum).usd_micro
        for read in (0, 900)
    )
    assert plain == cached == 1_200


def test_a_row_says_how_large_its_pictures_are_at_most():
    for name, tokens in (("llama-3.2-90b-vision", 6_500), ("grok-4", 1_800), ("claude-sonnet-5-5", 5_000)):
        reader = model(name)
        none, ten = (maximum_message_cost(reader, 0, 0, False, images).usd_micro for images in (0, 10))
        assert (ten - none) * 1_000_000 == 10 * tokens * reader.price.per_million["in"]


def test_the_cache_makes_the_hold_dearer_and_the_reading_cheaper():
    sonnet = model("claude-sonnet-5-5")
    plain, cached = (maximum_message_cost(sonnet, 10_000, 0, cache, 0).usd_micro for cache in (False, True))
    assert cached == 2 * plain
    usage = Usage(input=10, cache_write=200, cache_write_1h=100, cache_read=1_000)
    cost = actual_message_cost(sonnet, usage, Cost(0, "estimate", "p"))
    assert cost.usd_micro == 20 + 250 + 400 + 200


def test_a_message_without_usage_settles_at_its_hold():
    held = Cost(77, "estimate", "p")
    assert actual_message_cost(model("claude-sonnet-5-5"), None, held) == held
