"""Streams that stay open: each change once, a sign of life when it is quiet, and an end for every reason there is."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from rollout.errors import InvalidApiKey, LedgerUnavailable
from rollout.web import streams
from rollout.web.streams import LOOKS_PER_BEAT, event, event_stream, revisions


class State:
    """`coming` is the revision that each wait ends with, None where nothing comes."""

    def __init__(self, *coming: int | None) -> None:
        self.snapshot, self._coming = SimpleNamespace(revision=1), iter(coming)

    def wait_beyond(self, revision: int, _seconds: float) -> Any:
        found = next(self._coming, None)
        if found is not None and found != revision:
            self.snapshot = SimpleNamespace(revision=found)
        return self.snapshot


def stream(
    state: State,
    check: Callable[[], object] = lambda: None,
    draining: Callable[[], bool] = lambda: False,
    connection: socket.socket | None = None,
) -> Iterator[int | None]:
    app = Flask("streams")
    app.extensions["rollout"] = SimpleNamespace(state=state, draining=draining)
    with app.test_request_context(environ_overrides={"gunicorn.socket": connection}):
        return revisions(check)


def test_the_revision_of_now_comes_first_then_each_later_one() -> None:
    told = stream(State(None, 2, None, 5))
    assert [next(told) for _ in range(3)] == [1, 2, 5]


def test_when_it_is_quiet_a_sign_of_life_comes_after_ten_looks() -> None:
    waits: list[float] = []

    class Quiet(State):
        def wait_beyond(self, revision: int, seconds: float) -> Any:
            waits.append(seconds)
            return super().wait_beyond(revision, seconds)

    told = stream(Quiet())
    assert [next(told) for _ in range(3)] == [1, None, None]
    assert len(waits) == 2 * LOOKS_PER_BEAT
    assert 10 <= sum(waits) / 2 <= 15


def test_a_drain_ends_it_at_the_next_look() -> None:
    drained = iter([False, True])
    assert list(stream(State(2), draining=lambda: next(drained))) == [1, 2]


def test_a_caller_that_hung_up_ends_it() -> None:
    here, there = socket.socketpair()
    with here:
        told = stream(State(2), connection=here)
        assert [next(told), next(told)] == [1, 2]
        there.close()
        assert list(told) == []


def test_whoever_takes_nothing_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SEND_SECONDS", 1)
    here, there = socket.socketpair()
    with here, there:
        stream(State(), connection=here)
        with pytest.raises(BlockingIOError):
            here.sendall(bytes(10_000_000))


def test_who_is_locked_out_is_told_nothing_more() -> None:
    def refuse() -> None:
        raise InvalidApiKey("revoked")

    assert list(stream(State(2), refuse)) == [1]


def test_while_the_database_is_away_nobody_is_locked_out() -> None:
    def unknown() -> None:
        raise LedgerUnavailable

    told = stream(State(2), unknown)
    assert [next(told), next(told)] == [1, 2]


def test_an_event_is_as_the_format_has_it_and_no_proxy_keeps_it() -> None:
    assert event(b"unleash-updated", 7, b"{}") == b"event: unleash-updated\nid: 7\ndata: {}\n\n"
    response = event_stream(iter([b": here\n\n"]))
    assert response.is_streamed
    assert response.content_type.startswith("text/event-stream")
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
