"""GET /api/v1/me"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, Door, application, wire

from rollout.core.tenants import NewKey
from rollout.db.engine import Database


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


def test_a_key_learns_whose_it_is_and_what_it_may_do(services: SimpleNamespace, clock: Any) -> None:
    issued = services.keys.add(
        ALICE, "acme", NewKey("server", "test", ("read", "analyze"), int(clock()) + 60), "seed"
    )
    status, me, _ = Door(application(services).test_client(), "/api/v1", issued.secret).get("/me")
    assert status == 200
    assert me == {
        "tenant": {
            "id": "acme",
            "name": "Acme Studios",
            "tz": "Asia/Jakarta",
            "state": "active",
            "attributes": {},
            "vendors": None,
            "retired_models": "follow",
            "thinking_budgets": "map",
        },
        "key": {
            "id": issued.key.id,
            "name": "server",
            "mode": "test",
            "prefix": issued.secret[:12],
            "scopes": ["analyze", "read"],
            "expires_at": "2026-11-22T12:01:00Z",
        },
    }


def test_a_key_that_ended_learns_why(services: SimpleNamespace, clock: Any) -> None:
    issued = services.keys.add(ALICE, "acme", NewKey("server", expires_at=int(clock()) + 60), "seed")
    door = Door(application(services).test_client(), "/api/v1", issued.secret)
    clock.advance(60)
    status, problem, _ = door.get("/me")
    assert (status, problem["code"]) == (401, "invalid_api_key")
    assert "has expired" in problem["message"]
