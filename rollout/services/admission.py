"""Bulkheads: each class of work has its own places, so that a hanging vendor starves nobody else.

A place is taken without waiting, and before anything is held.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Literal

from rollout.errors import AtCapacity

Kind = Literal["generation", "analysis", "stream"]


class Admission:
    """`places`: how many calls of each kind one worker takes at once."""

    def __init__(self, places: Mapping[str, int]) -> None:
        self._free = {kind: threading.BoundedSemaphore(count) for kind, count in places.items()}

    def take(self, kind: Kind) -> Place:
        """Raises AtCapacity when all places are taken."""
        free = self._free[kind]
        if not free.acquire(blocking=False):
            raise AtCapacity(f"All places for {kind} are taken at the moment.", retry_after=1)
        return Place(free.release)


class Place:
    """A taken place. Leaving it twice is leaving it once."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def leave(self) -> None:
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()

    __del__ = leave
    """Work that is dropped without being closed still gives its place back."""
