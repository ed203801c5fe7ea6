"""The real SDKs with the retries that they make by themselves: one logical call is one upstream call and one charge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest
from processes import Process, Service, Starter, call, wait_until

MODEL = "gpt-image-2.6-flare"
CLAUDE = "claude-sonnet-5-5"
ABREAST = 3
"""Calls at once: fewer than the tenant's slots, so that none is refused for its speed."""

SHORT = 0.7
"""Seconds that an impatient caller gives an answer; the vendor below takes longer, and we wait longer for it."""


@pytest.fixture(scope="module")
def vendor(shared_starter: Starter) -> Process:
    return shared_starter.vendor()


@pytest.fixture(
    scope="module",
    params=[("sqlite", 1), pytest.param(("postgresql", 2), marks=pytest.mark.postgres)],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def service(
    request: pytest.FixtureRequest, shared_starter: Starter, vendor: Process, new_database: Callable[..., str]
) -> Service:
    kind, workers = request.param
    return shared_starter.service(
        new_database(kind),
        workers=workers,
        vendor=vendor,
        upstream_read_seconds=3,
        upstream_connect_seconds=1,
        unknown_grace_seconds=1,
    )


@pytest.fixture(autouse=True)
def _nothing_open_and_an_empty_journal(service: Service, vendor: Process) -> None:
    wait_for_the_end(service)
    call("DELETE", f"{vendor.url}/sandbox/journal")


def wait_for_the_end(service: Service) -> None:
    wait_until(lambda: not service.admin("GET", "/holds?state=open")["data"], "holds to end", service.log)


def arrived(vendor: Process) -> list[str]:
    """What reached the vendor, by the hashes of the bodies."""
    rows = call("GET", f"{vendor.url}/sandbox/journal")[2]["data"]
    return [row["body_sha256"] for row in rows if row["method"] == "POST"]


def holds(service: Service) -> set[str]:
    return {hold["id"] for hold in service.admin("GET", "/holds?tenant=acme&limit=500")["data"]}


def charged(service: Service, ids: Iterable[str]) -> list[str]:
    """The states of these holds, of those that cost something."""
    found = (service.admin("GET", f"/holds/{hold}") for hold in ids)
    return [hold["state"] for hold in found if hold["cost_usd_micro"] > 0]


def body(prompt: str, **members: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": prompt, "size": "1024x1024", "quality": "low", **members}


def message(prompt: str, **members: Any) -> dict[str, Any]:
    return {"model": CLAUDE, "max_tokens": 200, "messages": [{"role": "user", "content": prompt}], **members}


def pictures(answer: Any) -> list[str]:
    """The finished pictures of an answer or of a stream."""
    if isinstance(answer, openai.Stream):
        return [event.b64_json for event in answer if event.type.endswith("completed")]
    return [item.b64_json for item in answer.data]


def test_whatever_the_vendor_does_each_call_reaches_it_once_and_is_charged_once(
    service: Service, vendor: Process
) -> None:
    faults = ["hang", "drop", "error=500", "html", "malformed", "cut=1"]
    calls = [
        body(f"sandbox:{fault} boat", **stream)
        for fault in faults
        for stream in ({}, {"stream": True, "partial_images": 2})
    ]
    before = holds(service)

    with (
        openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme")) as client,
        ThreadPoolExecutor(ABREAST) as pool,
    ):

        def fails(members: dict[str, Any]) -> str | None:
            with pytest.raises(openai.APIError) as failed:
                pictures(client.images.generate(**members))
            return failed.value.code

        codes = set(pool.map(fails, calls))

    assert codes <= {"outcome_unknown", "upstream_unavailable"}
    assert len(arrived(vendor)) == len(set(arrived(vendor))) == len(calls)
    wait_for_the_end(service)
    made = holds(service) - before
    assert len(made) == len(calls)
    assert charged(service, made) == ["settled"] * len(calls)


@pytest.mark.parametrize("members", [{}, {"stream": True}], ids=["plain", "stream"])
def test_who_gives_up_too_soon_gets_the_picture_by_the_sdks_own_retries(
    service: Service, vendor: Process, members: dict[str, Any]
) -> None:
    before = holds(service)
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme"), timeout=SHORT) as client:
        (picture,) = pictures(client.images.generate(**body("sandbox:slow=1500ms boat", **members)))

    assert picture
    assert len(arrived(vendor)) == 1
    assert charged(service, holds(service) - before) == ["settled"]


def test_who_gives_up_on_a_vendor_that_hangs_has_bought_at_most_one_picture(
    service: Service, vendor: Process
) -> None:
    before = holds(service)
    with (
        openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme"), timeout=SHORT) as client,
        pytest.raises((openai.APITimeoutError, openai.InternalServerError)),
    ):
        client.images.generate(**body("sandbox:hang boat"))

    wait_for_the_end(service)
    assert len(arrived(vendor)) == 1
    assert charged(service, holds(service) - before) == ["settled"]


def test_with_a_key_any_number_of_retries_ends_in_one_picture_and_one_message(
    service: Service, vendor: Process
) -> None:
    before, retries = holds(service), {"timeout": SHORT, "max_retries": 20}
    gpt = openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme"), **retries)  # type: ignore[arg-type]
    claude = anthropic.Anthropic(base_url=service.url, api_key=service.key("acme"), **retries)  # type: ignore[arg-type]
    slow = "sandbox:slow=2s boat"

    def keyed(key: str) -> dict[str, Any]:
        return {"extra_headers": {"Idempotency-Key": key}}

    with gpt, claude, ThreadPoolExecutor(ABREAST) as pool:
        answers = [
            pool.submit(lambda: pictures(gpt.images.generate(**body(slow), **keyed("plain")))),
            pool.submit(lambda: pictures(gpt.images.generate(**body(slow, stream=True), **keyed("stream")))),
            pool.submit(lambda: claude.messages.create(**message(slow), **keyed("message")).content),
        ]
        assert all(answer.result() for answer in answers)

    assert len(arrived(vendor)) == len(answers)
    assert charged(service, holds(service) - before) == ["settled"] * len(answers)


@pytest.mark.parametrize("keyed", [False, True], ids=["without-a-key", "with-a-key"])
def test_a_message_whose_outcome_is_unknown_is_not_sent_again(
    service: Service, vendor: Process, keyed: bool
) -> None:
    faults, before = ["hang", "drop", "error=500", "html", "cut=1"], holds(service)
    with (
        anthropic.Anthropic(base_url=service.url, api_key=service.key("acme")) as client,
        ThreadPoolExecutor(ABREAST) as pool,
    ):

        def fails(fault: str) -> int:
            key = {"Idempotency-Key": f"message-{fault}"} if keyed else {}
            with pytest.raises(anthropic.InternalServerError) as failed:
                client.messages.create(**message(f"sandbox:{fault} boat"), extra_headers=key)
            return failed.value.status_code

        statuses = set(pool.map(fails, faults))

    assert statuses <= {502, 504}
    assert len(arrived(vendor)) == len(set(arrived(vendor))) == len(faults)
    wait_for_the_end(service)
    assert charged(service, holds(service) - before) == ["settled"] * len(faults)
