"""One shape of error on each surface, whatever went wrong."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from rollout.errors import (
    AtCapacity,
    FeatureNotEnabled,
    InsufficientQuota,
    InvalidRequest,
    QuotaExceeded,
    RateLimitExceeded,
    RolloutError,
    UpstreamFailed,
    UpstreamUnavailable,
    all_errors,
    by_code,
)
from rollout.web import problems, requests
from rollout.web.problems import Surface

ERRORS = [error for error in all_errors() if error is not QuotaExceeded]
PATHS: Mapping[Surface, str] = {
    "openai": "/v1/images/generations",
    "anthropic": "/v1/messages",
    "native": "/api/v1/me",
}


class Failing:
    """An app whose every route raises `error`."""

    def __init__(self) -> None:
        self.error: Exception = InvalidRequest()
        self.app = Flask("failing", static_folder=None)
        requests.install(self.app)
        problems.install(self.app)
        for path in (*PATHS.values(), "/v1/models", "/admin/api/v1/tenants"):
            self.app.add_url_rule(path, path, self._fail)
        self.client: FlaskClient = self.app.test_client()

    def _fail(self) -> str:
        raise self.error

    def get(self, surface: Surface, error: Exception, **headers: str) -> Any:
        self.error = error
        return self.client.get(PATHS[surface], headers=headers)


@pytest.fixture(scope="module")
def failing() -> Failing:
    return Failing()


def inner(surface: Surface, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the members beside the vendor's own lie."""
    places = {
        "openai": lambda: body["error"],
        "anthropic": lambda: body["error"]["details"],
        "native": lambda: body,
    }
    found: Mapping[str, Any] = places[surface]()
    return found


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_says_what_it_is_and_what_to_do(error: type[RolloutError]) -> None:
    assert 400 <= error.status < 600
    assert error.code == error.code.lower()
    assert error.default_message().endswith(".")
    assert error.__doc__ != RolloutError.__doc__, "each error has a docstring of its own"
    assert error.remedy.endswith((".", "`"))
    assert issubclass(by_code(error.code), RolloutError)
    assert by_code(error.code).code == error.code
    assert error.code in inspect.getsource(inspect.getmodule(RolloutError)).split('"""')[1]  # type: ignore[arg-type]


