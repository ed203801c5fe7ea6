"""Polls over connections that are kept: known by their bytes, answered before a thread is asked, and never mistaken for another request."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from processes import Service, Starter, wait_until

THREADS = 8
SEND_BUFFER_BYTES = 5_000_000
"""More than Linux keeps for a connection whose reader is slow (`tcp_wmem`)."""
NUMBERS = itertools.count()
PATH = "/api/client/features"


@pytest.fixture(scope="module", params=[0, 1], ids=["direct", "behind a proxy"])
def service(
    request: pytest.FixtureRequest, shared_starter: Starter, new_database: Callable[..., str]
) -> Service:
    return shared_starter.service(new_database("sqlite"), threads=THREADS, trusted_proxies=request.param)


@pytest.fixture(scope="module")
def token(service: Service) -> str:
    return str(add_token(service)["secret"])


def add_token(service: Service, environment: str = "production") -> dict[str, Any]:
    asked = {"name": "sdk", "type": "client", "environment": environment, "reason": "test"}
    return dict(service.admin("POST", "/flag-tokens", asked))


@dataclass
class Line:
    """A connection, written to and read from as it is."""

    there: socket.socket
    token: str
    read: bytes = b""

    def head(self, more: str = "", path: str = PATH) -> bytes:
        sent = f"Host: phasegate\r\nX-Forwarded-For: 203.0.113.9\r\nAuthorization: {self.token}\r\n{more}"
        return f"GET {path} HTTP/1.1\r\n{sent}\r\n".encode()

    def ask(self, more: str = "", path: str = PATH) -> tuple[int, dict[str, str], bytes]:
        self.there.sendall(self.head(more, path))
        return self.answer()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        head, self.read = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        while len(self.read) < size:
            self.read += self._some()
        body, self.read = self.read[:size], self.read[size:]
        return int(first.split()[1]), headers, body

    def _until(self, end: bytes) -> tuple[bytes, bytes]:
        while end not in self.read:
            self.read += self._some()
        head, _, rest = self.read.partition(end)
        return head, rest

    def _some(self) -> bytes:
        data = self.there.recv(65_536)
        assert data, "the server hung up"
        return data


@pytest.fixture
def connect(service: Service, token: str) -> Iterator[Callable[..., Line]]:
    where = urlsplit(service.url)

    def opened(receive_bytes: int = 0) -> Line:
        there = stack.enter_context(closing(socket.socket()))
        there.settimeout(30)
        if receive_bytes:
            there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        there.connect((where.hostname, where.port))
        return Line(there, token)

    with ExitStack() as stack:
        yield opened


@pytest.fixture
def line(service: Service, connect: Callable[..., Line]) -> Line:
    """A connection whose polls are known, of a service that has seen every change, so that they stay known."""
    made, name = connect(), f"seen-{next(NUMBERS)}"
    service.admin("POST", "/flags", flag(name, ["ann"]))
    wait_until(lambda: name.encode() in made.ask()[2], "the newest change")
    for _ in range(3):
        assert made.ask()[0] == 200
    return made


def flag(name: str, users: list[str], times: int = 1) -> dict[str, Any]:
    constraint = {"contextName": "userId", "operator": "IN", "values": users}
    strategy = {"name": "default", "parameters": {}, "constraints": [constraint]}
    document = {"name": name, "enabled": True, "strategies": [strategy] * times}
    return {"document": document, "reason": "test", "accept_warnings": True}


def test_a_known_poll_waits_for_no_thread(line: Line, connect: Callable[..., Line]) -> None:
    before = line.ask()
    slow = [connect() for _ in range(THREADS)]
    for one in slow:
        one.there.sendall(one.head()[:-2])  # each keeps a thread until the rest comes
    answers = [line.ask() for _ in range(20)]
    assert {(status, body) for status, _, body in answers} == {(200, before[2])}
    assert len({headers["x-request-id"] for _, headers, _ in [before, *answers]}) == 21
    names = {"etag", "content-type", "content-length", "date", "vary", "connection"}
    assert all(names <= headers.keys() and headers["connection"] == "keep-alive" for _, headers, _ in answers)
    tag = f"If-None-Match: {before[1]['etag']}\r\n"
    for one in slow:
        one.there.sendall(b"\r\n")
        assert one.answer()[::2] == before[::2]
    assert [line.ask(tag)[::2] for _ in range(4)] == [(304, b"")] * 4


def test_a_change_is_told_at_the_next_poll(service: Service, line: Line) -> None:
    old = line.ask()
    service.admin("POST", "/flags", flag("told", ["ann"]))
    wait_until(lambda: line.ask()[1]["etag"] != old[1]["etag"], "another answer", seconds=10)
    now = [line.ask() for _ in range(4)]
    assert {(status, headers["etag"] == old[1]["etag"]) for status, headers, _ in now} == {(200, False)}
    assert all("told" in {one["name"] for one in json.loads(body)["features"]} for _, _, body in now)


def test_a_token_that_is_revoked_opens_nothing(service: Service, connect: Callable[..., Line]) -> None:
    made, line = add_token(service), connect()
    line.token = made["secret"]
    assert [line.ask()[0] for _ in range(4)] == [200] * 4
    service.admin("POST", f"/flag-tokens/{made['id']}/revoke", {"reason": "test"})
    wait_until(lambda: line.ask()[0] == 401, "the token to be refused", seconds=10)


def test_requests_that_come_together_are_answered_in_turn(line: Line) -> None:
    line.there.sendall(line.head() + line.head(path="/healthz") + line.head())
    answers = [line.answer() for _ in range(3)]
    assert [status for status, _, _ in answers] == [200] * 3
    assert answers[0][2] == answers[2][2] != answers[1][2]


def test_a_request_in_pieces_is_put_together(line: Line) -> None:
    whole, head = line.ask()[2], line.head()
    for cut in (1, 10, len(head) - 1):
        line.there.sendall(head[:cut])
        line.there.sendall(head[cut:])
        assert line.answer()[::2] == (200, whole)


def test_what_belongs_to_a_body_is_never_a_request(line: Line) -> None:
    whole, hidden = line.ask()[2], line.head(path="/api/client/nowhere")
    head = line.head(f"Content-Length: {len(hidden)}\r\n")
    for _ in range(4):
        line.there.sendall(head)
        line.there.sendall(hidden)
        assert line.answer()[::2] == (200, whole)
    assert line.ask()[::2] == (200, whole)


def test_who_asks_for_the_end_of_the_connection_gets_it(line: Line) -> None:
    status, headers, _ = line.ask("Connection: close\r\n")
    assert (status, headers["connection"]) == (200, "close")
    assert line.there.recv(1) == b""


def test_a_slow_reader_gets_all_of_a_large_answer(service: Service, connect: Callable[..., Line]) -> None:
    for number in range(10):
        large = flag(f"large-{number}", [f"user-{one:090}" for one in range(250)], times=25)
        service.admin("POST", "/flags?environment=large", large)
    there, line = connect(), connect(receive_bytes=65_536)
    there.token = line.token = add_token(service, "large")["secret"]
    wait_until(lambda: b"large-9" in there.ask()[2], "the new flags")
    whole = there.ask()[2]
    assert len(whole) > SEND_BUFFER_BYTES
    assert all(line.ask()[2] == whole for _ in range(6))


def test_a_caller_who_goes_away_in_mid_answer_harms_nobody(line: Line, connect: Callable[..., Line]) -> None:
    gone = [connect(receive_bytes=4096) for _ in range(12)]
    for one in gone:
        for _ in range(3):
            one.ask()
        one.there.sendall(one.head())
        one.there.close()
    assert line.ask()[0] == 200
