"""Breakers: a vendor that keeps failing is left alone for a while, so that its outage costs nobody a wait.

    closed --(enough failures, and at least half of a minute's calls)--> open
    open --(rested)--> half open: a call at a time is let through, to see
    half open --(it was answered)--> closed
    half open --(it failed)--> open, for twice as long

Failures are what says that the vendor, or the way to it, is broken: connections, time-outs, cut answers, 5xx, answers that are none.
Whatever else a vendor says (429 too, and no to a key) shows that it is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

BreakerState = Literal["closed", "open", "half_open"]

FAILURES = 10
"""How many open a breaker, where nothing else was set."""

REST_SECONDS, LONGEST_REST_SECONDS = 15.0, 120.0
TRY_SECONDS = 10.0
"""A call that was let through and has not ended after so long keeps others back no longer."""

_HALF_WINDOW_SECONDS = 30


@dataclass(frozen=True)
class _Count:
    calls: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Breaker:
    """One vendor's, as an immutable value; times in seconds of one clock, given as `at`. The last minute is counted in two halves:
    `now`, the `half`th of the clock, and the one `before`."""

    half: int = 0
    now: _Count = _Count()
    before: _Count = _Count()
    opened_at: float | None = None
    rest: float = REST_SECONDS
    tried_at: float | None = None

    @property
    def failures(self) -> int:
        """Within the window that was last counted in."""
        return self.now.failures + self.before.failures

    def state(self, at: float) -> BreakerState:
        if self.opened_at is None:
            return "closed"
        return "open" if at < self.opened_at + self.rest else "half_open"

    def wait(self, at: float) -> float:
        """Seconds until a call may go; 0 for now, also where the clock was set back."""
        if self.opened_at is None or at < self.opened_at:
            return 0.0
        free_at = self.opened_at + self.rest
        if self.tried_at is not None:
            free_at = max(free_at, self.tried_at + TRY_SECONDS)
        return max(0.0, free_at - at)

    def sent(self, at: float) -> Breaker:
        """After a call that `wait` let go."""
        return self if self.opened_at is None else replace(self, tried_at=at)

    def answered(self, at: float) -> Breaker:
        if self.opened_at is None:
            return self._counted(at, failed=False)
        return self if self.tried_at is None else Breaker()

    def failed(self, at: float, limit: float) -> Breaker:
        """Args: `limit`: how many failures open it."""
        if self.opened_at is not None:
            return (
                self if self.tried_at is None else self._opened(at, min(2 * self.rest, LONGEST_REST_SECONDS))
            )
        counted = self._counted(at, failed=True)
        calls = counted.now.calls + counted.before.calls
        is_enough = counted.failures >= limit and 2 * counted.failures >= calls
        return counted._opened(at, REST_SECONDS) if is_enough else counted

    def _opened(self, at: float, rest: float) -> Breaker:
        return replace(self, opened_at=at, rest=rest, tried_at=None)

    def _counted(self, at: float, *, failed: bool) -> Breaker:
        half = int(at // _HALF_WINDOW_SECONDS)
        now, before = {0: (self.now, self.before), 1: (_Count(), self.now)}.get(
            half - self.half, (_Count(), _Count())
        )
        return replace(self, half=half, now=_Count(now.calls + 1, now.failures + failed), before=before)
