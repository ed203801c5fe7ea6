"""One logical call is one upstream call and one charge, whatever is sent twice and whatever the vendor does."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest
from processes import Process, Service, Starter, call, wait_until

MODEL = "gpt-image-2.6-flare"
PATH = "/v1/images/generations"


@pytest.fixture(scope="module")
def vendor(shared_starter: Starter) -> Process:
    return shared_starter.vendor()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def service(
    request: pytest.FixtureRequest, shared_starter: Starter, vendor: Process, new_database: Callable[..., str]
) -> Service:
    return shared_starter.service(
        new_database(request.param),
        vendor=vendor,
        upstream_read_seconds=2,
        upstream_connect_seconds=1,
        unknown_grace_seconds=1,
    )


@pytest.fixture(autouse=True)
def _nothing_open_and_an_empty_journal(service: Service, vendor: Process) -> None:
    wait_until(
        lambda: not service.admin("GET", "/holds?state=open")["data"], "earlier holds to end", service.log
    )
    call("DELETE", f"{vendor.url}/sandbox/journal")


def arrived(vendor: Process, path: str = PATH) -> int:
    return sum(1 for row in call("GET", f"{vendor.url}/sandbox/journal")[2]["data"] if row["path"] == path)


def body(prompt: str, **members: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": prompt, "size": "1024x1024", "quality": "low", **members}


def images_used(service: Service, tenant: str = "acme") -> int:
    rows = service.call("GET", "/api/v1/quotas", key=service.key(tenant))[2]["data"]
    return next(row["used"] for row in rows if row["name"] == "image-day")


def test_the_same_key_twice_is_one_upstream_call_one_charge_and_the_same_picture(
    service: Service, vendor: Process
) -> None:
    before, headers = images_used(service), {"Idempotency-Key": "order-1"}
    first = service.call("POST", PATH, body("a boat"), key=service.key("acme"), headers=headers)
    second = service.call("POST", PATH, body("a boat"), key=service.key("acme"), headers=headers)
    assert (first[0], second[0]) == (200, 200)
    assert first[2] == second[2]
    assert "idempotent-replayed" not in first[1]
    assert second[1]["idempotent-replayed"] == "true"
    assert arrived(vendor) == 1
    assert images_used(service) == before + 1

    other = service.call("POST", PATH, body("a train"), key=service.key("acme"), headers=headers)
    assert (other[0], other[2]["error"]["code"]) == (422, "idempotency_key_reused")
    reordered = dict(reversed(list(body("a boat").items())))
    assert service.call("POST", PATH, reordered, key=service.key("acme"), headers=headers)[0] == 200
    assert arrived(vendor) == 1


def test_while_it_runs_the_same_key_is_a_conflict_that_invites_to_come_back(
    service: Service, vendor: Process
) -> None:
    headers = {"Idempotency-Key": "order-2"}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            service.call, "POST", PATH, body("sandbox:slow=1s boat"), key=service.key("acme"), headers=headers
        )
        wait_until(lambda: arrived(vendor) == 1, "the first call to reach the vendor")
        status, answered, error = service.call(
            "POST", PATH, body("sandbox:slow=1s boat"), key=service.key("acme"), headers=headers
        )
        assert (status, error["error"]["code"], answered["retry-after"]) == (409, "request_in_progress", "1")
        assert running.result()[0] == 200
    assert (
        service.call("POST", PATH, body("sandbox:slow=1s boat"), key=service.key("acme"), headers=headers)[0]
        == 200
    )
    assert arrived(vendor) == 1


def test_many_at_once_with_one_key_are_one_call(service: Service, vendor: Process) -> None:
    with (
        openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme"), max_retries=8) as client,
        ThreadPoolExecutor(8) as pool,
    ):

        def attempt(_: int) -> str | None:
            answer = client.images.generate(
                **body("one boat for all"), extra_headers={"Idempotency-Key": "order-3"}
            )
            assert answer.data is not None
            return answer.data[0].b64_json

        pictures = set(pool.map(attempt, range(8)))
    assert len(pictures) == 1
    assert arrived(vendor) == 1


def test_a_vendor_that_fails_is_called_once_and_charged_by_estimate(
    service: Service, vendor: Process
) -> None:
    before = images_used(service)
    with (
        openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme")) as client,
        pytest.raises(openai.InternalServerError) as failed,
    ):
        client.images.generate(**body("sandbox:drop boat"))
    assert failed.value.code in ("outcome_unknown", "upstream_unavailable")
    assert failed.value.response.headers["x-should-retry"] == "false"
    assert arrived(vendor) == 1
    hold = failed.value.body["hold_id"]  # type: ignore[index, call-overload]
    wait_until(
        lambda: service.admin("GET", f"/holds/{hold}")["state"] == "settled",
        "the estimate to be charged",
        service.log,
        seconds=20,
    )
    assert images_used(service) == before + 1
    settled = service.admin("GET", f"/holds/{hold}")
    assert settled["settled_from"] == "estimate"
    assert settled["cost_usd_micro"] > 0


def test_json_to_a_stream_is_an_error_and_not_an_empty_success(service: Service, vendor: Process) -> None:
    with (
        openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme")) as client,
        pytest.raises(openai.APIError),
    ):
        list(client.images.generate(**body("sandbox:json boat"), stream=True))
    assert arrived(vendor) == 1


def test_half_a_stream_is_an_error_in_the_stream_and_the_hold_is_unknown(
    service: Service, vendor: Process
) -> None:
    with (
        openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme")) as client,
        pytest.raises(openai.APIError),
    ):
        list(client.images.generate(**body("sandbox:cut=1 boat"), stream=True, partial_images=2))
    assert arrived(vendor) == 1


def test_a_vendor_that_is_busy_or_refuses_us_is_not_the_tenants_quota_or_key(
    service: Service, vendor: Process
) -> None:
    for fault, code in (("error=429", "upstream_unavailable"), ("error=401", "upstream_unavailable")):
        status, _, error = service.call("POST", PATH, body(f"sandbox:{fault} boat"), key=service.key("acme"))
        assert (status, error["error"]["code"]) == (503, code)
    assert service.call("GET", "/api/v1/quotas", key=service.key("acme"))[2]["data"][0]["held"] == 0


def test_content_refused_is_told_with_its_category_and_replayed(service: Service, vendor: Process) -> None:
    headers = {"Idempotency-Key": "order-refused"}
    answers = [
        service.call(
            "POST", PATH, body("sandbox:refuse=violence boat"), key=service.key("acme"), headers=headers
        )
        for _ in range(2)
    ]
    for status, _, error in answers:
        assert (status, error["error"]["code"], error["error"]["category"]) == (
            400,
            "content_refused",
            "violence",
        )
    assert answers[1][1]["idempotent-replayed"] == "true"
    assert arrived(vendor) == 1


def test_messages_are_sent_once_a_call_and_charged_once(service: Service, vendor: Process) -> None:
    with anthropic.Anthropic(base_url=service.url, api_key=service.key("acme"), max_retries=0) as claude:
        answers = [
            claude.messages.create(
                model="claude-sonnet-5-5",
                max_tokens=200,
                messages=[{"role": "user", "content": "hello"}],
                extra_headers={"Idempotency-Key": "analysis-1"},
            )
            for _ in range(2)
        ]
        assert answers[0].id == answers[1].id
        assert arrived(vendor, "/v1/messages") == 1
        with pytest.raises(anthropic.InternalServerError):
            claude.messages.create(
                model="claude-sonnet-5-5",
                max_tokens=200,
                messages=[{"role": "user", "content": "sandbox:error=500 x"}],
            )


def test_a_busy_vendor_heals_by_itself_for_the_anthropic_sdk(service: Service, vendor: Process) -> None:
    with (
        anthropic.Anthropic(base_url=service.url, api_key=service.key("acme")) as claude,
        pytest.raises(anthropic.APIStatusError) as busy,
    ):
        claude.messages.create(
            model="claude-sonnet-5-5",
            max_tokens=200,
            messages=[{"role": "user", "content": "sandbox:error=529 x"}],
        )
    assert busy.value.status_code == 529
    assert arrived(vendor, "/v1/messages") == 3
    assert json.loads(busy.value.response.text)["error"]["type"] == "overloaded_error"
