"""The loop of a worker: whatever comes over a kept connection, the loop goes on, and a thread gets what it cannot answer itself."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.http.unreader import SocketUnreader

from rollout.cli.polling_worker import PollingWorker

HEAD = b"GET / HTTP/1.1\r\nHost: phasegate\r\n\r\n"


class Loop:
    """A worker that was not started, with one kept connection; `threads` got what it left to them."""

    def __init__(self) -> None:
        self.client, self.server = socket.socketpair()
        self.server.setblocking(False)
        parser = SimpleNamespace(unreader=SocketUnreader(self.server))
        self.conn: Any = SimpleNamespace(sock=self.server, client=("127.0.0.1", 1), parser=parser)
        self.conn.set_timeout = lambda: None
        self.threads: list[Any] = []
        self.worker: Any = PollingWorker.__new__(PollingWorker)
        self.worker.alive, self.worker.keepalived_conns = True, deque([self.conn])
        self.worker.poller = SimpleNamespace(unregister=lambda _: None)
        self.worker.enqueue_req = self.threads.append

    def readable(self, told: Any) -> None:
        self.worker.polls = SimpleNamespace(told_again=told)
        self.worker.on_client_socket_readable(self.conn, self.server)


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.client.close()
    made.server.close()


def test_what_is_known_is_answered_and_the_connection_kept(loop: Loop) -> None:
    loop.client.sendall(HEAD)
    loop.readable(lambda peer, head: b"%s asked %d" % (peer.encode(), len(head)))
    assert loop.client.recv(99) == b"127.0.0.1 asked %d" % len(HEAD)
    assert (loop.threads, list(loop.worker.keepalived_conns)) == ([], [loop.conn])


def test_what_is_not_known_or_fails_is_left_to_a_thread_with_all_its_bytes(loop: Loop) -> None:
    for told in (lambda *_: None, lambda *_: 1 / 0):
        loop.worker.keepalived_conns = deque([loop.conn])
        loop.client.sendall(HEAD)
        loop.readable(told)
        assert loop.threads.pop() is loop.conn
        assert loop.conn.parser.unreader.take_buffered() == HEAD


def test_a_worker_that_stops_leaves_everything_to_threads(loop: Loop) -> None:
    loop.worker.alive = False
    loop.client.sendall(HEAD)
    loop.readable(lambda *_: b"told")
    assert loop.threads == [loop.conn]


def test_a_false_alarm_changes_nothing(loop: Loop) -> None:
    loop.readable(lambda *_: b"told")
    assert (loop.threads, list(loop.worker.keepalived_conns)) == ([], [loop.conn])


def test_the_end_of_a_connection_is_seen_by_a_thread(loop: Loop) -> None:
    loop.client.close()
    loop.readable(lambda *_: None)
    assert loop.threads == [loop.conn]
