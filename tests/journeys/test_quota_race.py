"""A cap of three pictures and twenty calls at once: three pictures, on every database and number of workers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from processes import Service, Starter

CALLS = 20


@pytest.fixture(
    params=[
        ("sqlite", 1),
        pytest.param(("postgresql", 1), marks=pytest.mark.postgres),
        pytest.param(("postgresql", 4), marks=pytest.mark.postgres),
    ],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def service(request: pytest.FixtureRequest, starter: Starter, new_database: Callable[..., str]) -> Service:
    kind, workers = request.param
    return starter.service(new_database(kind), workers=workers)


def test_twenty_calls_at_once_give_initech_exactly_three_pictures(service: Service) -> None:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("initech")) as client:

        def attempt(number: int) -> openai.RateLimitError | None:
            try:
                client.images.generate(
                    model="gpt-image-2.6-flare", prompt=f"boat {number}", size="1024x1024", quality="low"
                )
            except openai.RateLimitError as error:
                return error
            return None

        with ThreadPoolExecutor(CALLS) as pool:
            refusals = [error for error in pool.map(attempt, range(CALLS)) if error is not None]

    assert len(refusals) == CALLS - 3
    for error in refusals:
        assert error.code == "insufficient_quota"
        assert error.body["limit"] == "image-day"  # type: ignore[index, call-overload]
        assert error.body["resets_at"].endswith("Z")  # type: ignore[index, call-overload]
        assert int(error.response.headers["retry-after"]) >= 1
        assert error.response.headers["x-should-retry"] == "false"
        assert (
            error.request.headers["x-stainless-retry-count"] == "0"
        )  # raised at once: no sleep, no second try
    (limit,) = [
        row
        for row in service.call("GET", "/api/v1/quotas", key=service.key("initech"))[2]["data"]
        if row["name"] == "image-day"
    ]
    assert (limit["used"], limit["held"], limit["remaining"]) == (3, 0, 0)
    verified = service.rollout("ledger", "verify")
    assert verified.returncode == 0, verified.stdout
