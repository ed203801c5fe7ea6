"""Webhooks between real processes: written by who serves, delivered by `rollout worker`, believed by the library."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from processes import REPOSITORY, Service, Starter, base_environ, wait_until
from standardwebhooks import Webhook as Library

PICTURE = {"prompt": "boat", "model": "gpt-image-2.6-flare", "size": "1024x1024", "quality": "low"}


class Receiver:
    """Keeps what is posted; answers once `answers` is set."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers = threading.Event()
        self.answers.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                receiver.answers.wait(10)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quietly."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.answers.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def service(request: pytest.FixtureRequest, starter: Starter, new_database: Callable[..., str]) -> Service:
    return starter.service(new_database(request.param), jobs="apart", webhooks_private="on")


@pytest.fixture
def worker(service: Service, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start `rollout worker` on the service's database."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        with (tmp_path / "worker.log").open("wb") as out:
            command = [sys.executable, "-m", "rollout.cli.main", "worker"]
            environ = base_environ() | service.environ
            begun.append(subprocess.Popen(command, cwd=REPOSITORY, env=environ, stdout=out, stderr=out))
        return begun[-1]

    yield begin
    for one in begun:
        one.kill()
        one.wait(20)


def hooked(service: Service, receiver: Receiver, *types: str) -> dict[str, Any]:
    body = {"url": receiver.url, "types": list(types)}
    status, _, hook = service.call("POST", "/api/v1/webhooks", body, key=service.key("acme"))
    assert status == 201, hook
    return dict(hook)


def delivery(service: Service, hook: dict[str, Any]) -> dict[str, Any]:
    path = f"/api/v1/webhooks/{hook['id']}/deliveries"
    return dict(service.call("GET", path, key=service.key("acme"))[2]["data"][0])


def test_a_limit_that_fills_up_is_told_by_the_worker_and_a_worker_told_to_stop_ends_its_delivery(
    service: Service, receiver: Receiver, worker: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    hook = hooked(service, receiver, "quota.threshold")
    limit = {"tenant": "acme", "name": "only-one", "unit": "image", "period": "life", "cap": 1}
    service.admin("POST", "/meters", {**limit, "feature": "image-generation", "reason": "test"})
    status, _, answer = service.call("POST", "/v1/images/generations", PICTURE, key=service.key("acme"))
    assert status == 200, answer
    assert delivery(service, hook)["state"] == "ready", "who serves leaves it to the worker"

    receiver.answers.clear()
    running = worker()
    wait_until(lambda: receiver.got, "a message to arrive", tmp_path / "worker.log")
    running.send_signal(signal.SIGTERM)
    receiver.answers.set()
    assert running.wait(30) == 0, (tmp_path / "worker.log").read_text()

    headers, body = receiver.got[0]
    told = Library(hook["secret"]).verify(body, headers)
    assert (told["type"], told["data"]["name"], told["data"]["tenant"]) == (
        "quota.threshold",
        "only-one",
        "acme",
    )
    arrived = service.admin("GET", f"/jobs/{headers['webhook-id']}")
    assert (arrived["state"], arrived["attempt"], arrived["outcome"]["status"]) == ("done", 1, 204)
    assert service.admin("GET", "/jobs?state=running")["data"] == []


def test_a_private_address_is_not_called_unless_it_is_allowed(
    starter: Starter, new_database: Callable[..., str], receiver: Receiver
) -> None:
    service = starter.service(new_database("sqlite"))
    hook = hooked(service, receiver)
    test = f"/api/v1/webhooks/{hook['id']}/test"
    assert service.call("POST", test, key=service.key("acme"))[0] == 202
    wait_until(lambda: delivery(service, hook)["state"] == "dead", "the test to be given up", service.log)
    assert "127.0.0.1, which is not a public address" in delivery(service, hook)["last_error"]
    assert receiver.got == []
