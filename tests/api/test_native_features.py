"""GET /api/v1/features: what a partner may use, and nothing about anybody else."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, Door, application
from phases import wire_phases

from rollout.api.native import features
from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.steps import Advance
from rollout.core.tenants import NewKey
from rollout.db.engine import Database


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


def door_of(services: SimpleNamespace, tenant: str, *, scopes: tuple[Any, ...] = ("read",)) -> Door:
    app = application(services)
    if "features" not in app.blueprints:
        app.register_blueprint(features.routes)
    secret = services.keys.add(ALICE, tenant, NewKey("a key", scopes=scopes), "test").secret
    services.state.refresh()
    return Door(app.test_client(), "/api/v1", secret)


def test_both_features_are_listed_with_their_reasons(services: SimpleNamespace) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "partner")
    status, listed, _ = door_of(services, "acme").get("/features")
    assert status == 200
    assert listed["next_cursor"] is None
    reasons = [(row["feature"], row["enabled"], row["reason"]) for row in listed["data"]]
    assert reasons == [(GENERATION, True, "granted"), (ANALYSIS, True, "ga")]


def test_who_is_out_learns_how_to_ask(services: SimpleNamespace) -> None:
    status, told, _ = door_of(services, "globex").get(f"/features/{GENERATION}")
    assert (status, told["enabled"], told["reason"]) == (200, False, "not_granted")
    assert "/api/v1/access-requests" in told["how_to_enable"]


def test_it_needs_a_key_that_may_read(services: SimpleNamespace) -> None:
    assert door_of(services, "acme", scopes=("generate",)).get("/features")[0] == 403
    assert Door(application(services).test_client(), "/api/v1", "").get("/me")[0] == 401


def test_there_is_no_third_feature(services: SimpleNamespace) -> None:
    assert door_of(services, "acme").get("/features/image-painting")[0] == 404


def test_no_answer_names_another_tenant_a_share_or_a_reason_of_the_house(services: SimpleNamespace) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "secret deal with acme")
    services.change_requests.submit(ALICE, GENERATION, Advance("percentage"), "ready")
    door = door_of(services, "globex")
    told = [door.get(f"/features/{GENERATION}")[1]]
    services.features.kill(ALICE, GENERATION, "acme complained", tenant="globex")
    services.state.refresh()
    told.append(door.get(f"/features/{GENERATION}")[1])
    services.features.kill(ALICE, GENERATION, "acme complained again")
    services.state.refresh()
    told.append(door.get(f"/features/{GENERATION}")[1])
    words = json.dumps(told)
    assert [row["reason"] for row in told][1:] == ["tenant_halted", "killed"]
    assert not any(secret in words for secret in ("acme", "1000", "10 %", "bucket", "alice", "complained"))
