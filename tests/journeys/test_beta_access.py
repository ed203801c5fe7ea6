"""A partner outside the beta is told why and how to ask, asks, is let in, and is put out again, without a restart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import anthropic
import openai
import pytest
from processes import Service, Starter, call, wait_until
from unleash import unleash_server

MODEL = "gpt-image-2.6-flare"
GENERATION = "image-generation"


ON_POSTGRES = pytest.param("postgresql", marks=pytest.mark.postgres)
WITH_UNLEASH = pytest.param("unleash", marks=[pytest.mark.postgres, pytest.mark.node])


@pytest.fixture(scope="module", params=["sqlite", ON_POSTGRES, WITH_UNLEASH])
def service(
    request: pytest.FixtureRequest,
    shared_starter: Starter,
    new_database: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """With our own flags on both databases, and with a real Unleash server beside."""
    if request.param == "sqlite":
        yield shared_starter.service(new_database("sqlite"))
        return
    if request.param == "postgresql":
        yield shared_starter.service(new_database("postgresql"), workers=2)
        return
    folder, empty = tmp_path_factory.mktemp("unleash"), new_database("postgresql", migrated=False)
    with unleash_server(folder, empty) as unleash:
        started = shared_starter.service(new_database("postgresql"), workers=2, **unleash.settings)
        wait_until(lambda: generates(started, "acme"), "the plan to be written and fetched", started.log)
        yield started


def generates(service: Service, tenant: str) -> bool:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key(tenant), max_retries=0) as client:
        try:
            client.images.generate(model=MODEL, prompt="a boat", size="1024x1024", quality="low")
        except openai.PermissionDeniedError:
            return False
    return True


def test_globex_is_refused_asks_is_approved_generates_and_is_refused_after_revocation(
    service: Service,
) -> None:
    key = service.key("globex")
    status, headers, refusal = service.call(
        "POST", "/v1/images/generations", {"model": "no-such-model", "prompt": "a boat"}, key=key
    )
    error = refusal["error"]
    assert (status, error["code"]) == (403, "feature_not_enabled")
    assert error["reason"] == "not_granted"
    assert "/api/v1/access-requests" in error["how_to_enable"]
    assert headers["x-rollout-decision"] == error["decision_id"]

    status, _, asked = service.call(
        "POST",
        "/api/v1/access-requests",
        {"feature": GENERATION, "use_case": "covers for our magazine", "expected_volume": 500},
        key=key,
    )
    assert (status, asked["state"], asked["position"]) == (201, "waiting", 1)
    status, _, again = service.call(
        "POST", "/api/v1/access-requests", {"feature": GENERATION, "use_case": "again"}, key=key
    )
    assert (status, again["id"]) == (200, asked["id"])
    assert not generates(service, "globex")

    approved = service.admin("POST", f"/access-requests/{asked['id']}/approve", {"reason": "a good use case"})
    assert approved["state"] == "approved"
    wait_until(lambda: generates(service, "globex"), "globex to be let in", service.log)
    limits = service.call("GET", "/api/v1/quotas", key=key)[2]["data"]
    assert any(limit["unit"] == "image" and limit["used"] >= 1 for limit in limits)
    assert (
        service.call("POST", "/api/v1/access-requests", {"feature": GENERATION, "use_case": "more"}, key=key)[
            0
        ]
        == 409
    )

    (grant,) = service.admin("GET", f"/grants?tenant=globex&feature={GENERATION}")["data"]
    service.admin("POST", f"/grants/{grant['id']}/revoke", {"reason": "trial is over"})
    wait_until(lambda: not generates(service, "globex"), "globex to be put out", service.log)
    assert service.call("GET", f"/api/v1/features/{GENERATION}", key=key)[2]["enabled"] is False

    actions = [(row["action"], row["reason"]) for row in service.admin("GET", "/audit?tenant=globex")["data"]]
    assert ("grant.revoked", "trial is over") in actions
    assert any(
        action == "access_request.approved" and reason == "a good use case" for action, reason in actions
    )
    assert service.admin("GET", "/audit/verify")["intact"] is True


def test_the_command_line_lets_a_tenant_in_and_a_running_worker_follows(service: Service) -> None:
    assert (
        service.rollout("tenants", "add", "hooli", "--name", "Hooli", "--reason", "by hand").returncode == 0
    )
    made = service.rollout("keys", "add", "hooli", "--name", "ci", "--reason", "by hand", "--json")
    service.demo["tenants"]["hooli"] = {"key": json.loads(made.stdout)["secret"]}
    assert not generates(service, "hooli")
    granted = service.rollout(
        "grants", "add", "hooli", GENERATION, "--until", "2099-01-01", "--reason", "by hand"
    )
    assert granted.returncode == 0, granted.stderr
    wait_until(lambda: generates(service, "hooli"), "hooli to be let in", service.log)


def test_umbrella_is_refused_generation_and_still_analyses(service: Service) -> None:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("umbrella")) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            client.images.generate(model=MODEL, prompt="a boat", size="1024x1024", quality="low")
        assert refused.value.code == "insufficient_quota"
    with anthropic.Anthropic(base_url=service.url, api_key=service.key("umbrella")) as claude:
        answer = claude.messages.create(
            model="claude-sonnet-5-5", max_tokens=100, messages=[{"role": "user", "content": "hello"}]
        )
        assert answer.stop_reason == "end_turn"


def test_feedback_is_taken_by_key_and_by_handle_and_the_latest_wins(service: Service) -> None:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key=service.key("acme")) as client:
        raw = client.images.with_raw_response.generate(
            model=MODEL,
            prompt="a boat",
            size="1024x1024",
            quality="low",
            extra_headers={"x-rollout-end-user": "reader-7"},
        )
    handle = raw.headers["x-rollout-feedback"]
    status, _, first = call("POST", f"{service.url}/api/v1/feedback", {"handle": handle, "rating": "up"})
    assert status == 201
    status, _, second = call(
        "POST",
        f"{service.url}/api/v1/feedback",
        {"handle": handle, "rating": "down", "reasons": ["wrong-text"]},
    )
    assert (status, second["id"]) == (200, first["id"])
    (listed,) = [
        row for row in service.admin("GET", "/feedback?tenant=acme")["data"] if row["id"] == first["id"]
    ]
    assert (listed["rating"], listed["end_user"], listed["phase"], listed["model"]) == (
        "down",
        "reader-7",
        "private_beta",
        MODEL,
    )
    assert (
        call("POST", f"{service.url}/api/v1/feedback", {"handle": handle[:-2] + "xx", "rating": "up"})[0]
        == 404
    )
    status, _, _ = service.call(
        "POST",
        "/api/v1/feedback",
        {"generation": listed["generation"], "rating": "up"},
        key=service.key("globex"),
    )
    assert status == 404
