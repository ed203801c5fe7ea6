"""Vendors that fail: each process has a breaker for each vendor, and remembers who refuses our account.

A breaker sees every call to its vendor (`Watched`), and lets none through while it is open: before the hold, where the caller is
told when to come again; and at the port, for who does not ask first. A key that is refused, or an account without credit, opens
nothing: such an answer is quick and free, and each tells whether it has been put right. It is an alarm: logged once, and shown by
/readyz and the workers until the vendor serves us again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from rollout.core.breakers import REST_SECONDS, Breaker
from rollout.core.times import rfc3339
from rollout.errors import UpstreamUnavailable
from rollout.providers.base import (
    BadCredential,
    Fault,
    NotBilled,
    NotSent,
    OutcomeUnknown,
    OutOfCredit,
    PortError,
)

log = structlog.get_logger()

_FAILURES = (NotSent, NotBilled, Fault, OutcomeUnknown)
_ACCOUNT = (BadCredential, OutOfCredit)


@dataclass(frozen=True)
class _Seen:
    """`last`: the last failure; `refused_at`: since when the vendor refuses our account."""

    breaker: Breaker = field(default_factory=Breaker)
    last: str = ""
    refused_at: float | None = None


class Breakers:
    """`clock` gives UTC epoch seconds; `failures` open a breaker, 0: none ever opens."""

    def __init__(self, clock: Callable[[], float], failures: int) -> None:
        self._clock, self._failures = clock, failures or math.inf
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def check(self, vendor: str) -> None:
        """Raises UpstreamUnavailable while the vendor's breaker lets no call through."""
        if wait := self._of(vendor).breaker.wait(self._clock()):
            raise UpstreamUnavailable(
                "The vendor keeps failing and is left alone for a moment; nothing was charged.",
                retry_after=math.ceil(min(wait, REST_SECONDS)),
            )

    def troubles(self) -> dict[str, Mapping[str, Any]]:
        """By vendor, what is wrong: a breaker's `state` (open, half_open), or account_refused."""
        at = self._clock()
        shown = {vendor: _shown(seen, at) for vendor, seen in self._seen.copy().items()}
        return {vendor: trouble for vendor, trouble in sorted(shown.items()) if trouble is not None}

    @contextmanager
    def watching(self, vendor: str, *, verdicts: tuple[type[PortError], ...] = ()) -> Iterator[None]:
        """Around one call, to which `verdicts` are answers like any other. Raises NotSent while the breaker lets none through."""
        with self._lock:
            seen, at = self._of(vendor), self._clock()
            if seen.breaker.wait(at):
                raise NotSent(f"the breaker of {vendor} is open: {seen.last}")
            self._seen[vendor] = replace(seen, breaker=seen.breaker.sent(at))
        try:
            yield
        except PortError as error:
            self._note(vendor, None if isinstance(error, verdicts) else error)
            raise
        else:
            self._note(vendor, None)

    def _of(self, vendor: str) -> _Seen:
        return self._seen.get(vendor) or _Seen()

    def _note(self, vendor: str, error: PortError | None) -> None:
        with self._lock:
            before, at = self._of(vendor), self._clock()
            after = self._after(before, error, at)
            self._seen[vendor] = after
        _log(vendor, before, after)

    def _after(self, seen: _Seen, error: PortError | None, at: float) -> _Seen:
        last = f"{type(error).__name__}: {error.detail[:200]}" if error else ""
        if isinstance(error, _FAILURES):
            return replace(seen, breaker=seen.breaker.failed(at, self._failures), last=last)
        answered = replace(seen, breaker=seen.breaker.answered(at))
        if isinstance(error, _ACCOUNT):
            return replace(answered, last=last, refused_at=seen.refused_at or at)
        return replace(answered, refused_at=None)


class Watched:
    """A vendor's port, of whatever kind, each of whose calls its breaker sees."""

    def __init__(self, port: Any, vendor: str, breakers: Breakers) -> None:
        self._port, self._vendor, self._breakers = port, vendor, breakers

    def generate(self, call: Any) -> Any:
        return self._watch(self._port.generate, call)

    def create(self, call: Any) -> Any:
        return self._watch(self._port.create, call)

    def count_tokens(self, call: Any) -> Any:
        return self._watch(self._port.count_tokens, call)

    def submit(self, call: Any, reference: str) -> Any:
        return self._watch(self._port.submit, call, reference)

    def look(self, call: Any, task_id: str, reference: str) -> Any:
        with self._breakers.watching(self._vendor, verdicts=(Fault,)):  # it says that the task failed
            return self._port.look(call, task_id, reference)

    @contextmanager
    def stream(self, call: Any) -> Iterator[Iterator[Any]]:
        with self._breakers.watching(self._vendor), self._port.stream(call) as events:
            yield events

    def _watch(self, send: Callable[..., Any], *arguments: Any) -> Any:
        with self._breakers.watching(self._vendor):
            return send(*arguments)


def _shown(seen: _Seen, at: float) -> Mapping[str, Any] | None:
    state: str = seen.breaker.state(at)
    since = seen.breaker.opened_at or seen.refused_at
    if since is None:
        return None
    state = "account_refused" if state == "closed" else state
    return {"state": state, "since": rfc3339(since), "failures": seen.breaker.failures, "last": seen.last}


def _log(vendor: str, before: _Seen, after: _Seen) -> None:
    was_open, is_open = before.breaker.opened_at is not None, after.breaker.opened_at is not None
    if is_open and after.breaker.opened_at != before.breaker.opened_at:
        log.error(
            "breaker_opened",
            vendor=vendor,
            rest_seconds=after.breaker.rest,
            failures=after.breaker.failures,
            last=after.last,
        )
    if was_open and not is_open:
        log.warning("breaker_closed", vendor=vendor)
    if after.refused_at is not None and before.refused_at is None:
        log.error("vendor_account_refused", vendor=vendor, detail=after.last)
    if before.refused_at is not None and after.refused_at is None:
        log.warning("vendor_account_serves_again", vendor=vendor)
