"""What is said to Unleash's Admin API, and what is made of its answers; a real one answers in tests/node."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from processes import free_port

from rollout.core.flag_push import Add, Put, Remove, Sort, Standing, Switch, strategy_json
from rollout.delivery.unleash import UnleashAdmin, UnleashFailed

STRATEGY = strategy_json({"name": "flexibleRollout", "title": "phase:internal"})


class Server:
    """Answers (status, text) in turn, 200 and an empty object without any; `seen` are (method, path, body)."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.seen: list[tuple[str, str, Any]] = []
        self.tokens: set[str] = set()
        self._http = HTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}/api"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            server.seen.append((self.command, self.path, json.loads(body) if body else None))
            server.tokens.add(self.headers["Authorization"])
            status, text = server.answers.pop(0) if server.answers else (200, "{}")
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://elsewhere.test/")
            self.end_headers()
            self.wfile.write(text.encode())

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self.answer
            raise AttributeError(name)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def admin(server: Server) -> UnleashAdmin:
    return UnleashAdmin(server.url, "*:*.token", "default", "production", seconds=5)


def test_each_call_goes_to_its_route_with_the_token(server: Server, admin: UnleashAdmin) -> None:
    admin.create("f", "ours")
    admin.add_field("halt")
    for call in (
        Switch(on=True),
        Switch(on=False),
        Add(STRATEGY),
        Put("1", STRATEGY),
        Remove("1"),
        Sort(("2", "1")),
    ):
        admin.do("f", call)
    place = "/api/admin/projects/default/features/f/environments/production"
    order = [{"id": "2", "sortOrder": 0}, {"id": "1", "sortOrder": 1}]
    assert server.seen[1:] == [
        ("POST", "/api/admin/context", {"name": "halt", "stickiness": False, "legalValues": []}),
        ("POST", f"{place}/on", {}),
        ("POST", f"{place}/off", {}),
        ("POST", f"{place}/strategies", STRATEGY),
        ("PUT", f"{place}/strategies/1", STRATEGY),
        ("DELETE", f"{place}/strategies/1", None),
        ("POST", f"{place}/strategies/set-sort-order", order),
    ]
    assert server.tokens == {"*:*.token"}


def test_a_name_cannot_lead_elsewhere(server: Server, admin: UnleashAdmin) -> None:
    server.answers = [(404, "")]
    assert admin.read("../../tokens?x=") is None
    assert server.seen[0][1] == "/api/admin/projects/default/features/..%2F..%2Ftokens%3Fx%3D"


def test_a_flag_stands_as_its_environment_says(server: Server, admin: UnleashAdmin) -> None:
    there = {"name": "production", "enabled": True, "strategies": [{"id": "1", **STRATEGY, "sortOrder": 0}]}
    server.answers = [(200, json.dumps({"environments": [{"name": "development"}, there]}))]
    assert admin.read("f") == Standing(True, (("1", STRATEGY),))
    server.answers = [(200, '{"environments": []}')]
    with pytest.raises(UnleashFailed, match="no environment 'production'"):
        admin.read("f")
    for odd in ("{}", "[]", '{"environments": [{"name": "production"}]}'):
        server.answers = [(200, odd)]
        with pytest.raises(UnleashFailed, match="what is no flag"):
            admin.read("f")


def test_what_is_there_already_or_gone_already_is_as_good_as_done(
    server: Server, admin: UnleashAdmin
) -> None:
    server.answers = [(409, "{}"), (404, "{}")]
    admin.add_field("halt")
    admin.do("f", Remove("1"))


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (400, '{"details": [{"message": "the name is taken"}]}', "answered 400 .* the name is taken"),
        (401, '{"message": "no such token"}', "answered 401 .* no such token"),
        (503, "<html>", "answered 503 .* <html>"),
        (500, '["odd"]', "answered 500"),
        (302, "", "answered 302"),
        (200, "<html>", "answered no JSON"),
    ],
)
def test_what_it_does_not_do_is_said_in_its_own_words(
    server: Server, admin: UnleashAdmin, status: int, text: str, said: str
) -> None:
    server.answers = [(status, text)]
    with pytest.raises(UnleashFailed, match=said) as failed:
        admin.fields()
    assert failed.value.status == status
    assert len(server.seen) == 1


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(UnleashFailed, match="does not answer") as failed:
        UnleashAdmin(f"http://127.0.0.1:{free_port()}/api", "t", "default", "production").fields()
    assert failed.value.status is None
