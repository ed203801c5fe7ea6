"""A vendor that is down: it costs its callers nothing, is soon left alone, and everybody can see so; the others go on."""

from __future__ import annotations

import json
from collections.abc import Callable

import anthropic
import openai
import pytest
from processes import Service, Starter, call, wait_until

FAILURES = 3


@pytest.fixture
def service(starter: Starter, new_database: Callable[..., str]) -> Service:
    """Nobody listens where OpenAI should be."""
    return starter.service(
        new_database("sqlite"),
        openai_base_url="http://127.0.0.1:1/v1",
        anthropic_base_url=starter.vendor().url,
        breaker_failures=FAILURES,
    )


def generate(service: Service) -> openai.InternalServerError:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme"), max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as failed:
            client.images.generate(model="gpt-image-2", prompt="a boat")
        assert (failed.value.status_code, failed.value.code) == (503, "upstream_unavailable")
        return failed.value


def holds(service: Service) -> list[str]:
    return [hold["state"] for hold in service.admin("GET", "/holds?limit=100")["data"]]


def test_a_vendor_that_is_down_costs_nothing_and_opens_its_breaker_while_the_others_go_on(
    service: Service,
) -> None:
    seeded = holds(service)
    for _ in range(FAILURES):
        generate(service)
    tried = holds(service)  # a call that was not sent was sent again: two failures each
    assert tried == ["void"] * 2 + seeded
    refused = generate(service)
    assert refused.response.headers["retry-after"] in {str(seconds) for seconds in range(1, 16)}
    assert holds(service) == tried

    with anthropic.Anthropic(base_url=service.url, api_key=service.key("acme"), max_retries=0) as claude:
        hello = [{"role": "user", "content": "hello"}]
        answer = claude.messages.create(model="claude-haiku-5-5", max_tokens=50, messages=hello)  # type: ignore[arg-type]
        assert answer.stop_reason == "end_turn"

    ready = call("GET", f"{service.url}/readyz")[2]
    assert (ready["status"], ready["degraded"], ready["vendors"]) == (
        "degraded",
        ["vendors"],
        {"openai": "open"},
    )

    def told() -> list[dict[str, str]]:
        shown = service.rollout("catalogue", "vendors", "openai", "--json")
        found: list[dict[str, str]] = json.loads(shown.stdout)["breakers"]
        return found

    wait_until(told, "the worker to write down that a breaker is open")
    assert (told()[0]["state"], told()[0]["last"].partition(":")[0]) == ("open", "NotSent")
    opened = [json.loads(line) for line in service.log.read_text().splitlines() if '"breaker_opened"' in line]
    assert [line["vendor"] for line in opened] == ["openai"]
