"""What an Unleash server says, fetched by an `UnleashClient` that polls and is never asked for a flag.

The client hands each state that it fetched to its cache, and takes back from there what to load: nothing, here. So the state goes to
`Feed`, which decides whether it is fit to be kept, and the engine that answers is another one (`sync.embedded`).

What the stock client would do, and is kept from: it starts by waiting for the server (it is started on a thread of its own); it dies in
a fork (start it after); it remembers the ETag of a state that nobody could use (here only of one that was kept); it takes a server that
is down for one that is unchanged (each answer is looked at, by a hook); and it never says that a stream has gone silent (a
stream only says when to poll).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

log = structlog.get_logger()

POLL_SECONDS = 5
TIMEOUT_SECONDS = 4
STREAM_TIMEOUT_SECONDS = 60
"""Longer than the pause between two of the stream's heartbeats."""

STOP_SECONDS = 2 * TIMEOUT_SECONDS

_FEATURES, _ETAG = "/client/features", "etag"


class Feed(Protocol):
    """Where what was fetched goes."""

    def etag(self) -> str:
        """Of the state that is kept; empty: none is."""

    def take(self, text: str, etag: str) -> bool:
        """A state, as it was sent: whether it is what is kept now."""

    def confirm(self, asked_at: float) -> None:
        """What is kept was still what the server had when it was asked, on the monotonic clock."""

    def miss(self, status: int | None) -> None:
        """The server gave no state; `status`: with which it answered, None: it did not."""


class Feeder:
    """`streaming`: polls also whenever the server's stream says that something changed."""

    def __init__(
        self,
        url: str,
        token: str,
        feed: Feed,
        *,
        streaming: bool = False,
        every: float = POLL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._token, self._feed = url, token, feed
        self._streaming, self._monotonic = streaming, monotonic
        self._turns = _Turns(every)
        self._thread = threading.Thread(target=self._run, name="unleash", daemon=True)

    def start(self) -> None:
        """Returns at once, whether or not there is a server. After the fork, once."""
        self._thread.start()

    def stop(self) -> None:
        self._turns.stop()
        self._thread.join(STOP_SECONDS)

    def poll(self) -> None:
        """Ask the server at once instead of at the next turn; does not wait for the answer."""
        self._turns.wake()

    def _run(self) -> None:
        # It would write a page at each poll while the server is away; `Feed.miss` is told.
        logging.getLogger("UnleashClient").setLevel(logging.CRITICAL)
        poll = _Poll(self._feed, self._monotonic)
        options = {"hooks": {"response": poll.hear}}
        self._client(poll, "polling", TIMEOUT_SECONDS, custom_options=options).initialize_client()
        if not self._streaming:
            self._turns.run()
            return
        stream = self._client(_Wake(self.poll), "streaming", STREAM_TIMEOUT_SECONDS)
        stream.initialize_client()
        self._turns.run()
        stream.destroy()

    def _client(self, cache: Any, mode: Any, timeout: int, **options: Any) -> Any:
        from UnleashClient.clients.unleash_client import UnleashClient
        from UnleashClient.utils import InstanceAllowType

        scheduler: Any = self._turns
        return UnleashClient(
            self._url,
            "phasegate",
            request_timeout=timeout,
            request_retries=0,
            disable_metrics=True,
            disable_registration=True,
            custom_headers={"Authorization": self._token},
            cache=cache,
            scheduler=scheduler,
            scheduler_executor="unleash",
            experimental_mode={"type": mode},
            multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
            **options,
        )


class _Turns:
    """The scheduler that the client leaves its polls to: here they are made by who calls `run`, and none is lost that was asked for
    while another one was under way."""

    def __init__(self, every: float) -> None:
        self._every, self._woken, self._stopping = every, threading.Event(), False
        self._poll: Callable[[], None] | None = None

    def run(self) -> None:
        """Until `stop`."""
        while True:
            self._woken.wait(self._every)
            self._woken.clear()
            if self._stopping or self._poll is None:
                return
            self._poll()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping = True
        self.wake()

    def add_job(self, poll: Callable[[], None], **_: Any) -> _Turns:
        self._poll = poll
        return self

    def start(self) -> None:
        return None

    def remove_all_jobs(self) -> None:
        return None

    def shutdown(self, wait: bool) -> None:
        return None


class _Cache:
    """UnleashClient's cache interface; this one is empty and stays so."""

    bootstrapped = False

    def get(self, key: str, default: Any = None) -> Any:
        return default

    def exists(self, key: str) -> bool:
        return False

    def set(self, key: str, value: Any) -> None:
        return None

    def mset(self, data: Mapping[str, Any]) -> None:
        return None

    def destroy(self) -> None:
        return None


class _Poll(_Cache):
    """One poll after the other, as the client's cache sees them: it asks for the ETag, sets what was fetched, and asks for the state."""

    def __init__(self, feed: Feed, monotonic: Callable[[], float]) -> None:
        self._feed, self._monotonic = feed, monotonic
        self._asked_at = 0.0
        self._status: int | None = None
        self._fetched: dict[str, Any] = {}

    def hear(self, response: Any, *_: Any, **__: Any) -> None:
        self._status = response.status_code

    def get(self, key: str, default: Any = None) -> Any:
        if key == _ETAG:
            self._asked_at, self._status, self._fetched = self._monotonic(), None, {}
            return self._feed.etag()
        if key == _FEATURES:
            self._end()
        return default

    def set(self, key: str, value: Any) -> None:
        self._fetched[key] = value

    def _end(self) -> None:
        try:
            if self._holds():
                self._feed.confirm(self._asked_at)
        except Exception:
            log.exception("unleash_poll_failed")

    def _holds(self) -> bool:
        """Whether what is kept now is what the server has."""
        text = self._fetched.get(_FEATURES)
        if text:
            return self._feed.take(text, self._fetched.get(_ETAG, ""))
        if self._status == 304 and self._feed.etag():
            return True
        self._feed.miss(self._status)
        return False


class _Wake(_Cache):
    """For the client that listens to the stream: whatever it heard, look."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look

    def set(self, key: str, value: Any) -> None:
        if key == _FEATURES:
            self._look()
