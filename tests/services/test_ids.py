"""Ids sort by the time of their making, and a moment has a place among them."""

from __future__ import annotations

from clocks import Clock

from rollout.services.ids import first_id, ids_by, new_id


def test_ids_sort_by_the_clock_that_made_them(clock: Clock) -> None:
    make = ids_by(clock)
    before = make("fb")
    clock.advance(0.001)
    after = make("fb")
    assert before < after
    assert len(before) == len(new_id("fb")) == len("fb_") + 26


def test_a_moment_lies_between_the_ids_made_before_and_from_then_on(clock: Clock) -> None:
    make = ids_by(clock)
    clock.advance(-0.001)
    before = make("fb")
    clock.advance(0.001)
    assert before < first_id("fb", int(clock())) <= make("fb")
