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


@pytest.mark.postgres
def test_a_vendor_that_is_switched_off_answers_on_no_worker_and_analysis_goes_on(service: Service) -> None:
    wait_until(
        lambda: len(service.admin("GET", "/workers")["data"]) == WORKERS,
        "all workers to be counted",
        service.log,
    )
    off = service.admin("POST", "/catalogue/vendors/openai/disable", {"reason": "wrong pictures"})
    assert (off["enabled"], off["acks"]["expected"], off["acks"]["received"]) == (False, WORKERS, WORKERS)
    assert {generate(service) for _ in range(5 * WORKERS)} == {(503, "upstream_unavailable")}
    key = service.key("acme")
    offered = service.call("GET", "/v1/models", key=key)[2]["data"]
    assert offered
    assert not [model["id"] for model in offered if model["id"].startswith("gpt")]
    asked = {
        "model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "What is this?"}],
    }  # fmt: skip
    assert service.call("POST", "/v1/messages", asked, key=key)[0] == 200

    service.admin("POST", "/catalogue/vendors/openai/enable", {"reason": "mended"})
    wait_until(
        lambda: {generate(service) for _ in range(WORKERS)} == {(200, None)},
        "every worker to serve again",
        service.log,
    )


def generate(service: Service) -> tuple[int, str | None]:
    status, _, answer = service.call("POST", "/v1/images/generations", PICTURE, key=service.key("acme"))
    return status, answer.get("error", {}).get("code")
