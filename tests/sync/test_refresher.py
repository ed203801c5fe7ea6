"""A change reaches every worker, by notice on PostgreSQL and by looking on SQLite, and nothing ends the refresher."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from doors import ALICE, BOB, SECRET
from phases import wire_phases

from rollout.core.decisions import GENERATION
from rollout.db import revision
from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable
from rollout.services.state import State
from rollout.services.workers import Worker
from rollout.sync import listen
from rollout.sync.listen import Listener, Poll, waiter
from rollout.sync.lru import LRU
from rollout.sync.refresher import Refresher

PATIENCE = 20
"""Seconds until a test gives up; none of them waits that long when all is well."""


class Told:
    """A waiter that a test tells when to look; it looks as often as it was told, and then at the end."""

    def __init__(self) -> None:
        self._calls = threading.Semaphore(0)
        self.closed = threading.Event()

    def tell(self) -> None:
        self._calls.release()

    def wait(self) -> None:
        self._calls.acquire(timeout=PATIENCE)

    nudge = wake = tell

    def close(self) -> None:
        self.closed.set()


@contextmanager
def running(waits: Any, look: Callable[[], object], report: Callable[[], None]) -> Iterator[None]:
    refresher = Refresher(waits, look, report)
    refresher.start()
    try:
        yield
    finally:
        refresher.stop()


def test_it_looks_and_reports_each_time_and_closes_what_it_waited_on() -> None:
    told, done, calls = Told(), threading.Event(), list[str]()

    def report() -> None:
        calls.append("report")
        done.set()

    with running(told, lambda: calls.append("look"), report):
        told.tell()
        assert done.wait(PATIENCE)
    assert calls[:2] == ["look", "report"]
    assert told.closed.is_set()


@pytest.mark.parametrize("error", [LedgerUnavailable(), RuntimeError("a fault of ours")])
def test_it_outlives_every_error(error: Exception) -> None:
    told, recovered = Told(), threading.Event()
    outcomes: list[Exception | None] = [error, error, None]

    def look() -> None:
        if outcomes and (fault := outcomes.pop(0)):
            raise fault

    with running(told, look, recovered.set):
        for _ in range(3):
            told.tell()
        assert recovered.wait(PATIENCE)


class Follower:
    """A second process's view of the database: its own connections, its own state, its own thread."""

    def __init__(self, url: str, clock: Any, waits: Any) -> None:
        self.database = Database(url)
        self.state = State(self.database, SECRET, clock=clock, monotonic=clock)
        self.state.refresh()
        self._worker = Worker(self.database, "follower", "here", 7, self.revision, clock)
        self._waits, self._looked, self._looks = waits, threading.Condition(), 0

    @contextmanager
    def follow(self) -> Iterator[None]:
        self._worker.register()
        with running(self._waits, self.state.refresh, self._report):
            self.wait_for(lambda: self._looks > 0)
            yield
        self.database.close()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until the condition holds; it is asked now and after each look."""
        with self._looked:
            assert self._looked.wait_for(condition, PATIENCE)

    def revision(self) -> int:
        return self.state.snapshot.revision

    def _report(self) -> None:
        self._worker.report()
        with self._looked:
            self._looks += 1
            self._looked.notify_all()


NEVER = 3600.0


def by_notice_alone(url: str) -> Any:
    """On PostgreSQL nothing but a notification ends the wait; SQLite is looked at every few milliseconds."""
    return Poll(0.005) if url.startswith("sqlite:") else Listener(url, NEVER)


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


def test_a_change_made_elsewhere_is_decided_on(
    services: SimpleNamespace, database_url: str, clock: Any
) -> None:
    follower = Follower(database_url, clock, by_notice_alone(database_url))
    features = services.features
    with follower.follow():
        services.grants.add(ALICE, "acme", GENERATION, "partner")
        granted = _revision(services.database)
        follower.wait_for(lambda: follower.revision() == granted)
        assert follower.state.facts("acme").grants[GENERATION].state == "active"
        killed = features.kill(BOB, GENERATION, "bad pictures")["revision"]
        follower.wait_for(lambda: follower.revision() == killed)
        assert GENERATION in follower.state.snapshot.kills


def test_a_kill_is_acknowledged_by_the_worker_that_follows(
    services: SimpleNamespace, database_url: str, clock: Any
) -> None:
    follower = Follower(database_url, clock, by_notice_alone(database_url))
    with follower.follow():
        services.features.kill(BOB, GENERATION, "bad pictures")
        follower.wait_for(lambda: services.features.get(GENERATION)["acks"]["received"] == 1)
        assert services.features.get(GENERATION)["acks"]["expected"] == 1


@pytest.mark.postgres
def test_after_its_connection_was_cut_the_listener_looks_at_once_and_listens_again(
    new_database: Callable[..., str], clock: Any
) -> None:
    url = new_database("postgresql")
    database = Database(url)
    services = wire_phases(database, clock)
    follower = Follower(url, clock, Listener(url, NEVER))
    with follower.follow():
        first = _cut_listeners(database)
        assert len(first) == 1
        follower.wait_for(lambda: _listeners(database) not in ([], first))
        services.grants.add(ALICE, "acme", GENERATION, "partner")
        granted = _revision(database)
        follower.wait_for(lambda: follower.revision() == granted)
    database.close()


def test_a_listener_without_a_server_waits_and_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def refuse(url: str, **_options: Any) -> None:
        tries.append(url)
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(psycopg, "connect", refuse)
    listener = Listener("postgresql+psycopg://nobody@127.0.0.1/none", 0.001)
    listener.wait()
    listener.wait()
    listener.close()
    assert tries == ["postgresql://nobody@127.0.0.1/none"] * 2


def test_a_wait_is_ended_from_another_thread() -> None:
    poll = Poll(NEVER)
    poll.wake()
    poll.wait()
    poll.close()


def test_a_nudge_ends_one_wait_and_not_the_next() -> None:
    poll = Poll(NEVER)
    poll.nudge()
    poll.wait()
    waiting = threading.Thread(target=poll.wait)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    poll.wake()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


def test_the_way_to_wait_follows_the_database() -> None:
    assert isinstance(waiter("sqlite:///rollout.db"), Poll)
    listener = waiter("postgresql+psycopg://localhost/rollout")
    assert isinstance(listener, Listener)
    listener.close()


def test_the_channel_is_the_one_that_changes_are_told_on() -> None:
    assert listen.CHANNEL == revision.CHANNEL


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    recent: LRU[str, int] = LRU(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert [recent.get(key) for key in "abc"] == [1, None, 3]
    assert len(recent) == 2
    recent.drop(lambda key, _value: key == "a")
    assert recent.get("a") is None


def _revision(database: Database) -> int:
    with database.read() as tx:
        return revision.current(tx)


_LISTENING = "select pid from pg_stat_activity where datname = current_database() and query like 'LISTEN%'"


def _listeners(database: Database) -> list[int]:
    with database.read() as tx:
        return list(tx.execute(sa.text(_LISTENING)).scalars())


def _cut_listeners(database: Database) -> list[int]:
    found = _listeners(database)
    with database.write() as tx:
        for pid in found:
            tx.execute(sa.select(sa.func.pg_terminate_backend(pid)))
    return found
