"""The real Unleash SDK for Python, by address and token alone: polling and streaming, what it evaluates and what it tells."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from processes import Service, Starter, wait_until
from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache
from UnleashClient.utils import InstanceAllowType

from rollout.core.audit import Actor
from rollout.core.flag_tokens import Kind, NewFlagToken
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

ANA = Actor("token:ana", "admin")
STREAMS, THREADS = 12, 64


@pytest.fixture(scope="module")
def service(shared_starter: Starter, new_database: Callable[..., str]) -> Service:
    return shared_starter.service(new_database("sqlite"), max_streams=STREAMS, threads=THREADS)


@pytest.fixture(scope="module")
def operator(service: Service) -> Iterator[Services]:
    """Another process on the same database: the command line, say."""
    built = build(Settings.from_env(service.environ))
    yield built
    built.close()


@pytest.fixture(scope="module")
def token(operator: Services) -> str:
    return new_token(operator)


def new_token(operator: Services, kind: Kind = "client", environment: str = "production") -> str:
    issued = operator.flag_tokens.add(ANA, NewFlagToken("sdk", kind, environment), "test")
    assert issued.secret
    return issued.secret


def add_flag(operator: Services, name: str, *users: str) -> None:
    operator.flags.add(ANA, document(name, *users), "test", accept_warnings=True)


def change_flag(operator: Services, name: str, *users: str) -> None:
    operator.flags.put(ANA, name, document(name, *users), "test", accept_warnings=True)


def document(name: str, *users: str) -> dict[str, Any]:
    """On for these users; its variant carries a payload."""
    colour = {"name": "blue", "weight": 1000, "weightType": "fix", "stickiness": "default"}
    return {
        "name": name,
        "enabled": True,
        "strategies": [
            {
                "name": "flexibleRollout",
                "parameters": {"rollout": "100", "stickiness": "default", "groupId": name},
                "constraints": [{"contextName": "userId", "operator": "IN", "values": list(users)}],
                "variants": [{**colour, "payload": {"type": "string", "value": "#00f"}}],
            }
        ],
    }


@contextlib.contextmanager
def sdk(service: Service, token: str, folder: Path, mode: str = "polling") -> Iterator[UnleashClient]:
    client = UnleashClient(
        f"{service.url}/api",
        f"journey-{mode}",
        refresh_interval=1,
        metrics_interval=1,
        custom_headers={"Authorization": token},
        cache=FileCache(f"journey-{mode}", directory=str(folder)),
        multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
        experimental_mode={"type": mode},
    )
    client.initialize_client()
    yield client
    client.destroy()


@pytest.mark.parametrize("mode", ["polling", "streaming"])
def test_an_sdk_follows_a_change_and_its_answers_are_the_engines(
    service: Service, operator: Services, token: str, tmp_path: Path, mode: str
) -> None:
    flag = f"colours-{mode}"
    add_flag(operator, flag, "ann")
    with sdk(service, token, tmp_path, mode) as client:
        wait_until(lambda: client.is_enabled(flag, {"userId": "ann"}), "the first flags", service.log)
        assert not client.is_enabled(flag, {"userId": "bob"})
        assert client.get_variant(flag, {"userId": "ann"})["payload"] == {"type": "string", "value": "#00f"}

        change_flag(operator, flag, "bob")

        wait_until(lambda: client.is_enabled(flag, {"userId": "bob"}), "the change", service.log)
        assert not client.is_enabled(flag, {"userId": "ann"})
        operator.flags.archive(ANA, flag, "test")
        wait_until(lambda: flag not in client.feature_definitions(), "the end of the flag", service.log)


def test_what_an_sdk_tells_is_kept_and_shown(
    service: Service, operator: Services, token: str, tmp_path: Path
) -> None:
    add_flag(operator, "counted", "ann")
    with sdk(service, token, tmp_path) as client:
        wait_until(lambda: client.is_enabled("counted", {"userId": "ann"}), "the first flags", service.log)
        client.is_enabled("counted", {"userId": "bob"})
        client.get_variant("counted", {"userId": "ann"})

        def shown() -> dict[str, Any]:
            """What is shown of the newest hour."""
            rows = service.admin("GET", "/flag-metrics?flag=counted")["data"]
            return dict(rows[0]) if rows else {"yes": 0, "no": 0, "variants": {}}

        wait_until(lambda: shown()["no"] and shown()["yes"] > 1, "what was counted", service.log)
    assert shown()["app_name"] == "journey-polling"
    assert shown()["variants"]["blue"] >= 1
    clients = service.admin("GET", "/flag-clients?environment=production")["data"]
    told = next(client for client in clients if client["app_name"] == "journey-polling")
    assert told["sdk"].startswith("unleash-python-sdk:")


def test_a_stream_ends_when_its_token_is_revoked(service: Service, operator: Services) -> None:
    issued = operator.flag_tokens.add(ANA, NewFlagToken("short", "client"), "test")
    with opened_stream(service, str(issued.secret)) as stream:
        assert b"unleash-connected" in read_some(stream)
        operator.flag_tokens.revoke(ANA, issued.token.id, "leaked")
        rest = b""
        while not rest.endswith(b"0\r\n\r\n"):
            rest += stream.recv(65536)
    assert b"unleash-updated" not in rest


def test_a_thousand_streams_that_vanish_leave_no_thread_and_no_place(service: Service, token: str) -> None:
    full = count_threads(service) + THREADS
    refused = 0
    for _ in range(20):
        callers = [connect(service, token) for _ in range(50)]
        refused += sum(b"503 " in read_some(caller)[:20] for caller in callers)
        for caller in callers:
            caller.close()
    assert refused > 500, "there are no more places than said"
    with contextlib.ExitStack() as open_now:

        def is_let_in() -> bool:
            stream = open_now.enter_context(opened_stream(service, token))
            return b"200 OK" in read_some(stream)[:20]

        for _ in range(STREAMS):
            wait_until(is_let_in, "the places of those who went", service.log, 10)
        assert not is_let_in()
        assert service.call("GET", "/readyz")[0] == 200
    assert count_threads(service) <= full
    with contextlib.ExitStack() as open_now:  # those above are gone when the next test begins
        wait_until(is_let_in, "a place", service.log)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_streams(starter: Starter, new_database: Callable[..., str], how: signal.Signals) -> None:
    service = starter.service(new_database("sqlite"))
    operator = build(Settings.from_env(service.environ))
    with contextlib.closing(operator), opened_stream(service, new_token(operator)) as stream:
        assert b"unleash-connected" in read_some(stream)
        began = time.monotonic()
        assert service.stop(how) == 0
        assert time.monotonic() - began < 15, "nobody waits for a stream"
    assert "Traceback" not in service.output()


def connect(service: Service, token: str) -> socket.socket:
    address = urlsplit(service.url)
    stream = socket.create_connection((str(address.hostname), int(address.port or 0)), 20)
    stream.sendall(
        b"GET /api/client/streaming HTTP/1.1\r\nHost: x\r\nAuthorization: " + token.encode() + b"\r\n\r\n"
    )
    return stream


@contextlib.contextmanager
def opened_stream(service: Service, token: str) -> Iterator[socket.socket]:
    with connect(service, token) as stream:
        yield stream


def read_some(stream: socket.socket) -> bytes:
    """What comes first: the head of an answer, and its first event if there is one."""
    got = b""
    while b"\r\n\r\n" not in got or (b"200 OK" in got and b"\n\n" not in got.partition(b"\r\n\r\n")[2]):
        part = stream.recv(65536)
        if not part:
            break
        got += part
    return got


def count_threads(service: Service) -> int:
    """Of all processes of the service."""
    group = [
        path.parent
        for path in Path("/proc").glob("[0-9]*/stat")
        if path.read_text().rpartition(")")[2].split()[2] == str(service.popen.pid)
    ]
    return sum(len(list((process / "task").iterdir())) for process in group)
