"""Polls of SDKs that ask again for what they have: answered as Flask answered them, before Flask is asked.

A view says of its answer that it holds for whoever asks so (`keep`); until the next revision the same request by the same token gets the
same bytes. Most of what a poll costs are the steps around the view: without them it takes a third. A server that remembers the bytes of
such a request (`know_again`) need not even read them (`told_again`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Response, g, request

from rollout.core.flag_tokens import FlagToken
from rollout.errors import RolloutError
from rollout.services.ids import new_id
from rollout.services.registry import Services
from rollout.web import flag_auth

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Key = tuple[str | None, ...]

MOST_BYTES = 16 * 1024 * 1024
"""Of all that is kept together: then the next answer takes the place of all. Which questions there are is up to the callers."""

_TELLS = (
    "PATH_INFO",
    "QUERY_STRING",
    "HTTP_AUTHORIZATION",
    "HTTP_UNLEASH_CLIENT_SPEC",
    "HTTP_IF_NONE_MATCH",
    "HTTP_ACCEPT_ENCODING",
    "REMOTE_ADDR",
)
_NAMES = ("x-request-id", "request-id")
_ANSWERED = "rollout.kept_poll"
_BODY = frozenset({"CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_UPGRADE"})
_END = b"\r\n\r\n"

log = structlog.get_logger()


@dataclass(frozen=True)
class _Kept:
    """An answer; `only_fresh`: not while nobody can confirm that the revision is the newest."""

    token: FlagToken
    path: str
    route: str
    status: str
    headers: list[tuple[str, str]]
    body: bytes
    only_fresh: bool


@dataclass
class _Memory:
    """What was answered from one snapshot."""

    snapshot: object
    answers: dict[Key, _Kept] = field(default_factory=dict)
    heads: dict[tuple[str, bytes], _Kept] = field(default_factory=dict)
    bytes: int = 0


class Polls:
    """The WSGI application in front of Flask's."""

    def __init__(self, flask: WSGIApplication, services: Services) -> None:
        self._flask, self._state, self._tokens = flask, services.state, services.flag_tokens
        self._memory = _Memory(services.state.snapshot)

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        memory = self._memory
        kept = memory.answers.get(_key(environ)) if environ["REQUEST_METHOD"] == "GET" else None
        if kept is None or not self._holds(memory, kept):
            return self._flask(environ, start)
        environ[_ANSWERED] = memory, kept
        start(kept.status, _headers(kept))
        return [kept.body]

    def know_again(self, peer: str, head: bytes, environ: WSGIEnvironment) -> None:
        """Remember how the request looked that was answered just now: `head` is all that its connection brought, from the address `peer`.

        Only of one without a body, whose end is the end of its head: else what comes after it would be taken for another request.
        """
        is_whole = head.endswith(_END) and head.count(_END) == 1 and not _BODY.intersection(environ)
        if _ANSWERED not in environ or not is_whole or environ["SERVER_PROTOCOL"] != "HTTP/1.1":
            return
        memory, kept = environ[_ANSWERED]
        if memory.bytes <= MOST_BYTES:
            memory.heads[peer, head] = kept
            memory.bytes += len(head) + 1_000

    def told_again(self, peer: str, head: bytes) -> bytes | None:
        """The answer to these bytes from `peer`, headers and all, for a connection that is kept; None: ask the long way."""
        memory = self._memory
        kept = memory.heads.get((peer, head))
        if kept is None or not self._holds(memory, kept):
            return None
        headers = [("Date", _date(int(time.time()))), ("Connection", "keep-alive"), *_headers(kept)]
        lines = [f"HTTP/1.1 {kept.status}", *(f"{name}: {value}" for name, value in headers), "\r\n"]
        return "\r\n".join(lines).encode("latin-1") + kept.body

    def put(self, environ: WSGIEnvironment, snapshot: object, kept: _Kept) -> None:
        """Keep an answer that was made from `snapshot`."""
        memory = self._memory
        if memory.snapshot is not snapshot or memory.bytes > MOST_BYTES:
            if snapshot is not self._state.snapshot:
                return
            memory = self._memory = _Memory(snapshot)
        key = _key(environ)
        memory.answers[key] = kept
        memory.bytes += len(kept.body) + sum(len(text or "") for text in key) + 1_000

    def _holds(self, memory: _Memory, kept: _Kept) -> bool:
        if memory.snapshot is not self._state.snapshot or (kept.only_fresh and not self._state.is_fresh()):
            return False
        try:
            self._tokens.check_usable(kept.token)
        except RolloutError:  # which Flask puts into words
            return False
        return True


def install(app: Flask, services: Services) -> None:
    polls = Polls(app.wsgi_app, services)
    app.wsgi_app = polls  # type: ignore[method-assign, assignment]
    app.extensions["polls"] = polls

    @app.after_request
    def put(response: Response) -> Response:
        if "kept_poll" in g and request.method == "GET":
            snapshot, only_fresh = g.kept_poll
            headers = response.get_wsgi_headers(request.environ).to_wsgi_list()
            token, route, body = flag_auth.token(), str(request.url_rule), response.get_data()
            kept = _Kept(token, request.path, route, response.status, headers, body, only_fresh)
            polls.put(request.environ, snapshot, kept)
        return response


def keep(snapshot: object, *, only_fresh: bool = False) -> None:
    """The answer to this request is told again to whoever asks the same by the same token, as long as `snapshot` is the newest."""
    g.kept_poll = snapshot, only_fresh


def _key(environ: WSGIEnvironment) -> Key:
    return tuple(map(environ.get, _TELLS))


def _headers(kept: _Kept) -> list[tuple[str, str]]:
    """Of an answer that is given once more, which is logged."""
    request_id = new_id("req")
    structlog.contextvars.clear_contextvars()
    log.info(
        "request_answered",
        request_id=request_id,
        method="GET",
        path=kept.path,
        route=kept.route,
        status=int(kept.status[:3]),
        code=None,
        key=kept.token.id,
        seconds=0.0,
    )
    return [*kept.headers, *((name, request_id) for name in _NAMES)]


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
