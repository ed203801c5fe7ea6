"""Each reason to be turned away, as the official SDKs for Python raise it; and how often each of them calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from processes import Process, Service, Starter
from refused_calls import ROWS, Row, Turned, chat, image, killed, message, put_in_flight, turned_away

OPENAI_CLASSES = {
    403: openai.PermissionDeniedError,
    409: openai.ConflictError,
    429: openai.RateLimitError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
}
ANTHROPIC_CLASSES = {
    403: anthropic.PermissionDeniedError,
    409: anthropic.ConflictError,
    429: anthropic.RateLimitError,
    502: anthropic.InternalServerError,
    504: anthropic.InternalServerError,
    529: anthropic.InternalServerError,
}


class Hasty:
    """An SDK that notes how long it would pause before a retry, and does not."""

    def _calculate_retry_timeout(self, *told: Any) -> float:
        self.pauses: list[float] = getattr(self, "pauses", [])
        self.pauses.append(super()._calculate_retry_timeout(*told))  # type: ignore[misc]
        return 0


class GPT(Hasty, openai.OpenAI):
    pass


class Claude(Hasty, anthropic.Anthropic):
    pass


@pytest.fixture(scope="module")
def vendor(shared_starter: Starter) -> Process:
    return shared_starter.vendor()


@pytest.fixture(scope="module")
def service(shared_starter: Starter, vendor: Process, new_database: Callable[..., str]) -> Service:
    return shared_starter.service(new_database("sqlite"), vendor=vendor)


@pytest.fixture(scope="module")
def turned(service: Service) -> dict[str, Turned]:
    return turned_away(service)


@pytest.fixture(params=ROWS, ids=lambda row: row.why)
def row(request: pytest.FixtureRequest, service: Service) -> Iterator[Row]:
    found: Row = request.param
    if found.why == "killed":
        with killed(service):
            yield found
    else:
        yield found


def check(row: Row, status: int, raised: Any, told: dict[str, Any], client: Hasty) -> None:
    """What is the same on both surfaces: `told` are the members of its error."""
    headers, pauses = raised.response.headers, getattr(client, "pauses", [])
    assert raised.status_code == status
    assert raised.request_id == told["request_id"] == headers["x-request-id"] == headers["request-id"]
    assert told["remedy"]
    assert set(row.members) <= set(told)
    assert len(pauses) == row.calls - 1
    assert all(0 < pause <= row.pause for pause in pauses)
    assert "traceback" not in raised.response.text.lower()
    if row.calls > 1:
        assert told["retryable"]
        assert headers.get("x-should-retry") != "false"
        assert 0 <= int(headers["retry-after"]) <= row.pause
    elif row.status != 403:
        assert not told["retryable"]
        assert headers["x-should-retry"] == "false"
    if row.status == 429:
        assert told["limit"] in headers["ratelimit-policy"]
        assert ";r=0" in headers["ratelimit"]


def test_the_openai_sdk_raises_what_it_should_after_as_many_calls_as_make_sense(
    service: Service, turned: dict[str, Turned], row: Row
) -> None:
    how = turned[row.why]
    if row.why == "in flight":
        put_in_flight(service, how, "image")
    with (
        GPT(base_url=f"{service.url}/v1", api_key=how.key) as client,
        pytest.raises(openai.APIStatusError) as raised,
    ):
        client.images.generate(**image(how.prompt), extra_headers=how.headers["image"])
    error = raised.value
    assert type(error) is OPENAI_CLASSES[row.status]
    assert (error.code, error.type) == (row.code, row.openai)
    check(row, row.status, error, error.body, client)  # type: ignore[arg-type]


def test_the_openai_sdk_raises_the_same_for_chat_completions(
    service: Service, turned: dict[str, Turned], row: Row
) -> None:
    if row.why in ("not in", "in flight"):
        return  # analysis is open to all; what is in flight is a picture or a message
    how = turned[row.why]
    with (
        GPT(base_url=f"{service.url}/v1", api_key=how.key) as client,
        pytest.raises(openai.APIStatusError) as raised,
    ):
        client.chat.completions.create(**chat(how.prompt), extra_headers=how.headers["message"])
    error = raised.value
    assert type(error) is OPENAI_CLASSES[row.status]
    assert (error.code, error.type) == (row.code, row.openai)
    check(row, row.status, error, error.body, client)  # type: ignore[arg-type]


def test_the_anthropic_sdk_raises_what_it_should_after_as_many_calls_as_make_sense(
    service: Service, turned: dict[str, Turned], row: Row
) -> None:
    if row.why == "not in":
        return  # analysis is open to all
    how, status = turned[row.why], row.overloaded or row.status
    if row.why == "in flight":
        put_in_flight(service, how, "message")
    with (
        Claude(base_url=service.url, api_key=how.key) as client,
        pytest.raises(anthropic.APIStatusError) as raised,
    ):
        client.messages.create(**message(how.prompt), extra_headers=how.headers["message"])
    error = raised.value
    assert isinstance(error, ANTHROPIC_CLASSES[status])
    told: Any = error.body
    assert (told["error"]["type"], told["error"]["details"]["error_code"]) == (row.anthropic, row.code)
    check(row, status, error, told["error"]["details"], client)
