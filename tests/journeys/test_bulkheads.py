"""Analysis works for all while generation is killed, hangs, or has no place left."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai
import pytest
from processes import Process, Service, Starter, call, upstream_calls, wait_until

PLACES = 3
GENERATION = {"model": "gpt-image-2.6-flare", "size": "1024x1024", "quality": "low"}


@pytest.fixture
def vendor(starter: Starter) -> Process:
    return starter.vendor()


@pytest.fixture
def service(starter: Starter, vendor: Process, new_database: Callable[..., str]) -> Service:
    return starter.service(
        new_database("sqlite"), vendor=vendor, max_generations=PLACES, upstream_read_seconds=20
    )


def analyses(service: Service) -> None:
    for tenant in ("acme", "globex", "initech", "umbrella"):
        with anthropic.Anthropic(
            base_url=service.url, api_key=service.key(tenant), max_retries=0, timeout=5
        ) as claude:
            answer = claude.messages.create(
                model="claude-haiku-5-5", max_tokens=50, messages=[{"role": "user", "content": "hello"}]
            )
            assert answer.stop_reason == "end_turn"


def test_with_every_place_taken_by_a_hanging_vendor_analysis_and_the_stop_still_answer(
    service: Service, vendor: Process
) -> None:
    with (
        openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme"), max_retries=0) as client,
        ThreadPoolExecutor(PLACES) as pool,
    ):
        hanging = [
            pool.submit(client.images.generate, prompt="sandbox:slow=8s boat", **GENERATION)
            for _ in range(PLACES)
        ]  # type: ignore[call-overload]
        wait_until(
            lambda: upstream_calls(vendor) == PLACES,
            "all calls to reach the vendor",
        )
        with pytest.raises(openai.InternalServerError) as full:
            client.images.generate(prompt="one more", **GENERATION)  # type: ignore[call-overload]
        assert (full.value.status_code, full.value.code) == (503, "at_capacity")
        assert int(full.value.response.headers["retry-after"]) >= 1
        analyses(service)
        assert call("GET", f"{service.url}/healthz")[0] == 200
        stopped = service.admin(
            "POST", "/features/image-generation/kill", {"reason": "drill", "in_flight": "finish"}
        )
        assert stopped["killed"] is True
        assert stopped["in_flight"]["running"] == PLACES
        assert stopped["acks"]["received"] == stopped["acks"]["expected"] == 1
        analyses(service)
        assert all(done.result().data for done in hanging)

    status, _, error = service.call(
        "POST", "/v1/images/generations", {"prompt": "boat", **GENERATION}, key=service.key("acme")
    )
    assert (status, error["error"]["code"]) == (403, "feature_killed")
    service.admin("POST", "/features/image-generation/revive", {"reason": "drill is over"})
    wait_until(
        lambda: service.call("POST", "/v1/images/generations", {"prompt": "boat", **GENERATION}, key=service.key("acme"))[0] == 200,
        "generation to be back", service.log,
    )  # fmt: skip
    assert service.rollout("ledger", "verify").returncode == 0
