"""A view's place in its bulkhead: taken after the key is known and before anything is held, and given back when the response
is closed: sent, streamed to its end, or dropped by a caller who hung up."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Flask, Response, current_app

from rollout.services.admission import Admission, Kind, Place

EXTENSION = "rollout_admission"


def install(app: Flask, places: Admission) -> None:
    app.extensions[EXTENSION] = places


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
