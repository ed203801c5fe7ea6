"""What became of the sandbox's works, by the id that it told; over HTTP: `distant.py`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rollout.core.catalogue import Usage
from rollout.providers.base import Found

_KEPT = 10_000


@dataclass
class Work:
    """`until`, in UTC epoch seconds: it goes on till then, whatever was answered."""

    found: Found = field(default_factory=lambda: Found("still_running"))
    until: float = 0.0

    def finish(self, images: int, usage: Usage | None) -> None:
        self.found = Found("done", images, usage)


class Works:
    """The port `LookUp` over the latest works of this process. `clock` gives UTC epoch seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._works: OrderedDict[str, Work] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def begin(self, work_id: str) -> Iterator[Work]:
        """One that the block does not finish never ran."""
        work = Work()
        with self._lock:
            self._works[work_id] = work
            while len(self._works) > _KEPT:
                self._works.popitem(last=False)
        try:
            yield work
        finally:
            if work.found.state == "still_running":
                work.found = Found("never_ran")

    def look_up(self, upstream_id: str) -> Found | None:
        with self._lock:
            work = self._works.get(upstream_id)
        if work is None:
            return None
        return Found("still_running") if work.until > self.clock() else work.found
