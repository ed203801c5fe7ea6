"""/admin/api/v1/tokens"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import Door, admin_door, application, wire

from rollout.db.engine import Database


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services)


def test_a_token_is_made_opens_the_api_and_is_revoked(services: SimpleNamespace, door: Door) -> None:
    status, made, headers = door.post(
        "/tokens", {"name": "carol", "role": "viewer", "reason": "new colleague"}
    )
    assert (status, headers["Cache-Control"]) == (201, "no-store")
    carol = Door(application(services).test_client(), "/admin/api/v1", made["secret"])
    assert carol.get("/tenants")[0] == 200
    _, shown, headers = door.get(f"/tokens/{made['id']}")
    assert (shown["name"], shown["role"], "secret" in shown, headers["ETag"]) == (
        "carol",
        "viewer",
        False,
        '"1"',
    )
    assert [token["name"] for token in door.get("/tokens")[1]["data"]] == ["alice", "carol"]

    status, revoked, headers = door.post(f"/tokens/{made['id']}/revoke", {"reason": "left us"})
    assert (status, revoked["revoked_at"], headers["ETag"]) == (200, "2026-11-22T12:00:00Z", '"2"')
    status, problem, _ = carol.get("/tenants")
    assert (status, problem["code"]) == (401, "invalid_api_key")


def test_what_somebody_does_with_a_token_stands_under_its_name_in_the_audit_log(
    services: SimpleNamespace,
) -> None:
    carol = admin_door(services, "carol", "editor")
    _, _, headers = carol.post("/tenants/acme/suspend", {"reason": "unpaid"})
    (row, *_) = services.audit.page(subject="acme", limit=9)
    assert (row["actor"], row["reason"], row["request_id"]) == (
        "token:carol",
        "unpaid",
        headers["x-request-id"],
    )


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_only_an_admin_sees_and_makes_tokens(services: SimpleNamespace, role: Any) -> None:
    door = admin_door(services, "erin", role)
    for status, problem, _ in (
        door.get("/tokens"),
        door.post("/tokens", {"name": "m", "role": "admin", "reason": "me"}),
    ):
        assert (status, problem["code"]) == (403, "permission_denied")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "carol", "role": "root", "reason": "r"}, "role"),
        ({"name": "Carol Doe", "role": "viewer", "reason": "r"}, "name"),
        (
            {"name": "carol", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z", "reason": "r"},
            "expires_at",
        ),
        ({"name": "carol", "role": "viewer"}, "reason"),
    ],
)
def test_a_wrong_body_is_refused_by_field(door: Door, body: Any, param: str) -> None:
    status, problem, _ = door.post("/tokens", body)
    assert (status, problem["param"]) == (400, param)


def test_a_name_that_is_taken_is_a_conflict(door: Door) -> None:
    status, problem, _ = door.post("/tokens", {"name": "alice", "role": "viewer", "reason": "me too"})
    assert (status, problem["code"], problem["param"]) == (409, "conflict", "name")


def test_a_request_without_or_with_a_foreign_key_is_told_what_to_send(services: SimpleNamespace) -> None:
    client = application(services).test_client()
    for headers in (
        {},
        {"Authorization": "Bearer sk-something"},
        {"x-api-key": "rk_live_x"},
        {"Authorization": "Basic YTpi"},
    ):
        answer = client.get("/admin/api/v1/tokens", headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (401, "invalid_api_key")
