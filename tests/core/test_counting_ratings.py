"""What counts, and where."""

from __future__ import annotations

import dataclasses

import pytest

from rollout.core.feedback import COLUMNS, FeedbackItem, FeedbackState, Opinion, feedback_json
from rollout.core.figures import Cell, Thumbs, recount, whole_days
from rollout.core.usage import Period
from rollout.errors import InvalidRequest

NOON = 1_795_348_800
MIDNIGHT = NOON - 12 * 3600
ITEM = FeedbackItem(
    id="fb_1",
    tenant_id="acme",
    generation_id="gen_1",
    end_user="ana",
    opinion=Opinion("down"),
    state="open",
    feature="image-generation",
    phase="private_beta",
    run=2,
    vendor="openai",
    model="gpt-image-2",
    created_at=NOON,
    updated_at=NOON + 86_400,
)
CELL = Cell("acme", "image-generation", "private_beta", 2, "openai", "gpt-image-2", MIDNIGHT)


def test_a_rating_counts_on_the_day_it_first_came() -> None:
    assert recount([(None, ITEM)]) == [(CELL, Thumbs(down=1))]


def test_what_was_made_outside_of_a_plan_has_a_cell_too() -> None:
    ((cell, _),) = recount([(None, dataclasses.replace(ITEM, phase=None, run=None))])
    assert (cell.phase, cell.run) == ("", 0)


@pytest.mark.parametrize(
    ("state", "counts"), [("open", True), ("resolved", True), ("spam", False), ("withdrawn", False)]
)
def test_spam_and_what_was_withdrawn_do_not_count(state: FeedbackState, counts: bool) -> None:
    moved = recount([(ITEM, dataclasses.replace(ITEM, state=state))])
    assert moved == ([] if counts else [(CELL, Thumbs(down=-1))])


def test_a_change_of_mind_moves_a_thumb() -> None:
    changed = dataclasses.replace(ITEM, opinion=Opinion("up"))
    assert recount([(ITEM, changed)]) == [(CELL, Thumbs(up=1, down=-1))]


def test_many_at_once_move_each_cell_once_and_in_order() -> None:
    others = [dataclasses.replace(ITEM, vendor=vendor) for vendor in ("xai", "google", "xai")]
    moved = recount([(item, dataclasses.replace(item, state="spam")) for item in others])
    assert [(cell.vendor, thumbs.down) for cell, thumbs in moved] == [("google", -1), ("xai", -2)]


def test_the_share_of_bad_is_unknown_where_nobody_rated() -> None:
    assert Thumbs().bad_share is None
    assert Thumbs(up=2, down=1).bad_share == 0.333333
    assert Thumbs(up=99_999, down=1).bad_share == 0.00001


def test_ratings_are_counted_by_whole_days() -> None:
    asked = Period(MIDNIGHT, MIDNIGHT + 86_400, "UTC")
    assert whole_days(asked) == asked
    for period, param in (
        (Period(NOON, MIDNIGHT + 86_400, "UTC"), "from"),
        (Period(MIDNIGHT, NOON, "UTC"), "to"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            whole_days(period)
        assert refused.value.members["param"] == param


def test_a_file_has_a_column_for_each_member() -> None:
    assert tuple(feedback_json(ITEM)) == COLUMNS
