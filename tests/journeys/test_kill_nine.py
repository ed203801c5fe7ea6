"""kill -9 in mid-call: after a restart nothing is open for ever, finished work is charged, and the books are clean."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import Process, Service, Starter, call, upstream_calls, wait_until

PATH = "/v1/images/generations"
BODY = {"model": "gpt-image-2.6-flare", "size": "1024x1024", "quality": "low"}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def workers(service: Service) -> list[int]:
    """The processes that gunicorn's arbiter started."""
    return [
        int(pid)
        for pid in Path(f"/proc/{service.popen.pid}/task/{service.popen.pid}/children").read_text().split()
    ]


def test_a_worker_killed_in_mid_call_comes_back_and_its_call_is_charged_by_estimate(
    database_kind: str, starter: Starter, new_database: Callable[..., str]
) -> None:
    vendor: Process = starter.vendor()
    service = starter.service(
        new_database(database_kind),
        vendor=vendor,
        hold_lease_seconds=2,
        unknown_grace_seconds=1,
        upstream_read_seconds=30,
    )

    def generate() -> None:
        with contextlib.suppress(OSError):
            service.call("POST", PATH, {"prompt": "sandbox:slow=20s boat", **BODY}, key=service.key("acme"))

    caller = threading.Thread(target=generate, daemon=True)
    caller.start()
    wait_until(lambda: upstream_calls(vendor), "the call to reach the vendor")
    (open_hold,) = service.admin("GET", "/holds?state=open")["data"]
    assert open_hold["state"] == "dispatched"

    (killed,) = workers(service)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: workers(service) not in ([], [killed]), "a new worker", service.log)
    caller.join(20)
    wait_until(
        lambda: answers(service) and service.admin("GET", f"/holds/{open_hold['id']}")["state"] == "settled",
        "the hold to be settled", service.log,
    )  # fmt: skip
    assert service.admin("GET", f"/holds/{open_hold['id']}")["settled_from"] == "estimate"
    assert service.admin("GET", "/holds?state=open")["data"] == []
    verified = service.rollout("ledger", "verify")
    assert verified.returncode == 0, verified.stdout


def test_a_request_that_hangs_up_is_settled_and_its_picture_kept(
    starter: Starter, new_database: Callable[..., str]
) -> None:
    vendor = starter.vendor()
    service = starter.service(new_database("sqlite"), vendor=vendor)
    body = json.dumps({"prompt": "sandbox:slow=1s boat", **BODY}).encode()
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(
            f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {service.key('acme')}\r\ncontent-type: application/json\r\n"
            f"idempotency-key: left\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        wait_until(lambda: upstream_calls(vendor), "the call to reach the vendor")
    wait_until(
        lambda: not service.admin("GET", "/holds?state=open")["data"], "the hold to be settled", service.log
    )
    status, headers, answer = service.call(
        "POST",
        PATH,
        {"prompt": "sandbox:slow=1s boat", **BODY},
        key=service.key("acme"),
        headers={"Idempotency-Key": "left"},
    )
    assert (status, headers["idempotent-replayed"]) == (200, "true")
    assert answer["data"][0]["b64_json"]


def answers(service: Service) -> bool:
    try:
        return call("GET", f"{service.url}/healthz")[0] == 200
    except OSError:
        return False
