"""The real browser SDK of Unleash on the frontend API, with tokens that are bound to tenants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from answering import constraint, feature, rollout, variant
from node import run_script
from processes import Service, Starter

from rollout.core.audit import Actor
from rollout.core.flag_tokens import NewFlagToken
from rollout.settings import Settings
from rollout.wiring import build

pytestmark = pytest.mark.node

ANA = Actor("token:ana", "admin")
PLAN = constraint("plan", "IN", "gold")


@pytest.fixture(scope="module")
def told(shared_starter: Starter, new_database: Callable[..., str]) -> dict[str, Any]:
    """What each step of frontends.mjs saw."""
    service: Service = shared_starter.service(new_database("sqlite"))
    operator = build(Settings.from_env(service.environ))
    operator.flags.add(
        ANA, feature("gold-only", rollout(100, "plan", constraints=[PLAN])), "test", accept_warnings=True
    )
    drawn = variant("blue", payload=("string", "#00f"))
    operator.flags.add(ANA, feature("colour", variants=[drawn]), "test", accept_warnings=True)
    tokens = {
        tenant.upper(): operator.flag_tokens.add(
            ANA, NewFlagToken(tenant, "frontend", tenant_id=tenant), "test"
        ).secret
        for tenant in ("acme", "globex")
    }
    operator.close()
    return run_script("frontends.mjs", {"PHASEGATE_URL": service.url, "ADMIN": service.token, **tokens})


@pytest.mark.parametrize("way", ["get", "post"])
def test_a_page_follows_its_tenants_gate(told: dict[str, Any], way: str) -> None:
    seen = told[way]
    assert [seen[when] for when in ("at_first", "when_killed", "when_revived")] == [True, False, True]
    assert seen["analysis"] is True
    assert seen["variant"] == {
        "name": "private_beta",
        "enabled": True,
        "feature_enabled": True,
        "featureEnabled": True,
    }


@pytest.mark.parametrize("way", ["get", "post"])
def test_what_has_not_changed_is_not_sent_again(told: dict[str, Any], way: str) -> None:
    method = way.upper()
    assert told[way]["statuses"] == [f"{method} {status}" for status in (200, 304, 200, 200, 200)] + [
        "POST 200"
    ]


@pytest.mark.parametrize("way", ["get", "post"])
def test_other_flags_see_what_the_page_says_of_its_user(told: dict[str, Any], way: str) -> None:
    assert told[way]["for_gold"] is True
    assert told[way]["value"] == {"type": "string", "value": "#00f"}


def test_a_page_cannot_claim_to_be_another_tenants(told: dict[str, Any]) -> None:
    assert "image-analysis" in told["globex"]
    assert "image-generation" not in told["globex"]


def test_a_token_that_nobody_made_opens_nothing(told: dict[str, Any]) -> None:
    assert told["stranger"] == {"statuses": ["GET 401"], "error": {"type": "HttpError", "code": 401}}
