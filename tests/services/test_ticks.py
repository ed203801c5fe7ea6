"""Periodic work is done by one process at a time, and by another one when the first is dead."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from rollout.db.engine import Database
from rollout.services.ticks import LEASE_SECONDS, Ticks


@pytest.fixture
def alice(database: Database) -> Ticks:
    return Ticks(database, "alice")


@pytest.fixture
def bob(database: Database) -> Ticks:
    return Ticks(database, "bob")


def test_a_tick_comes_once_for_all_and_again_when_it_is_due(alice: Ticks, bob: Ticks, clock: Any) -> None:
    done: list[str] = []
    assert alice.run("sweep", 5, lambda: done.append("alice"))
    assert not bob.run("sweep", 5, lambda: done.append("bob"))
    clock.advance(4)
    assert not alice.run("sweep", 5, lambda: done.append("alice"))
    clock.advance(1)
    assert bob.run("sweep", 5, lambda: done.append("bob"))
    assert done == ["alice", "bob"]


def test_ticks_that_were_missed_fold_into_one(alice: Ticks, clock: Any) -> None:
    alice.run("sweep", 5, lambda: None)
    clock.advance(3600)
    assert alice.run("sweep", 5, lambda: None)
    assert not alice.run("sweep", 5, lambda: None)


def test_names_are_ticks_of_their_own(alice: Ticks) -> None:
    assert alice.run("sweep", 5, lambda: None)
    assert alice.run("reconcile", 5, lambda: None)


def test_nobody_else_begins_while_one_is_at_it(alice: Ticks, bob: Ticks, clock: Any) -> None:
    def long_work() -> None:
        clock.advance(LEASE_SECONDS - 1)
        assert not bob.run("sweep", 5, lambda: None)

    assert alice.run("sweep", 5, long_work)


def test_the_work_of_a_dead_process_is_taken_over(alice: Ticks, bob: Ticks, clock: Any) -> None:
    def die() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        alice.run("sweep", 5, die)
    clock.advance(LEASE_SECONDS - 1)
    assert not bob.run("sweep", 5, lambda: None)
    clock.advance(1)
    assert bob.run("sweep", 5, lambda: None)


def test_a_stalled_process_does_not_undo_who_took_over(alice: Ticks, bob: Ticks, clock: Any) -> None:
    def stall() -> None:
        clock.advance(LEASE_SECONDS)
        assert bob.run("sweep", 3600, lambda: None)

    alice.run("sweep", 5, stall)
    clock.advance(3599)
    assert not alice.run("sweep", 5, lambda: None)


def test_work_that_fails_is_logged_and_comes_again(alice: Ticks, clock: Any) -> None:
    with capture_logs() as logs:
        assert alice.run("sweep", 5, lambda: 1 / 0)
    assert [(line["event"], line["tick"]) for line in logs] == [("tick_failed", "sweep")]
    clock.advance(5)
    assert alice.run("sweep", 5, lambda: None)
