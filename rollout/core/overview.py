"""What an operator wants to see first: how features stand, what needs somebody, what happened in the last 24 hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollout.core.approvals import ChangeRequest
from rollout.core.figures import Thumbs
from rollout.core.grants import AccessRequest
from rollout.core.kills import Kill
from rollout.core.meters import Limit
from rollout.core.schedules import Schedule
from rollout.core.verifications import Verification

FULL_PERCENT = 80
"""A hard limit of which more is taken needs somebody."""

SPIKE_RATINGS, SPIKE_TIMES, SPIKE_POINTS = 10, 2, 0.1
"""A share of bad ratings is a spike among so many ratings, when it is so many times that of the days before and so much more."""


@dataclass(frozen=True)
class Asked:
    """Access requests that wait, and the one that waits longest."""

    count: int
    oldest: AccessRequest


@dataclass(frozen=True)
class Doubt:
    """Holds of which nobody knows whether the vendor did the work; `charged_at` (UTC epoch seconds) ends the first one's grace."""

    count: int
    reserved_usd_micro: int
    charged_at: int


@dataclass(frozen=True)
class Spike:
    """Ratings of the last 24 hours, and of the seven days before them."""

    lately: Thumbs
    before: Thumbs

    @property
    def is_one(self) -> bool:
        now, then = self.lately.bad_share, self.before.bad_share
        if now is None or then is None or self.lately.up + self.lately.down < SPIKE_RATINGS:
            return False
        return now >= then * SPIKE_TIMES and now >= then + SPIKE_POINTS


@dataclass(frozen=True)
class Needs:
    """What waits for somebody. `full`: the fullest hard limits; `bad`: open thumbs down; `gone`: workers that are not heard of, or behind;
    `wrong`: the last look at the books, if they were not right; `dead`: background jobs that died lately; `review`: what is in doubt
    until a person ends it, apart from `doubt`, which time ends; `changes` of plans that wait for approval, `conflicts` of schedules;
    `proposals`: what vendors say otherwise than the catalogue."""

    asked: Asked | None
    full: Sequence[Limit]
    doubt: Doubt | None
    bad: int
    spike: Spike | None
    stopped: Sequence[Kill]
    gone: int
    wrong: Verification | None
    dead: int
    review: Doubt | None = None
    changes: Sequence[ChangeRequest] = ()
    conflicts: Sequence[Schedule] = ()
    proposals: int = 0

    @property
    def nothing(self) -> bool:
        return not any(
            (
                self.asked,
                self.full,
                self.doubt,
                self.review,
                self.bad,
                self.spike,
                self.stopped,
                self.gone,
                self.wrong,
                self.dead,
                self.changes,
                self.conflicts,
                self.proposals,
            )
        )


@dataclass(frozen=True)
class Calls:
    """Calls by live keys. `failed` were void: nothing was done and nothing charged; `pending_usd_micro` is reserved by those that have
    not ended, or whose outcome is unknown."""

    calls: int = 0
    failed: int = 0
    pictures: int = 0
    cost_usd_micro: int = 0
    pending_usd_micro: int = 0

    def __add__(self, other: Calls) -> Calls:
        return Calls(
            self.calls + other.calls,
            self.failed + other.failed,
            self.pictures + other.pictures,
            self.cost_usd_micro + other.cost_usd_micro,
            self.pending_usd_micro + other.pending_usd_micro,
        )


@dataclass(frozen=True)
class LastDay:
    """From `since` to `until`, UTC epoch seconds: 24 hours, or less when so much happened that only the latest was counted.

    `hours` are calls by hour, the oldest first, each with when the hour began; `refused` counts by code, the most frequent first.
    """

    since: int
    until: int
    by_feature: dict[str, Calls]
    hours: Sequence[tuple[int, int]]
    refused: Sequence[tuple[str, int]]
    ratings: Spike

    @property
    def total(self) -> Calls:
        return sum(self.by_feature.values(), Calls())
