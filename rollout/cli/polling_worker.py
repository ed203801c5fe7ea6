"""gunicorn's gthread whose loop itself answers a poll that it knows by its bytes, instead of handing the connection to a thread and back.

That takes a tenth of the time (`docs/benchmarks.md`), and no poll waits behind a picture for a free thread. What the loop does not know, or
cannot send at once, takes gunicorn's own way.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from gunicorn.workers.gthread import ThreadWorker

from rollout.web.polls import Polls

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

HEAD_BYTES = 8192
SEND_SECONDS = 30
"""What a reader that stands still may keep a thread for."""


class PollingWorker(ThreadWorker):  # type: ignore[misc]
    """`polls` are those of the application that this worker serves."""

    polls: Polls

    def on_client_socket_readable(self, conn: Any, client: socket.socket) -> None:
        """A kept connection brings something: answer it here, or leave it to a thread with what was read of it."""
        head = _received(client)
        if head is None:
            return
        answer = self._known(conn, head) if self.alive else None
        if answer is None:
            conn.parser.unreader.unread(head)
            conn.parser.unreader.came = conn.client[0], head
            super().on_client_socket_readable(conn, client)
            return
        self.keepalived_conns.remove(conn)
        unsent = _sent(client, answer)
        if unsent:
            self.poller.unregister(client)
            self._send(conn, unsent)
            return
        conn.set_timeout()
        self.keepalived_conns.append(conn)

    def _known(self, conn: Any, head: bytes) -> bytes | None:
        # An error that left the loop would end the whole worker; in a thread, where the same comes up again, it is logged and answered.
        with contextlib.suppress(Exception):
            return self.polls.told_again(conn.client[0], head)
        return None

    def _send(self, conn: Any, unsent: bytes) -> None:
        """By a thread, which may wait for a slow reader; gunicorn keeps or closes the connection afterwards."""
        sending = self.tpool.submit(_send_all, conn.sock, unsent)
        sending.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))


def know_again(worker: PollingWorker, req: Any, environ: WSGIEnvironment, resp: Any) -> None:
    """gunicorn's `post_request`: tell the polls by which bytes a request came that a thread has answered."""
    came = vars(req.unreader).pop("came", None)
    if came and resp is not None and not resp.should_close():
        peer, head = came
        worker.polls.know_again(peer, head, environ)


def _received(client: socket.socket) -> bytes | None:
    """What is there; b"" at the end, also when it broke off: a thread will see it and close. None: it was a false alarm."""
    try:
        return client.recv(HEAD_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _sent(client: socket.socket, answer: bytes) -> bytes:
    """Send without waiting; what is left to send."""
    try:
        return answer[client.send(answer) :]
    except OSError:
        return answer


def _send_all(client: socket.socket, unsent: bytes) -> bool:
    """True: the connection may be kept. Raises OSError when it broke off."""
    client.settimeout(SEND_SECONDS)
    client.sendall(unsent)
    return True
