"""A client that polls, listens to a stream if it may, and is never asked for a flag."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fake_unleash import SECONDS, TOKEN, FakeUnleash, document

from rollout.sync.unleash import Feeder


class Feed:
    """Remembers what it heard; a poll has ended when `next` gives its last word."""

    def __init__(self, takes: Callable[[str], bool] = lambda _: True) -> None:
        self._takes, self._etag = takes, ""
        self.taken: list[str] = []
        self._heard: queue.Queue[Any] = queue.Queue()

    def etag(self) -> str:
        return self._etag

    def take(self, text: str, etag: str) -> bool:
        self.taken.append(text)
        if not self._takes(text):
            self._heard.put("refused")
            return False
        self._etag = etag
        return True

    def confirm(self, asked_at: float) -> None:
        self._heard.put(("confirmed", asked_at))

    def miss(self, status: int | None) -> None:
        self._heard.put(("missed", status))

    def next(self) -> Any:
        return self._heard.get(timeout=SECONDS)


@pytest.fixture
def server() -> Iterator[FakeUnleash]:
    with FakeUnleash() as running:
        yield running


@contextmanager
def feeding(server: FakeUnleash, feed: Feed, **how: Any) -> Iterator[Feeder]:
    feeder = Feeder(server.url, how.pop("token", TOKEN), feed, every=3600, **how)
    feeder.start()
    yield feeder
    feeder.stop()


def test_it_hands_over_what_the_server_has_and_confirms_it_with_304(server: FakeUnleash) -> None:
    feed, times = Feed(), iter([10.0, 20.0])
    with feeding(server, feed, monotonic=lambda: next(times)) as feeder:
        assert feed.next() == ("confirmed", 10.0)
        feeder.poll()
        assert feed.next() == ("confirmed", 20.0)
    assert feed.taken == [server.text]
    assert server.asked == [None, server.etag]


def test_the_start_waits_for_nobody(server: FakeUnleash) -> None:
    feed = Feed()
    server.may_answer.clear()
    with feeding(server, feed):
        assert feed.taken == []
        server.may_answer.set()
        assert feed.next()[0] == "confirmed"


def test_the_etag_of_a_state_that_was_refused_is_never_sent(server: FakeUnleash) -> None:
    feed = Feed(takes=lambda text: "broken" not in text)
    good = server.text
    with feeding(server, feed) as feeder:
        feed.next()
        server.text = "broken"
        feeder.poll()
        assert feed.next() == "refused"
        feeder.poll()
        assert feed.next() == "refused"
        server.text = good
        feeder.poll()
        assert feed.next()[0] == "confirmed"
    assert server.asked[1:] == [server.etag] * 3


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_an_answer_that_is_no_state_is_told_with_its_status(server: FakeUnleash, status: int) -> None:
    feed = Feed()
    server.status = status
    with feeding(server, feed):
        assert feed.next() == ("missed", status)
    assert feed.taken == []


def test_a_server_that_is_away_confirms_nothing_and_is_found_again(server: FakeUnleash) -> None:
    feed = Feed()
    with feeding(server, feed) as feeder:
        feed.next()
        server.stopped = True
        feeder.poll()
        assert feed.next() == ("missed", None)
        server.stopped = False
        feeder.poll()
        assert feed.next()[0] == "confirmed"


def test_a_server_that_is_away_at_the_start_is_found_later(server: FakeUnleash) -> None:
    feed = Feed()
    server.stopped = True
    with feeding(server, feed) as feeder:
        assert feed.next() == ("missed", None)
        server.stopped = False
        feeder.poll()
        assert feed.next()[0] == "confirmed"


def test_a_token_that_was_revoked_is_told(server: FakeUnleash) -> None:
    feed = Feed()
    with feeding(server, feed, token="*:production.revoked"):
        assert feed.next() == ("missed", 401)


def test_an_empty_answer_and_a_304_without_a_state_confirm_nothing(server: FakeUnleash) -> None:
    feed = Feed()
    server.text = ""
    with feeding(server, feed) as feeder:
        assert feed.next() == ("missed", 200)
        server.status = 304
        feeder.poll()
        assert feed.next() == ("missed", 304)


def test_what_goes_wrong_with_one_state_does_not_end_the_polls(server: FakeUnleash) -> None:
    def takes(text: str) -> bool:
        if text == good:
            feed._heard.put("raised")
            raise RuntimeError("not foreseen")
        return True

    good, feed = server.text, Feed(takes)
    with feeding(server, feed) as feeder:
        assert feed.next() == "raised"
        server.text = document({"name": "other", "strategies": []})
        feeder.poll()
        assert feed.next()[0] == "confirmed"


def test_news_on_the_stream_make_it_poll_at_once(server: FakeUnleash) -> None:
    feed = Feed()
    with feeding(server, feed, streaming=True):
        feed.next()
        old = server.text
        server.text = document({"name": "new", "strategies": []})
        state = {"type": "hydration", "eventId": 2, "features": [], "segments": []}
        server.news.put(f"event: unleash-connected\ndata: {json.dumps({'events': [state]})}\n\n")
        assert feed.next()[0] == "confirmed"
        assert feed.taken == [old, server.text]
        server.news.put(None)


def test_stopping_leaves_no_thread(server: FakeUnleash) -> None:
    before = set(threading.enumerate())
    feed = Feed()
    with feeding(server, feed):
        feed.next()
    left = {
        thread.name for thread in set(threading.enumerate()) - before if "process_request" not in thread.name
    }
    assert left == set()
