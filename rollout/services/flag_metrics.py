"""Who asks for flags, and how often each was on and off, as the SDKs tell it.

It is taken in memory and written down soon after, so that no SDK waits for the database. Failure behaviour: with the
database away it waits; what finds no room is dropped and logged. A token of a frontend is known to everybody with a browser, so all
that a caller can make up is bounded: names of flags that are not there, apps and instances, each hour.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import structlog

from rollout.core.flag_metrics import HOUR, Count, FlagClient, FlagMetric
from rollout.db import flag_clients, flag_metrics
from rollout.db.engine import Clock, Database, Tx
from rollout.errors import InvalidRequest, LedgerUnavailable
from rollout.services.state import State

V = TypeVar("V")

log = structlog.get_logger()

MEMORY = 20_000
"""Counts of a flag, app and hour that wait to be written down."""

UNKNOWN_FLAGS = 100
APPS = 200
INSTANCES = 1_000
"""How many names of each kind a process takes in an hour; more are dropped."""

LATE_SECONDS = 86_400
"""What an SDK counted longer ago counts as counted then."""

KEPT_DAYS = 31
SEEN_DAYS = 7
FORGOTTEN_AT_ONCE = 1_000


class FlagMetrics:
    def __init__(self, database: Database, state: State, clock: Clock) -> None:
        self._database, self._state, self._clock = database, state, clock
        self._memory, self._writing = threading.Lock(), threading.Lock()
        self._counted: dict[tuple[str, str, str, int], FlagMetric] = {}
        self._registered: dict[tuple[str, str, str], FlagClient] = {}
        self._seen: dict[tuple[str, str, str], FlagClient] = {}
        self._names: dict[str, set[tuple[str, ...]]] = {}
        self._hour = self._dropped = 0
        self._failing = False

    def now(self) -> int:
        return int(self._clock())

    def register(self, client: FlagClient) -> None:
        """Keep what a process tells of itself."""
        self._keep(self._registered, client)

    def see(self, client: FlagClient) -> None:
        """Keep that a process is there; what it told of itself stays."""
        self._keep(self._seen, client)

    def count(self, environment: str, app: str, counts: Iterable[Count]) -> None:
        """Add what an app counted."""
        flags = self._state.snapshot.flags.get(environment)
        known = flags.names if flags else frozenset()
        with self._memory:
            for one in counts:
                self._add(environment, app, one, is_known=one.flag in known)

    def flush(self) -> int:
        """Write down what waits; how many counts it were. What the database does not take now waits on."""
        with self._writing:
            with self._memory:
                counted, self._counted = self._counted, {}
                registered, self._registered = self._registered, {}
                seen, self._seen = self._seen, {}
                dropped, self._dropped = self._dropped, 0
            if dropped:
                log.warning("flag_metrics_dropped", count=dropped)
            if not (counted or registered or seen):
                return 0
            try:
                self._write(flag_clients.registered, registered)
                self._write(flag_clients.seen, seen)
                self._write(flag_metrics.add, counted)
            except LedgerUnavailable as error:
                self._take_back(counted, registered, seen)
                if not self._failing:
                    log.warning("flag_metrics_wait", error=str(error.__cause__ or error))
                self._failing = True
                return 0
            self._failing = False
            return len(counted)

    def _write(self, write: Callable[[Tx, Collection[V]], None], waiting: Mapping[Any, V]) -> None:
        """In a transaction of its own: with locks on two kinds of rows processes could wait in a ring. Counts come last, because they
        alone may not be written twice."""
        if waiting:
            with self._database.write() as tx:
                write(tx, waiting.values())

    def forget(self) -> None:
        """Remove what is too old to tell anything."""
        with self._database.write() as tx:
            now = int(self._database.now(tx))
            flag_clients.forget(tx, now - SEEN_DAYS * 86_400)
        gone = FORGOTTEN_AT_ONCE
        while gone >= FORGOTTEN_AT_ONCE:
            with self._database.write() as tx:
                gone = flag_metrics.forget(tx, now - KEPT_DAYS * 86_400, FORGOTTEN_AT_ONCE)

    def page(
        self,
        environment: str,
        flag: str,
        *,
        hours: int,
        cursor: str | None = None,
        limit: int,
    ) -> list[FlagMetric]:
        """What was counted of a flag within so many hours, newest first, an app each; from behind `cursor`. Raises InvalidRequest."""
        after = None if cursor is None else _parse_metric_cursor(cursor)
        self.flush()
        with self._database.read() as tx:
            since = int(self._database.now(tx)) - hours * HOUR
            return flag_metrics.page(tx, environment, flag, since=since, after=after, limit=limit)

    def clients(
        self, *, environment: str | None = None, cursor: str | None = None, limit: int
    ) -> list[FlagClient]:
        """Processes that asked lately, in order of environment, app and instance, from behind `cursor`. Raises InvalidRequest."""
        after = None if cursor is None else _parse_client_cursor(cursor)
        self.flush()
        with self._database.read() as tx:
            return flag_clients.page(tx, environment=environment, after=after, limit=limit)

    def _keep(self, where: dict[tuple[str, str, str], FlagClient], client: FlagClient) -> None:
        key = client.environment, client.app_name, client.instance_id
        with self._memory:
            if self._has_room("instance", key, INSTANCES):
                where[key] = client
            else:
                self._dropped += 1

    def _add(self, environment: str, app: str, one: Count, *, is_known: bool) -> None:
        now = self.now()
        hour = min(max(one.at, now - LATE_SECONDS), now) // HOUR * HOUR
        key = environment, one.flag, app, hour
        found = self._counted.get(key)
        if found is None and not (
            len(self._counted) < MEMORY
            and self._has_room("app", (environment, app), APPS)
            and (is_known or self._has_room("flag", (environment, one.flag), UNKNOWN_FLAGS))
        ):
            self._dropped += 1
            return
        before = found or FlagMetric(*key, 0, 0, {})
        self._counted[key] = before.plus(one.yes, one.no, one.variants)

    def _has_room(self, kind: str, name: tuple[str, ...], most: int) -> bool:
        """Whether a name was taken in this hour, or is now."""
        hour = self.now() // HOUR
        if hour != self._hour:
            self._hour, self._names = hour, {}
        names = self._names.setdefault(kind, set())
        if name not in names and len(names) < most:
            names.add(name)
        return name in names

    def _take_back(
        self,
        counted: dict[tuple[str, str, str, int], FlagMetric],
        registered: dict[tuple[str, str, str], FlagClient],
        seen: dict[tuple[str, str, str], FlagClient],
    ) -> None:
        with self._memory:
            for key, one in counted.items():
                newer = self._counted.get(key)
                self._counted[key] = newer.plus(one.yes, one.no, one.variants) if newer else one
            self._registered = {**registered, **self._registered}
            self._seen = {**seen, **self._seen}


def metric_cursor(metric: FlagMetric) -> str:
    return f"{metric.hour}:{metric.app_name}"


def client_cursor(client: FlagClient) -> str:
    return json.dumps([client.environment, client.app_name, client.instance_id])


def _parse_metric_cursor(text: str) -> tuple[int, str]:
    hour, colon, app = text.partition(":")
    if not colon or not hour.isdecimal() or len(hour) > 12:
        raise _no_cursor()
    return int(hour), app


def _parse_client_cursor(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        raise _no_cursor() from None
    if not isinstance(found, list) or len(found) != 3 or not all(isinstance(name, str) for name in found):
        raise _no_cursor()
    return found


def _no_cursor() -> InvalidRequest:
    return InvalidRequest("This is no cursor of this list.", param="cursor")
