"""/api/frontend: what Unleash's browser SDKs are told, for whom they ask, and what they cannot claim."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from answering import Frontend, application, constraint, feature, keep, rollout, variant, wire_answers
from doors import ALICE
from gateway import on_sqlite

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.flag_tokens import NewFlagToken
from rollout.db.engine import Database

pytestmark = on_sqlite


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_answers(database, clock)


def test_enabled_flags_alone_are_told_each_with_its_variant(services: SimpleNamespace) -> None:
    drawn = variant("blue", payload=("json", '{"a": 1}'))
    keep(services, feature("plain"), feature("drawn", variants=[drawn], impressionData=True))
    keep(services, feature("off", enabled=False))
    answer = Frontend(services, None).get()
    assert answer.get_json() == {
        "toggles": [
            {
                "name": "drawn",
                "enabled": True,
                "impressionData": True,
                "variant": {
                    "name": "blue",
                    "enabled": True,
                    "feature_enabled": True,
                    "featureEnabled": True,
                    "payload": {"type": "json", "value": '{"a": 1}'},
                },
            },
            {
                "name": "plain",
                "enabled": True,
                "impressionData": False,
                "variant": {
                    "name": "disabled",
                    "enabled": False,
                    "feature_enabled": True,
                    "featureEnabled": True,
                },
            },
        ]
    }


def test_a_context_says_the_same_in_a_query_and_in_a_body(services: SimpleNamespace) -> None:
    keep(
        services,
        feature("by-user", rollout(100, "userId", constraints=[constraint("userId", "IN", "u1")])),
        feature("by-property", rollout(100, "plan", constraints=[constraint("plan", "IN", "gold")])),
        feature("by-number", rollout(100, "seats", constraints=[constraint("seats", "NUM_GT", value="9")])),
        feature("by-truth", rollout(100, "paid", constraints=[constraint("paid", "IN", "true")])),
        feature(
            "by-address", {"name": "remoteAddress", "parameters": {"IPs": "127.0.0.1"}, "constraints": []}
        ),
    )
    page = Frontend(services, None)
    told = page.get("?userId=u1&appName=web&properties[plan]=gold&seats=10&paid=true").get_json()
    assert {toggle["name"] for toggle in told["toggles"]} == set(
        page.on(userId="u1", appName="web", properties={"plan": "gold"}, seats=10, paid=True)
    )
    assert {toggle["name"] for toggle in told["toggles"]} == {
        "by-user",
        "by-property",
        "by-number",
        "by-truth",
        "by-address",
    }
    assert set(page.on(userId="u2", properties={"plan": None, "seats": [10]}, paid={"a": 1})) == {
        "by-address"
    }


def test_a_tenants_gates_are_its_decisions_whatever_the_page_claims(services: SimpleNamespace) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "beta")
    acme, globex = Frontend(services, "acme"), Frontend(services, "globex")
    claims = {"grant": "active", "halt": "0", "partnerBucket": "0", "phase": "private_beta", "cohorts": ",a,"}
    assert set(acme.on(tenantId="globex")) == {GENERATION, ANALYSIS}
    assert acme.on()[GENERATION]["variant"]["name"] == "private_beta"
    assert set(globex.on(userId="acme", properties={**claims, "tenantId": "acme"}, **claims)) == {ANALYSIS}


def test_the_tenants_attributes_stand_in_for_what_the_page_claims(services: SimpleNamespace) -> None:
    services.tenants.change(ALICE, "acme", {"attributes": {"region": "eu"}}, "test")
    in_us = rollout(100, "tenantId", constraints=[constraint("region", "IN", "us")])
    in_eu = rollout(100, "tenantId", constraints=[constraint("region", "IN", "eu")])
    mine = rollout(100, "tenantId", constraints=[constraint("tenantId", "IN", "acme")])
    keep(services, feature("us", in_us), feature("eu", in_eu), feature("mine", mine))
    acme = Frontend(services, "acme")
    assert {"eu", "mine"} == set(acme.on(properties={"region": "us", "tenantId": "globex"})) - {ANALYSIS}
    assert {"eu", "mine"} == set(acme.on()) - {ANALYSIS}, "the same from memory"
    services.tenants.change(ALICE, "acme", {"attributes": {"region": "us"}}, "moved")
    services.state.refresh()
    assert {"us", "mine"} == set(acme.on()) - {ANALYSIS}


def test_what_hangs_on_the_user_is_asked_for_each(services: SimpleNamespace) -> None:
    keep(services, feature("for-one", rollout(100, "userId", constraints=[constraint("userId", "IN", "u1")])))
    acme = Frontend(services, "acme")
    assert ["for-one" in acme.on(userId=user) for user in ("u1", "u2", "u1")] == [True, False, True]


def test_a_flag_below_a_gate_follows_the_gate(services: SimpleNamespace) -> None:
    keep(services, feature("below", dependencies=[{"feature": GENERATION, "enabled": True}]))
    acme, globex = Frontend(services, "acme"), Frontend(services, "globex")
    services.grants.add(ALICE, "acme", GENERATION, "beta")
    services.state.refresh()
    assert ("below" in acme.on(), "below" in globex.on(grant="active")) == (True, False)
    services.features.kill(ALICE, GENERATION, "incident", wait=0)
    services.state.refresh()
    assert "below" not in acme.on()


def test_a_killed_a_halted_and_an_unconfirmed_gate_is_not_told(services: SimpleNamespace, clock: Any) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "beta")
    acme, operator = Frontend(services, "acme"), Frontend(services, None)
    let_in = {"tenantId": "acme", "grant": "active", "halt": "0"}
    assert GENERATION in acme.on()
    assert GENERATION in operator.on(**let_in)
    clock.advance(6)
    assert set(acme.on()) == {ANALYSIS}
    assert not operator.on(**let_in)
    services.state.refresh()
    assert GENERATION in acme.on()
    services.features.kill(ALICE, GENERATION, "quality", tenant="acme", wait=0)
    services.state.refresh()
    assert set(acme.on()) == {ANALYSIS}
    services.features.kill(ALICE, GENERATION, "incident", wait=0)
    services.state.refresh()
    assert not operator.on(**let_in)


def test_a_token_sees_its_environment_and_its_projects(services: SimpleNamespace) -> None:
    keep(services, feature("here"), feature("theirs", project="other"))
    keep(services, feature("elsewhere"), environment="development")
    assert set(Frontend(services, None, projects=("other",)).on()) == {"theirs"}
    assert set(Frontend(services, None, environment="development").on()) == {"elsewhere"}
    assert set(Frontend(services, "acme", environment="development").on()) == {"elsewhere"}
    assert set(Frontend(services, "acme", projects=("other",)).on()) == {ANALYSIS, "theirs"}
    assert Frontend(services, None, environment="nowhere").on() == {}
    keep(services, feature(GENERATION), environment="staging")
    assert set(Frontend(services, None, environment="staging").on()) == {GENERATION}, (
        "a gate is in production"
    )


def test_the_time_and_the_environment_are_ours(services: SimpleNamespace) -> None:
    later = constraint("currentTime", "DATE_AFTER", value="2030-01-01T00:00:00Z")
    there = constraint("environment", "IN", "staging")
    keep(services, feature("later", rollout(100, "tenantId", constraints=[later])))
    keep(services, feature("there", rollout(100, "tenantId", constraints=[there])))
    acme = Frontend(services, "acme")
    assert set(acme.on(currentTime="2031-01-01T00:00:00Z", environment="staging")) == {ANALYSIS}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_has_the_answer_is_told_so(services: SimpleNamespace, method: str) -> None:
    keep(services, feature("a"))
    page = Frontend(services)
    ask = page.get if method == "GET" else lambda **headers: page.post({}, **headers)
    first = ask()
    assert first.headers["ETag"].startswith('W/"')
    assert first.headers["Cache-Control"] == "no-cache"
    again = ask(**{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    services.grants.add(ALICE, "acme", GENERATION, "beta")
    services.state.refresh()
    assert ask(**{"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_a_grant_that_ends_ends_without_any_change(services: SimpleNamespace, clock: Any) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "trial", expires_at=int(clock()) + 3)
    acme = Frontend(services, "acme")
    first = acme.get()
    assert GENERATION in acme.on()
    clock.advance(4)
    assert acme.get(**{"If-None-Match": first.headers["ETag"]}).status_code == 200
    assert GENERATION not in acme.on()


def test_pages_of_any_origin_may_ask(services: SimpleNamespace) -> None:
    page = Frontend(services)
    for path in ("/api/frontend", "/api/frontend/client/metrics"):
        wanted = "authorization,unleash-sdk,if-none-match"
        preflight = page.client.options(
            path, headers={"Origin": "https://shop.example", "Access-Control-Request-Headers": wanted}
        )
        assert (preflight.status_code, preflight.data) == (204, b"")
        assert preflight.headers["Access-Control-Allow-Headers"] == wanted
        assert preflight.headers["Access-Control-Max-Age"] == "86400"
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    for answer in (page.get(), page.client.get("/api/frontend")):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_registration_and_metrics_are_taken_and_counted(services: SimpleNamespace, clock: Any) -> None:
    keep(services, feature("a"))
    page = Frontend(services)
    registered = page.client.post(
        "/api/frontend/client/register", json={"appName": "web"}, headers=page.headers
    )
    assert (registered.status_code, registered.data) == (200, b"OK")
    at = "2026-11-22T12:00:00.123456789Z"
    bucket = {"start": at, "stop": at, "toggles": {"a": {"yes": 2, "no": 1, "variants": {}}}}
    counted = page.client.post(
        "/api/frontend/client/metrics", json={"appName": "web", "bucket": bucket}, headers=page.headers
    )
    assert (counted.status_code, counted.data) == (200, b"OK")
    assert services.flag_metrics.flush() == 1


@pytest.mark.parametrize("authorization", ["", "nonsense", "*:production." + "0" * 64, "Bearer "])
def test_without_a_frontend_token_nothing_is_told(services: SimpleNamespace, authorization: str) -> None:
    answer = (
        application(services).test_client().get("/api/frontend", headers={"Authorization": authorization})
    )
    assert answer.status_code == 401
    assert answer.get_json()["message"]


def test_a_client_token_and_a_suspended_tenants_do_not_open_it(services: SimpleNamespace) -> None:
    page = Frontend(services, "acme")
    client = services.flag_tokens.add(ALICE, NewFlagToken("server", "client"), "test").secret
    assert page.get(Authorization=client).status_code == 401
    services.tenants.set_state(ALICE, "acme", "suspended", "unpaid")
    services.state.refresh()
    assert page.get().status_code == 403


@pytest.mark.parametrize("context", [[], "me", {"properties": "x"}, {"properties": [1]}])
def test_a_context_that_is_none_is_refused(services: SimpleNamespace, context: Any) -> None:
    answer = Frontend(services).post(context)
    assert answer.status_code == 400
    assert answer.get_json()["param"].startswith("context")


def test_no_answer_names_another_tenant_or_a_rule(services: SimpleNamespace) -> None:
    services.tenants.change(ALICE, "globex", {"attributes": {"region": "mars"}}, "test")
    secret = rollout(100, "tenantId", constraints=[constraint("tenantId", "IN", "globex", "acme")])
    keep(services, feature("shared", secret))
    services.grants.add(ALICE, "globex", GENERATION, "secret deal")
    told = json.dumps(Frontend(services, "acme").get("?tenantId=globex").get_json())
    assert "shared" in told
    assert not any(word in told for word in ("globex", "mars", "deal", "partnerBucket", "tenantId"))
