"""Streams that stay open: what changes is told at once, and who hangs up, is locked out or stands in the way of a stop is let go.

A stream takes a thread and a place (`admitted("stream")`), so it looks once a second whether anybody is still there.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from flask import Response, request

from rollout.errors import LedgerUnavailable, RolloutError
from rollout.web.arrival import caller_gone
from rollout.web.wired import services

T = TypeVar("T")

LOOK_SECONDS = 1.0
LOOKS_PER_BEAT = 10
SEND_SECONDS = 20
"""After so long without taking a byte a caller counts as gone."""

HEARTBEAT = b": here\n\n"


def revisions(check: Callable[[], object]) -> Iterator[int | None]:
    """The revision of now, then each later one; None after ten quiet seconds: time for a HEARTBEAT.

    Ends when this process drains, the caller is gone, or `check`, which is asked before each of these but the first, refuses. To be
    called within the request; runs on without it.
    """
    wired, gone = services(), caller_gone()
    _lose_patience()

    def run() -> Iterator[int | None]:
        snapshot, looks = wired.state.snapshot, 0
        yield snapshot.revision
        while not wired.draining() and not gone():
            found, looks = wired.state.wait_beyond(snapshot.revision, LOOK_SECONDS), looks + 1
            if found is snapshot and looks < LOOKS_PER_BEAT:
                continue
            if not _passes(check):
                return
            yield None if found is snapshot else found.revision
            snapshot, looks = found, 0

    return run()


def while_wanted(parts: Iterable[T], check: Callable[[], object]) -> Iterator[T]:
    """`parts` until this process drains, the caller is gone, or `check`, which is asked after each of them, refuses. To be called
    within the request; runs on without it."""
    wired, gone = services(), caller_gone()
    _lose_patience()

    def run() -> Iterator[T]:
        for part in parts:
            yield part
            if wired.draining() or gone() or not _passes(check):
                return

    return run()


def event(name: bytes, id: int | str, data: bytes) -> bytes:
    """One event; `data` is text without line breaks."""
    return b"event: " + name + b"\nid: " + str(id).encode() + b"\ndata: " + data + b"\n\n"


def event_stream(parts: Iterable[bytes]) -> Response:
    """Server-sent events as they come; no proxy in between shall keep them."""
    response = Response(parts, content_type="text/event-stream; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _passes(check: Callable[[], object]) -> bool:
    """While the database is away nobody is locked out."""
    try:
        check()
    except LedgerUnavailable:
        return True
    except RolloutError:
        return False
    return True


def _lose_patience() -> None:
    connection = request.environ.get("gunicorn.socket")
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))
