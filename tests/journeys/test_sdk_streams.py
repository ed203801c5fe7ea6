"""A stream that the vendor breaks, as the official SDKs for Python raise it: at once, after one call upstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from broken_streams import ROUTES, ROWS, Row, body, png
from processes import Process, Service, Starter, clear_journal, upstream_calls


@pytest.fixture(scope="module")
def vendor(shared_starter: Starter) -> Process:
    return shared_starter.vendor()


@pytest.fixture(scope="module")
def service(shared_starter: Starter, vendor: Process, new_database: Callable[..., str]) -> Service:
    return shared_starter.service(
        new_database("sqlite"), vendor=vendor, breaker_failures=1_000, unknown_grace_seconds=1
    )


def read(service: Service, route: str, row: Row, key: str) -> None:
    """Ask, and read to the end."""
    asked: dict[str, Any] = body(route, row)
    if route == "messages":
        with anthropic.Anthropic(base_url=service.url, api_key=key) as claude:
            list(claude.messages.create(**asked))
        return
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=key) as gpt:
        if route == "generate":
            list(gpt.images.generate(**asked))
        elif route == "edit":
            list(gpt.images.edit(**asked, image=("one.png", png(), "image/png")))
        else:
            list(gpt.chat.completions.create(**asked))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fault)
@pytest.mark.parametrize("route", ROUTES)
def test_a_broken_stream_is_the_sdks_own_error_after_one_call_upstream(
    service: Service, vendor: Process, route: str, row: Row
) -> None:
    clear_journal(vendor)
    with pytest.raises((openai.APIError, anthropic.APIError)) as raised:
        read(service, route, row, service.key("acme"))

    error: Any = raised.value
    told = error.body["error"]["details"] if route == "messages" else error.body
    assert (told["error_code"] if route == "messages" else error.code) == row.code
    assert told["hold_id"].startswith("hold_")
    assert getattr(error, "status_code", 200) == (row.status or 200)
    assert upstream_calls(vendor) == 1
