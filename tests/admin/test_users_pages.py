"""/admin/users: who may be at the console, by those who may say so."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from console import SEED, Visitor

from rollout.core.tokens import Role
from rollout.core.users import NewUser, User
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]


@pytest.fixture
def carol(wired: Services) -> User:
    return wired.users.add(SEED, NewUser("carol@example.com", "Carol", "viewer"), "test")


def test_a_user_is_added_and_the_link_shown_once(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    page.get("/admin/users")
    answer = page.send(
        "add-user", email="Dave@example.com", name="Dave", role="editor", reason="new colleague"
    )
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    (secret,) = re.findall(r"http://127\.0\.0\.1:8080/admin/sign-in/link\?secret=([\w-]{43})<", answer.text)
    dave = wired.users.by_email("dave@example.com")
    assert wired.sessions.link_owner(secret) == dave
    (linked, added) = wired.audit.page(subject=dave.id, limit=9)
    assert {linked["actor"], added["actor"]} == {"user:admin@example.com"}
    assert {linked["reason"], added["reason"]} == {"new colleague"}
    page.get("/admin/users")
    assert "dave@example.com editor active link" in page.text
    assert secret not in page.page.text


@pytest.mark.parametrize(
    ("typed", "status", "told"),
    [
        ({"email": "no email"}, 400, "An email looks like"),
        ({"email": "carol@example.com"}, 409, "There is a user"),
        ({"name": ""}, 400, "required"),
        ({"role": "root"}, 400, "Input should be"),
        ({"reason": ""}, 400, "A change needs a reason."),
    ],
)
def test_a_user_who_cannot_be_is_refused_with_what_was_typed(
    wired: Services, visit: Visit, carol: User, typed: dict[str, str], status: int, told: str
) -> None:
    page = visit("admin")
    page.get("/admin/users")
    sent = {"email": "dave@example.com", "name": "Dave", "role": "viewer", "reason": "new", **typed}
    assert page.send("add-user", **sent).status_code == status
    assert told in page.text
    kept = next(form.fields for form in page.forms() if form.name == "add-user")
    assert kept["email"] == sent["email"]
    assert len(wired.users.page(after=None, limit=9)) == 2


def test_name_and_role_are_changed_and_a_stale_form_changes_nothing(
    wired: Services, visit: Visit, carol: User
) -> None:
    page, path = visit("admin"), f"/admin/users/{carol.id}"
    page.get(path)
    assert page.send("user", role="editor", reason="more work").status_code == 303
    page.follow()
    assert "User changed" in page.text
    page.get(path)
    wired.users.change(SEED, carol.id, {"name": "Carola"}, "meanwhile")
    assert page.send("user", name="Caroline", reason="as she likes").status_code == 409
    assert "now Carola, you wanted Caroline" in page.text
    assert wired.users.get(carol.id).name == "Carola"


def test_a_user_is_disabled_enabled_and_gets_a_new_link(wired: Services, visit: Visit, carol: User) -> None:
    page, path = visit("admin"), f"/admin/users/{carol.id}"
    page.get(path)
    assert page.send("disable", reason="left us").status_code == 303
    page.get(path)
    assert "disabled" in page.text
    assert {"disable", "link"}.isdisjoint(form.name for form in page.forms())
    assert page.send("enable", reason="came back").status_code == 303
    page.get(path)
    assert "sign-in/link?secret=" in page.send("link", reason="forgot it").text


def test_the_last_admin_is_told_why_they_stay(wired: Services, visit: Visit) -> None:
    page = visit("admin")
    me = wired.users.by_email("admin@example.com")
    page.get(f"/admin/users/{me.id}")
    assert page.send("disable", reason="tidy up").status_code == 409
    assert "last admin who can sign in" in page.text
    assert wired.users.get(me.id) == me


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_who_is_no_admin_sees_a_clear_page_and_changes_nothing(
    wired: Services, visit: Visit, carol: User, role: Any
) -> None:
    page, path = visit(role), f"/admin/users/{carol.id}"
    for asked in ("/admin/users", path):
        assert page.get(asked).status_code == 403
        assert "Ask an admin to do it" in page.text
        assert 'href="/admin/users"' not in page.page.text
    page.get("/admin/me")
    token = page.forms()[-1].fields["_token"]
    for verb in ("", "/disable", "/link"):
        sent = {"_token": token, "name": "X", "role": "admin", "reason": "me"}
        assert page.client.post(path + verb, data=sent).status_code == 403
    assert wired.users.get(carol.id) == carol


def test_who_is_not_there_is_a_clear_page(visit: Visit) -> None:
    page = visit("admin")
    assert page.get("/admin/users/usr_none").status_code == 404
    assert "There is no user" in page.text


def test_the_list_goes_on_and_is_taken_away_whole(wired: Services, visit: Visit, carol: User) -> None:
    page = visit("admin")
    assert "Carol" in (page.get("/admin/users?limit=1") and page.text)
    assert "admin@example.com" in page.get(_next(page)).text
    rows = list(csv.DictReader(page.get("/admin/users?format=csv&limit=1").text.splitlines()))
    assert [row["email"] for row in rows] == ["carol@example.com", "admin@example.com"]
    found = SimpleNamespace(**page.get("/admin/users?format=json").json[0])
    assert (found.name, found.has_password) == ("Carol", False)


def _next(page: Visitor) -> str:
    (href,) = re.findall(r'<a rel="next" href="([^"]+)"', page.page.text)
    return str(href).replace("&amp;", "&")


def test_a_name_with_a_script_is_text(wired: Services, visit: Visit) -> None:
    wired.users.add(SEED, NewUser("eve@example.com", "<script>alert(1)</script>", "viewer"), "test")
    page = visit("admin")
    assert "<script>alert" not in page.get("/admin/users").text
    assert "&lt;script&gt;alert" in page.page.text
