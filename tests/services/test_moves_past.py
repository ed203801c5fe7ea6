"""What held at a time that is past, of a name that moved, has moved, and moves again."""

from __future__ import annotations

from typing import Any

import pytest
from doors import ALICE
from phases import wire_phases

from rollout.db.engine import Database
from rollout.services.changes import Changes
from rollout.services.moves import Moves

MOVE = "model.dall-e-3"


@pytest.mark.parametrize("next_one", [False, True])
def test_an_explanation_of_the_past_knows_when_a_move_was_over(
    database: Database, clock: Any, next_one: bool
) -> None:
    services = wire_phases(database, clock)
    moves = Moves(Changes(database), services.plans, services.change_requests)
    times = [int(clock())]

    def later() -> int:
        clock.advance(60)
        times.append(int(clock()))
        return times[-1]

    later()
    moves.begin(ALICE, "alias", "dall-e-3", "gpt-image-2.6-flare", "first", phase="general_availability")
    first = later()
    moves.finish(ALICE, "alias", "dall-e-3", "over")
    ended = later()
    if next_one:
        moves.begin(ALICE, "alias", "dall-e-3", "gpt-image-2", "second", phase="general_availability")
    now = later()

    def said(at: int) -> str:
        found = services.explain.explain("acme", MOVE, at)["decision"]["reason"]
        return str(found)

    assert said(first - 1) == "flag_unknown", "what it went by was forgotten when it ended"
    assert said(ended - 1) == "flag_unknown"
    assert said(now - 1) == ("ga" if next_one else "flag_unknown")
