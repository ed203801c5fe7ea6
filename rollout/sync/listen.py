"""How a worker learns that there may be a new revision: PostgreSQL tells it, SQLite is asked.

`wait()` returns when it is time to look; it never raises. A look without a change is harmless, a missed
change is not: so each wait ends by itself after an interval, and a new connection is followed by a look at
once.
"""

from __future__ import annotations

import selectors
import socket
import threading
from typing import Any, Protocol

import structlog

log = structlog.get_logger()

CHANNEL = "rollout"
SQLITE_SECONDS = 0.2
POSTGRES_SECONDS = 1.0


class Waiter(Protocol):
    def wait(self) -> None: ...

    def nudge(self) -> None:
        """This process changed something: end this wait, if nobody else will; from another thread."""

    def wake(self) -> None:
        """End this wait, and every later one, at once; from another thread."""

    def close(self) -> None: ...


def waiter(database_url: str) -> Waiter:
    if database_url.startswith("sqlite:"):
        return Poll(SQLITE_SECONDS)
    return Listener(database_url, POSTGRES_SECONDS)


class Poll:
    """Every `interval` seconds. Reading the revision row five times a second is 0.05 % of a core; `PRAGMA
    data_version` is cheaper but moves with every hold, and would need a connection of its own."""

    def __init__(self, interval: float) -> None:
        self._interval, self._woken, self._is_over = interval, threading.Event(), False

    def wait(self) -> None:
        self._woken.wait(self._interval)
        if not self._is_over:
            self._woken.clear()

    def nudge(self) -> None:
        self._woken.set()

    def wake(self) -> None:
        self._is_over = True
        self._woken.set()

    def close(self) -> None:
        return None


class Listener:
    """LISTEN on a direct connection of its own (a pooler in transaction mode would swallow it), and `interval`."""

    def __init__(self, database_url: str, interval: float) -> None:
        self._url = database_url.replace("postgresql+psycopg:", "postgresql:", 1)
        self._interval, self._is_away = interval, False
        self._connection: Any = None
        self._waking, self._woken = socket.socketpair()

    def wait(self) -> None:
        import psycopg

        try:
            if self._connection is None:
                self._connection = self._connect()
                return
            self._wait_for(self._connection.fileno())
            for _ in self._connection.notifies(timeout=0):
                pass
        except psycopg.Error as error:
            if self._connection is None:
                self._wait_for()
            if not self._is_away:
                log.warning("listener_lost", error=str(error))
            self._is_away = True
            self._hang_up()

    def nudge(self) -> None:
        """PostgreSQL tells this process, too."""

    def wake(self) -> None:
        self._waking.send(b"!")

    def close(self) -> None:
        self._hang_up()
        self._waking.close()
        self._woken.close()

    def _wait_for(self, *descriptors: int) -> None:
        """Until one of them has something to say, `wake` is called, or the interval is over."""
        with selectors.DefaultSelector() as selector:
            for descriptor in (*descriptors, self._woken.fileno()):
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(self._interval)

    def _connect(self) -> Any:
        import psycopg

        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        connection.execute(f"LISTEN {CHANNEL}")
        self._is_away = False
        log.info("listening")
        return connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