@pytest.mark.parametrize("surface", PATHS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_has_the_one_shape_of_its_surface(
    failing: Failing, error: type[RolloutError], surface: Surface
) -> None:
    answer = failing.get(surface, error("It went wrong.", param="size", hold_id=None))
    body = answer.get_json(force=True)
    assert answer.status_code == problems.status_of(error(), surface)
    members = inner(surface, body)
    assert (members["remedy"], members["retryable"]) == (error.remedy, error.retryable)
    assert members["param"] == "size"
    assert members["request_id"] == answer.headers["x-request-id"] == answer.headers["request-id"]
    assert "hold_id" not in members
    if surface == "openai":
        assert set(body) == {"error"}
        assert (body["error"]["message"], body["error"]["code"]) == ("It went wrong.", error.code)
        assert isinstance(body["error"]["type"], str)
        assert answer.content_type == "application/json"
    elif surface == "anthropic":
        assert set(body) == {"type", "error", "request_id"}
        assert set(body["error"]) == {"type", "message", "details"}
        assert (body["type"], body["error"]["message"]) == ("error", "It went wrong.")
        assert members["error_code"] == error.code
        assert body["request_id"] == members["request_id"]
        assert answer.content_type == "application/json"
    else:
        assert answer.content_type == "application/problem+json"
        assert (body["type"], body["code"]) == (f"/docs/errors/{error.code}", error.code)
        assert (body["title"], body["detail"]) == (error.default_message(), "It went wrong.")
        assert body["status"] == answer.status_code


@pytest.mark.parametrize("error", [AtCapacity, UpstreamUnavailable])
def test_only_messages_says_529_where_others_say_503(failing: Failing, error: type[RolloutError]) -> None:
    assert [failing.get(surface, error()).status_code for surface in PATHS] == [503, 529, 503]
    assert failing.get("anthropic", UpstreamFailed()).status_code == 502


@pytest.mark.parametrize(
    ("error", "openai", "anthropic"),
    [
        (InvalidRequest(), "invalid_request_error", "invalid_request_error"),
        (FeatureNotEnabled(), "feature_not_enabled", "permission_error"),
        (InsufficientQuota(), "insufficient_quota", "rate_limit_error"),
        (RateLimitExceeded(), "rate_limit_exceeded", "rate_limit_error"),
        (by_code("request_in_progress")(), "request_in_progress", "conflict_error"),
        (by_code("invalid_api_key")(), "authentication_error", "authentication_error"),
        (by_code("result_purged")(), "invalid_request_error", "invalid_request_error"),
        (by_code("outcome_unknown")(), "outcome_unknown", "api_error"),
        (AtCapacity(), "at_capacity", "overloaded_error"),
    ],
)
def test_types_are_those_that_the_vendors_sdks_know(
    failing: Failing, error: RolloutError, openai: str, anthropic: str
) -> None:
    assert failing.get("openai", error).get_json()["error"]["type"] == openai
    assert failing.get("anthropic", error).get_json()["error"]["type"] == anthropic


def test_models_answer_in_the_envelope_of_whoever_asks(failing: Failing) -> None:
    failing.error = InvalidRequest()
    assert "type" not in failing.client.get("/v1/models").get_json()
    answer = failing.client.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
    assert answer.get_json()["type"] == "error"


def test_an_error_steers_the_sdks_by_its_headers(failing: Failing) -> None:
    full = InsufficientQuota(retry_after=3600, decision_id="dec_1", headers={"RateLimit": '"day";r=0;t=3600'})
    answer = failing.get("openai", full)
    assert (answer.headers["Retry-After"], answer.headers["x-should-retry"]) == ("3600", "false")
    assert answer.headers["x-rollout-decision"] == "dec_1"
    assert answer.headers["RateLimit"] == '"day";r=0;t=3600'
    assert "x-should-retry" not in failing.get("openai", RateLimitExceeded(retry_after=1)).headers


@pytest.mark.parametrize("surface", PATHS)
def test_a_bug_tells_nothing_but_the_request_id(failing: Failing, surface: Surface) -> None:
    answer = failing.get(surface, RuntimeError("password=hunter2"))
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert inner(surface, answer.get_json(force=True))["request_id"] == answer.headers["x-request-id"]


def test_flasks_own_errors_come_in_our_envelopes(failing: Failing) -> None:
    nowhere = failing.client.get("/v1/nowhere")
    assert (nowhere.status_code, nowhere.get_json()["error"]["code"]) == (404, "not_found")
    assert "GET /v1/nowhere" in nowhere.get_json()["error"]["message"]
    wrong = failing.client.delete("/v1/messages")
    assert (wrong.status_code, wrong.get_json()["error"]["details"]["error_code"]) == (
        405,
        "method_not_allowed",
    )
    assert "GET" in wrong.headers["Allow"]
    beyond = failing.get("native", RequestedRangeNotSatisfiable())
    assert (beyond.status_code, beyond.get_json(force=True)["code"]) == (416, "invalid_request")


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        ("/v1/images/variations", "POST /v1/images/edits"),
        ("/v1/files", "base64"),
        ("/v1/messages/batches", "POST /v1/messages for each"),
    ],
)
def test_what_is_not_offered_names_what_to_use_instead(failing: Failing, path: str, instead: str) -> None:
    answer = failing.client.post(path)
    assert answer.status_code == 404
    assert instead in answer.get_json()["error"]["message"]


def test_a_redirect_stays_a_redirect() -> None:
    app = Flask("redirecting", static_folder=None)
    requests.install(app)
    problems.install(app)
    app.add_url_rule("/docs/errors/", "errors", lambda: "here")
    answer = app.test_client().get("/docs/errors")
    assert answer.status_code == 308
    assert answer.headers["Location"].endswith("/docs/errors/")
