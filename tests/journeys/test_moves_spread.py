"""A name of the catalogue goes over to another model on every worker, and comes back on every worker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from processes import Service, Starter, wait_until

WORKERS = 4
OLD, NEW, MOVE = "gpt-image-2.5-sunburst", "gpt-image-2.6-sunburst", "model.dall-e-3"


@pytest.fixture
def service(starter: Starter, new_database: Callable[..., str]) -> Service:
    return starter.service(new_database("postgresql"), workers=WORKERS)


def answering(service: Service) -> set[str]:
    """The models that enough calls by the old name reach to have asked every worker."""
    found = set()
    asked = {"prompt": "a boat", "model": "dall-e-3", "size": "1024x1024"}
    for _ in range(5 * WORKERS):
        status, headers, answer = service.call(
            "POST", "/v1/images/generations", asked, key=service.key("acme")
        )
        assert status == 200, answer
        found.add({name.lower(): value for name, value in headers.items()}["x-rollout-model"])
    return found


@pytest.mark.postgres
def test_a_move_reaches_all_workers_and_a_stop_brings_its_tenants_back(service: Service) -> None:
    wait_until(
        lambda: len(service.admin("GET", "/workers")["data"]) == WORKERS,
        "all workers to be counted",
        service.log,
    )
    assert answering(service) == {f"sandbox/{OLD}"}
    begun = {"to": NEW, "phase": "general_availability", "reason": "better hands"}
    service.admin("POST", "/catalogue/aliases/dall-e-3/move", begun)
    wait_until(
        lambda: answering(service) == {f"sandbox/{NEW}"},
        "every worker to have heard of the move",
        service.log,
    )
    stopped = service.admin("POST", f"/features/{MOVE}/kill", {"reason": "odd hands"})
    assert (stopped["acks"]["expected"], stopped["acks"]["received"]) == (WORKERS, WORKERS)
    assert answering(service) == {f"sandbox/{OLD}"}

    service.admin("POST", f"/features/{MOVE}/revive", {"reason": "mended"})
    service.admin("POST", "/catalogue/aliases/dall-e-3/finish", {"reason": "everyone has moved"})
    wait_until(
        lambda: answering(service) == {f"sandbox/{NEW}"}, "every worker to lead there for good", service.log
    )
