"""Bulkheads: each class of work has its own places, so that a hanging vendor starves nobody else.

A place is taken without waiting, after the key is known and before anything is held, and given back when the response
is closed: sent, streamed to its end, or dropped by a caller who hung up.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from flask import Flask, Response, current_app

from rollout.errors import AtCapacity

Kind = Literal["generation", "analysis", "stream"]

EXTENSION = "rollout_admission"


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
    """A response that is dropped without being closed still gives its place back."""


def install(app: Flask, places: Mapping[str, int]) -> None:
    app.extensions[EXTENSION] = Admission(places)


def admitted(kind: Kind) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Let a view run, and its response be sent, in a place of `kind`. Stands under `operation`, which knows the key."""

    def wrap(view: Callable[..., Response]) -> Callable[..., Response]:
        @functools.wraps(view)
        def run(**arguments: Any) -> Response:
            admission: Admission = current_app.extensions[EXTENSION]
            place = admission.take(kind)
            try:
                response = view(**arguments)
            except BaseException:
                place.leave()
                raise
            if response.is_streamed:
                response.response = _Occupying(response.response, place)
            else:
                response.call_on_close(place.leave)
            return response

        return run

    return wrap


class _Occupying:
    """A stream that holds a place until it is closed, even if closing it fails."""

    def __init__(self, body: Iterable[Any], place: Place) -> None:
        self._body, self._place = body, place

    def __iter__(self) -> Iterator[Any]:
        return iter(self._body)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._place.leave()
