"""Ratings counted by what the pictures were made with.

Spam and what its end user took back do not count. A rating counts on the day in UTC on which it first came, however often
it changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rollout.core.feedback import FeedbackItem
from rollout.core.usage import Period
from rollout.errors import InvalidRequest

DIMENSIONS = ("tenant", "feature", "phase", "vendor", "model", "day")
"""What ratings may be counted by."""

DAY = 86_400


@dataclass(frozen=True, order=True)
class Cell:
    """What is counted together; `phase` '' and `run` 0: made outside of a plan; `day` is a UTC midnight in epoch seconds."""

    tenant_id: str
    feature: str
    phase: str
    run: int
    vendor: str
    model: str
    day: int


@dataclass(frozen=True)
class Thumbs:
    up: int = 0
    down: int = 0

    @property
    def bad_share(self) -> float | None:
        """Thumbs down of all, to six digits; None where nobody rated: that is neither good nor bad."""
        rated = self.up + self.down
        return round(self.down / rated, 6) if rated else None

    def __add__(self, other: Thumbs) -> Thumbs:
        return Thumbs(self.up + other.up, self.down + other.down)

    def __sub__(self, other: Thumbs) -> Thumbs:
        return Thumbs(self.up - other.up, self.down - other.down)

    def as_json(self) -> dict[str, Any]:
        return {"up": self.up, "down": self.down, "bad_share": self.bad_share}


@dataclass(frozen=True)
class FiguresQuery:
    """Which ratings to count, and by what. `since` and `until`: days, both included; by default the 30 days that end today."""

    tenant: str | None = None
    feature: str | None = None
    since: str | None = None
    until: str | None = None
    by: tuple[str, ...] = ()


def whole_days(asked: Period) -> Period:
    """Raises InvalidRequest for a period that begins or ends within a day of UTC."""
    for param, edge in (("from", asked.since), ("to", asked.until)):
        if edge % DAY:
            raise InvalidRequest(
                f"Ratings are counted by whole days of UTC; `{param}` lies within one.", param=param
            )
    return asked


def cell(item: FeedbackItem) -> Cell:
    return Cell(
        item.tenant_id,
        item.feature,
        item.phase or "",
        item.run or 0,
        item.vendor,
        item.model,
        item.created_at - item.created_at % DAY,
    )


def counted(item: FeedbackItem | None) -> Thumbs:
    """What an item adds to its cell."""
    if item is None or item.state in ("spam", "withdrawn"):
        return Thumbs()
    return Thumbs(up=1) if item.opinion.rating == "up" else Thumbs(down=1)


def recount(changed: Iterable[tuple[FeedbackItem | None, FeedbackItem]]) -> list[tuple[Cell, Thumbs]]:
    """How the figures move when each `before` (None: it is new) becomes its `after`; in one order for all, as locks are taken."""
    moves: dict[Cell, Thumbs] = {}
    for before, after in changed:
        where = cell(after)
        moves[where] = moves.get(where, Thumbs()) + counted(after) - counted(before)
    return sorted((where, moved) for where, moved in moves.items() if moved != Thumbs())
