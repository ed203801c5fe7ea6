"""The stop reaches every worker, and the answer proves it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from processes import Service, Starter, wait_until

WORKERS = 4
PICTURE = {"prompt": "a boat", "model": "gpt-image-2.6-flare", "size": "1024x1024", "quality": "low"}


@pytest.fixture
def service(starter: Starter, new_database: Callable[..., str]) -> Service:
    return starter.service(new_database("postgresql"), workers=WORKERS)


@pytest.mark.postgres
def test_a_kill_is_acknowledged_by_all_workers_and_none_serves_after_it(service: Service) -> None:
    wait_until(
        lambda: len(service.admin("GET", "/workers")["data"]) == WORKERS,
        "all workers to be counted",
        service.log,
    )
    assert generate(service) == (200, None)

    stopped = service.admin("POST", "/features/image-generation/kill", {"reason": "incident"})
    assert (stopped["acks"]["expected"], stopped["acks"]["received"]) == (WORKERS, WORKERS)
    assert {generate(service) for _ in range(5 * WORKERS)} == {(403, "feature_killed")}

    told = service.admin("GET", "/features/image-generation")
    assert (told["killed"], told["kill"]["reason"], told["acks"]["received"]) == (True, "incident", WORKERS)
    service.admin("POST", "/features/image-generation/revive", {"reason": "mended"})
    wait_until(
        lambda: {generate(service) for _ in range(WORKERS)} == {(200, None)},
        "every worker to serve again",
        service.log,
    )


def generate(service: Service) -> tuple[int, str | None]:
    status, _, answer = service.call("POST", "/v1/images/generations", PICTURE, key=service.key("acme"))
    return status, answer.get("error", {}).get("code")
