"""SIGTERM: first the proxy is told, then running calls end, then the worker goes, and nothing is left open."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from processes import Service, Starter, call, wait_until

PICTURE = {
    "prompt": "sandbox:slow=4s boat",
    "model": "gpt-image-2.6-flare",
    "size": "1024x1024",
    "quality": "low",
}


@pytest.fixture
def service(starter: Starter, new_database: Callable[..., str]) -> Service:
    return starter.service(new_database("sqlite"), drain_seconds=1)


def test_a_stop_says_so_on_readyz_and_lets_running_calls_end(service: Service) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            service.call, "POST", "/v1/images/generations", PICTURE, key=service.key("acme")
        )
        wait_until(
            lambda: service.admin("GET", "/holds?state=dispatched")["data"],
            "the call to be under way",
            service.log,
        )
        service.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: draining(service), "/readyz to say that it is draining", service.log)
        status, _, answer = running.result()
    assert status == 200
    assert answer["data"]
    assert service.popen.wait(30) == 0
    assert "Traceback" not in service.output()
    holds = service.rollout("holds", "list", "--state", "open", "--json")
    assert holds.stdout.strip() == "[]"


def draining(service: Service) -> bool:
    status, _, ready = call("GET", f"{service.url}/readyz")
    return status == 503 and ready["status"] == "draining"
