"""How the doubt about an unknown hold is ended by what its vendor says: when to ask again, and what to charge."""

from __future__ import annotations

import dataclasses

from rollout.core.catalogue import Cost, Model, Usage
from rollout.core.decisions import GENERATION
from rollout.core.holds import Actual, Hold
from rollout.core.prices import actual_message_cost, tells_cost, usage_image_cost

FIRST_PAUSE = 5
LAST_LOOK = 5
"""Seconds before the end of the grace, when the vendor is asked for the last time."""


def next_look(since: int, now: int, until: int) -> int | None:
    """Seconds until the vendor is asked again: as many as the doubt, which began at `since`, is old; None: the grace, which ends at
    `until`, leaves no time for it."""
    left = until - LAST_LOOK - now
    return min(max(FIRST_PAUSE, now - since), left) if left > 0 else None


def charge(hold: Hold, model: Model | None, images: int, usage: Usage | None) -> Actual:
    """What a work came to that its vendor says was done: by its usage, else what was reserved."""
    reserved = Cost(hold.cost_usd_micro, "estimate", hold.price_id or "")
    if model is None or usage is None:
        cost = reserved
    elif hold.feature == GENERATION:
        cost = usage_image_cost(model, usage) if tells_cost(usage, model) else reserved
    else:
        cost = actual_message_cost(model, usage, reserved)
    return Actual(cost, images, None if usage is None else dataclasses.asdict(usage), hold.upstream_id)
