"""An Unleash server in this process: what its client API answers is as the test wants it, and its Admin API keeps flags in memory."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rollout.core.flag_push import Add, Call, Put, Remove, Sort, Standing, Strategy, Switch
from rollout.delivery.unleash import UnleashFailed

TOKEN = "*:production.secret"
SECONDS = 20
"""How long a test waits at most for what another thread does."""


class FakeUnleash:
    """`text` is what it has, `status` how it answers; `stop`: connections end without an answer. `asked`: the ETags that were sent."""

    def __init__(self) -> None:
        self.text = document(
            {"name": "image-generation", "enabled": True, "strategies": [{"name": "default"}]}
        )
        self.status, self.stopped = 200, False
        self.asked: list[str | None] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.news: queue.Queue[str | None] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> FakeUnleash:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_answer.set()
        self.news.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"'


def document(*features: dict[str, Any], **members: Any) -> str:
    return json.dumps({"version": 2, "features": list(features), "segments": [], **members})


def _handler(server: FakeUnleash) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.may_answer.wait(SECONDS)
            if server.stopped:
                self.close_connection = True
            elif self.headers["Authorization"] != TOKEN:
                self._answer(401, '{"message": "no such token"}')
            elif self.path == "/api/client/streaming":
                self._stream()
            else:
                self._features()

        def _features(self) -> None:
            sent = self.headers["If-None-Match"]
            server.asked.append(sent)
            if server.status == 200 and sent == server.etag:
                self._answer(304, "")
            else:
                self._answer(server.status, server.text)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while event := server.news.get() or "":
                self.wfile.write(f"{len(event):x}\r\n{event}\r\n".encode())
            self.wfile.write(b"0\r\n\r\n")

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("ETag", server.etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):  # who asked may be gone
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler


class FakeAdmin:
    """The Admin API of one environment, in memory; `away`: what it answers instead. `calls` are those that changed something."""

    def __init__(self) -> None:
        self.flags: dict[str, Standing] = {}
        self.known = {"userId"}
        self.calls: list[Call | str] = []
        self.away: str | None = None
        self.meanwhile: Iterator[Any] = iter(())
        self._ids = itertools.count(1)

    def fields(self) -> set[str]:
        self._check()
        return set(self.known)

    def add_field(self, name: str) -> None:
        self.known.add(name)

    def read(self, flag: str) -> Standing | None:
        self._check()
        return self.flags.get(flag)

    def create(self, flag: str, description: str) -> None:
        self.calls.append(f"create {flag}")
        self.flags[flag] = Standing(enabled=False)

    def do(self, flag: str, call: Call) -> None:
        next(self.meanwhile, None)
        self._check()
        self.calls.append(call)
        kept, enabled = dict(self.flags[flag].strategies), self.flags[flag].enabled
        match call:
            case Switch(on):
                enabled = on
            case Add(strategy):
                kept[f"id-{next(self._ids)}"] = strategy
            case Put(id, strategy):
                kept[id] = strategy
            case Remove(id):
                del kept[id]
            case Sort(ids):
                kept = {id: kept[id] for id in ids}
        self.flags[flag] = Standing(enabled and bool(kept), tuple(kept.items()))

    def edit(self, flag: str, *, enabled: bool | None = None, add: Strategy | None = None) -> None:
        """What somebody does by hand."""
        there = self.flags[flag]
        strategies = (*there.strategies, *([(f"id-{next(self._ids)}", add)] if add else []))
        self.flags[flag] = Standing(there.enabled if enabled is None else enabled, strategies)

    def _check(self) -> None:
        if self.away:
            raise UnleashFailed(self.away)
