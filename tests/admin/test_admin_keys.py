"""/admin/api/v1/tenants/{tenant}/keys"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import Door, admin_door, wire

from rollout.db.engine import Database

KEYS = "/tenants/acme/keys"


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services, role="editor")


def test_a_key_is_made_shown_listed_rotated_and_revoked(services: SimpleNamespace, door: Door) -> None:
    status, made, headers = door.post(KEYS, {"name": "server", "scopes": ["read"], "reason": "first key"})
    assert (status, headers["ETag"], headers["Cache-Control"]) == (201, '"1"', "no-store")
    secret = made.pop("secret")
    assert services.state.identify(secret).key.id == made["id"]
    assert made == {
        "id": made["id"],
        "tenant": "acme",
        "name": "server",
        "mode": "live",
        "prefix": secret[:12],
        "scopes": ["read"],
        "created_at": "2026-11-22T12:00:00Z",
        "expires_at": None,
        "revoked_at": None,
    }
    assert door.get(f"{KEYS}/{made['id']}")[1] == made
    assert door.get(KEYS)[1] == {"data": [made], "next_cursor": None}

    status, rotated, _ = door.post(f"{KEYS}/{made['id']}/rotate", {"overlap_seconds": 60, "reason": "yearly"})
    assert (status, rotated["replaces"]["expires_at"]) == (201, "2026-11-22T12:01:00Z")
    assert services.state.identify(rotated["secret"]).key.id == rotated["id"]

    status, revoked, headers = door.post(f"{KEYS}/{rotated['id']}/revoke", {"reason": "it leaked"})
    assert (status, revoked["revoked_at"], headers["ETag"]) == (200, "2026-11-22T12:00:00Z", '"2"')


def test_keys_are_listed_page_by_page(door: Door) -> None:
    for name in ("a", "b", "c"):
        door.post(KEYS, {"name": name, "reason": "seed"})
    _, first, _ = door.get(f"{KEYS}?limit=2")
    _, second, _ = door.get(f"{KEYS}?limit=2&cursor={first['next_cursor']}")
    assert [key["name"] for key in first["data"] + second["data"]] == ["a", "b", "c"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"reason": "seed"}, "name"),
        ({"name": "", "reason": "seed"}, "name"),
        ({"name": "k", "scopes": ["root"], "reason": "seed"}, "scopes.0"),
        ({"name": "k", "scopes": [], "reason": "seed"}, "scopes"),
        ({"name": "k", "mode": "prod", "reason": "seed"}, "mode"),
        ({"name": "k", "expires_at": "2020-01-01T00:00:00Z", "reason": "seed"}, "expires_at"),
        ({"name": "k", "expires_at": "2027-01-01T00:00:00", "reason": "seed"}, "expires_at"),
        ({"name": "k", "expires_at": "tomorrow", "reason": "seed"}, "expires_at"),
        ({"name": "k", "scope": ["read"], "reason": "seed"}, "scope"),
        ({"name": "k"}, "reason"),
        (["k"], "body"),
    ],
)
def test_a_wrong_body_is_refused_by_field_and_makes_no_key(door: Door, body: Any, param: str) -> None:
    status, problem, _ = door.post(KEYS, body)
    assert (status, problem["code"], problem["param"]) == (400, "invalid_request", param)
    assert door.get(KEYS)[1]["data"] == []


def test_a_stale_if_match_revokes_nothing_and_shows_the_key_as_it_is(door: Door) -> None:
    _, made, _ = door.post(KEYS, {"name": "server", "reason": "first key"})
    door.post(f"{KEYS}/{made['id']}/rotate", {"reason": "yearly"}, If_Match='"1"')
    status, problem, _ = door.post(f"{KEYS}/{made['id']}/revoke", {"reason": "as I saw it"}, If_Match='"1"')
    assert (status, problem["code"]) == (409, "stale_version")
    assert problem["current"]["expires_at"] == "2026-11-23T12:00:00Z"


def test_keys_of_nobody_are_not_found(door: Door) -> None:
    assert door.get("/tenants/nobody/keys")[0] == 404
    assert door.post("/tenants/nobody/keys", {"name": "k", "reason": "seed"})[0] == 404
    status, problem, _ = door.post(f"{KEYS}/key_none/revoke", {"reason": "no"})
    assert (status, problem["param"]) == (404, "key")


def test_a_viewer_sees_keys_and_makes_none(services: SimpleNamespace) -> None:
    viewer = admin_door(services, "vera", "viewer")
    assert viewer.get(KEYS)[0] == 200
    status, problem, _ = viewer.post(KEYS, {"name": "k", "reason": "seed"})
    assert (status, problem["code"]) == (403, "permission_denied")
