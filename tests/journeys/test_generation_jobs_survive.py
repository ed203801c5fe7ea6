"""kill -9 of a real process at each point of a job: what was not sent is sent once, what was sent is never sent again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import Process, Service, Starter, call, wait_until

PATH = "/api/v1/generations"
SUBMIT = "/mj-fast/mj/submit/imagine"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, new_database: Callable[..., str]) -> str:
    return new_database(request.param)


def test_a_task_whose_process_is_killed_is_looked_at_by_the_next_one(
    database_url: str, starter: Starter
) -> None:
    vendor = starter.vendor()
    service = start(starter, database_url, vendor, hold_lease_seconds=6)
    made = queue(service, "sandbox:progress=3 a boat")
    wait_until(lambda: status(service, made) == "running", "the task to run", service.log)
    kill_worker(service)
    wait_until(lambda: status(service, made) == "succeeded", "the picture", service.log)
    found = show(service, made)
    assert (found["cost_usd_micro"], len(found["images"]), len(submits(vendor))) == (56_000, 1, 1)
    assert call("GET", found["images"][0]["url"])[2].startswith(b"\x89PNG")
    check_books(service)


def test_a_submit_whose_process_is_killed_is_charged_and_never_sent_again(
    database_url: str, starter: Starter
) -> None:
    vendor = starter.vendor()
    service = start(starter, database_url, vendor, hold_lease_seconds=2, unknown_grace_seconds=1)
    made = queue(service, "sandbox:slow=20s a boat")
    wait_until(lambda: submits(vendor), "the submit to reach the vendor", service.log)
    kill_worker(service)
    wait_until(lambda: status(service, made) == "failed", "the doubt to end", service.log)
    found = show(service, made)
    assert (found["cost_usd_micro"], found["settled_from"], found["images"]) == (56_000, "estimate", [])
    assert len(submits(vendor)) == 1
    check_books(service)


def test_what_waits_when_all_is_killed_is_sent_once_by_who_comes_next(
    new_database: Callable[..., str], starter: Starter
) -> None:
    database_url = new_database("sqlite")
    vendor = starter.vendor()
    first = start(starter, database_url, vendor, jobs="apart")
    made = queue(first, "sandbox:progress=0 a boat")
    assert status(first, made) == "queued"
    os.killpg(first.popen.pid, signal.SIGKILL)
    first.popen.wait(10)
    second = start(starter, database_url, vendor, seeded=first)
    wait_until(lambda: status(second, made) == "succeeded", "the picture", second.log)
    assert len(submits(vendor)) == 1
    check_books(second)


def start(starter: Starter, database_url: str, vendor: Process, **settings: Any) -> Service:
    return starter.service(database_url, vendor=vendor, cometapi_base_url=vendor.url, **settings)


def queue(service: Service, prompt: str) -> str:
    code, _, answer = service.call(
        "POST", PATH, {"model": "midjourney", "prompt": prompt}, key=service.key("acme")
    )
    assert code == 202, answer
    return str(answer["id"])


def show(service: Service, generation_id: str) -> Any:
    return service.call("GET", f"{PATH}/{generation_id}", key=service.key("acme"))[2]


def status(service: Service, generation_id: str) -> str | None:
    """None while nobody answers."""
    with contextlib.suppress(OSError):
        return str(show(service, generation_id)["status"])
    return None


def submits(vendor: Process) -> list[Any]:
    journal = call("GET", f"{vendor.url}/sandbox/journal")[2]["data"]
    return [arrived for arrived in journal if arrived["path"] == SUBMIT]


def kill_worker(service: Service) -> None:
    """gunicorn's arbiter starts another one."""
    (worker,) = workers(service)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: workers(service) not in ([], [worker]), "a new worker", service.log)


def workers(service: Service) -> list[int]:
    children = Path(f"/proc/{service.popen.pid}/task/{service.popen.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def check_books(service: Service) -> None:
    assert service.admin("GET", "/holds?state=open")["data"] == []
    verified = service.rollout("ledger", "verify")
    assert verified.returncode == 0, verified.stdout
