"""When a vendor is asked again what became of a work, and what is charged for one that it says was done."""

from __future__ import annotations

import dataclasses

import pytest
from ledgers import NOON, request
from sandboxes import model

from rollout.core.catalogue import Model, Usage
from rollout.core.decisions import ANALYSIS
from rollout.core.holds import Gates, Hold, Reserve, decide
from rollout.core.resolutions import charge, next_look
from rollout.services.catalogue import parse

PAINTER, READER = model("gpt-image-2"), model("claude-sonnet-5-5")


def hold(**changes: object) -> Hold:
    ((reply,), _) = decide([Reserve("hold_1", request(), 120)], {}, Gates(), {}, [], NOON)
    assert reply.hold is not None
    return dataclasses.replace(reply.hold, **changes)  # type: ignore[arg-type]


def test_a_vendor_is_asked_less_and_less_often_and_last_right_before_the_grace_ends() -> None:
    now, asked = 0, [0]
    while (pause := next_look(0, now, 900)) is not None:
        now += pause
        asked.append(now)
    assert asked == [0, 5, 10, 20, 40, 80, 160, 320, 640, 895]


@pytest.mark.parametrize(("now", "until"), [(0, 1), (0, 5), (900, 900), (1_000_000, 900)])
def test_without_time_left_nobody_is_asked_again(now: int, until: int) -> None:
    assert next_look(0, now, until) is None


def test_a_clock_that_stepped_back_does_not_make_it_ask_without_a_pause() -> None:
    assert next_look(1_000, 400, 1_900) == 5


@pytest.mark.parametrize(
    ("known", "feature", "usage", "cost", "source"),
    [
        (PAINTER, "image-generation", Usage(output=1000, text_in=100), 30_500, "usage"),
        (READER, ANALYSIS, Usage(input=100, output=10), 300, "usage"),
        (PAINTER, "image-generation", None, 40_000, "estimate"),
        (None, "image-generation", Usage(output=1000), 40_000, "estimate"),
    ],
)
def test_a_work_is_charged_by_its_usage_else_as_reserved(
    known: Model | None, feature: str, usage: Usage | None, cost: int, source: str
) -> None:
    actual = charge(hold(feature=feature, upstream_id="req_9"), known, 2, usage)
    assert (actual.cost.usd_micro, actual.cost.settled_from, actual.images) == (cost, source, 2)
    assert actual.upstream_id == "req_9"


@pytest.mark.parametrize("line", ['on_unknown = "wait"', 'faults = "free"'])
def test_a_catalogue_that_ends_doubts_in_a_way_that_there_is_not_is_refused(line: str) -> None:
    row = 'name = "m"\nvendor = "v"\nwire = "w"\nfeature = "f"\nprice = "p"\n'
    price = '[[prices]]\nid = "p"\nas_of = 2026-11-22\nsource = "s"\nper_million = {}\n'
    field = line.partition(" ")[0]
    with pytest.raises(ValueError, match=f"m: {field}: This is one of"):
        parse(f"aliases = []\n{price}[[models]]\n{row}{line}\n")
