"""/admin/api/v1/users"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, Door, admin_door, wire

from rollout.core.users import NewUser
from rollout.db.engine import Database

CAROL = {"email": "Carol@Example.com", "name": "Carol", "role": "viewer", "reason": "new colleague"}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services)


def test_a_user_is_added_shown_changed_disabled_and_enabled(door: Door) -> None:
    status, carol, headers = door.post("/users", CAROL)
    assert (status, headers["ETag"]) == (201, '"1"')
    assert carol == {
        "id": carol["id"],
        "email": "carol@example.com",
        "name": "Carol",
        "role": "viewer",
        "has_password": False,
        "created_at": "2026-11-22T12:00:00Z",
        "disabled_at": None,
    }
    path = f"/users/{carol['id']}"
    assert door.get(path)[1] == carol
    assert door.get("/users")[1]["data"] == [carol]
    status, problem, _ = door.patch(path, {"role": "editor", "reason": "more work"})
    assert (status, problem["code"]) == (428, "precondition_required")
    status, changed, headers = door.patch(path, {"role": "editor", "reason": "more work"}, If_Match='"1"')
    assert (status, changed["role"], headers["ETag"]) == (200, "editor", '"2"')
    status, problem, _ = door.patch(path, {"role": "admin", "reason": "late"}, If_Match='"1"')
    assert (status, problem["code"], problem["current"]["role"]) == (409, "stale_version", "editor")
    status, disabled, _ = door.post(f"{path}/disable", {"reason": "left us"})
    assert (status, disabled["disabled_at"]) == (200, "2026-11-22T12:00:00Z")
    assert door.post(f"{path}/enable", {"reason": "came back"})[1]["disabled_at"] is None


def test_a_password_and_a_link_let_in_and_are_told_once(services: SimpleNamespace, door: Door) -> None:
    carol = door.post("/users", {**CAROL, "password": "correct horse battery"})[1]
    assert carol["has_password"] is True
    status, _, _ = door.post(
        f"/users/{carol['id']}/password", {"password": "another long one", "reason": "lost"}
    )
    assert status == 200
    assert services.sessions.sign_in("carol@example.com", "another long one", "::1").user.id == carol["id"]
    status, link, headers = door.post(f"/users/{carol['id']}/link", {"reason": "forgot it"})
    assert (status, headers["Cache-Control"]) == (201, "no-store")
    address, _, secret = link["url"].partition("?secret=")
    assert address == "http://127.0.0.1:8080/admin/sign-in/link"
    assert services.sessions.sign_in_by_link(secret, "::1").user.id == carol["id"]


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_only_an_admin_sees_and_makes_users(services: SimpleNamespace, role: Any) -> None:
    user = services.users.add(ALICE, NewUser("dave@example.com", "Dave", "viewer"), "test")
    door, path = admin_door(services, "erin", role), f"/users/{user.id}"
    for status, problem, _ in (
        door.get("/users"),
        door.get(path),
        door.post("/users", CAROL),
        door.patch(path, {"role": "admin", "reason": "me"}, If_Match='"1"'),
        *(door.post(f"{path}/{verb}", {"reason": "me"}) for verb in ("disable", "enable", "link")),
        door.post(f"{path}/password", {"password": "correct horse battery", "reason": "me"}),
    ):
        assert (status, problem["code"]) == (403, "permission_denied")
    assert services.users.get(user.id) == user


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"email": "carol"}, "email"),
        ({"email": None}, "email"),
        ({"name": " "}, "name"),
        ({"role": "root"}, "role"),
        ({"password": "short"}, "password"),
        ({"password": "carol@example.com"}, "password"),
        ({"reason": ""}, "reason"),
        ({"password_hash": "x"}, "password_hash"),
    ],
)
def test_a_wrong_body_is_refused_by_field_and_adds_nobody(
    services: SimpleNamespace, door: Door, changed: Any, param: str
) -> None:
    status, problem, _ = door.post("/users", {**CAROL, **changed})
    assert (status, problem["param"]) == (400, param)
    assert services.users.page(after=None, limit=9) == []


def test_an_email_that_is_taken_the_last_admin_and_an_unknown_user_are_refused(door: Door) -> None:
    carol = door.post("/users", {**CAROL, "role": "admin", "password": "correct horse battery"})[1]
    status, problem, _ = door.post("/users", CAROL)
    assert (status, problem["code"], problem["param"]) == (409, "conflict", "email")
    status, problem, _ = door.post(f"/users/{carol['id']}/disable", {"reason": "oops"})
    assert (status, problem["code"]) == (409, "conflict")
    assert "last admin" in problem["detail"]
    for status, problem, _ in (door.get("/users/usr_x"), door.post("/users/usr_x/link", {"reason": "r"})):
        assert (status, problem["code"]) == (404, "not_found")


def test_a_list_goes_on_after_its_cursor(door: Door) -> None:
    for name in ("ana", "ben", "cem"):
        door.post("/users", {**CAROL, "email": f"{name}@example.com", "name": name})
    first = door.get("/users?limit=2")[1]
    assert [user["name"] for user in first["data"]] == ["ana", "ben"]
    rest = door.get(f"/users?limit=2&cursor={first['next_cursor']}")[1]
    assert ([user["name"] for user in rest["data"]], rest["next_cursor"]) == (["cem"], None)
