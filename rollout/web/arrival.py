"""Whether an answer reaches its caller."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import request


def caller_gone() -> Callable[[], bool]:
    """Tells, later too, whether the caller of this request has hung up. A server that shows no socket never knows."""
    connection = request.environ.get("gunicorn.socket")

    def gone() -> bool:
        if not isinstance(connection, socket.socket):
            return False
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    return gone


class Watched:
    """A body that calls `lost` when it is closed before its end: the caller hung up, or a write failed."""

    def __init__(self, body: Iterable[Any], lost: Callable[[], None]) -> None:
        self._body, self._lost, self._ended = body, lost, False

    def __iter__(self) -> Iterator[Any]:
        yield from self._body
        self._ended = True

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            if not self._ended:
                self._lost()
