"""/admin/me: a person's own settings, password and sessions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from console import PASSWORD, Visitor

from rollout.core.sessions import FAILURES_AN_EMAIL
from rollout.core.tokens import Role
from rollout.core.users import User
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]
NEW = "my next password"


def me(services: Services, role: Role = "viewer") -> User:
    return services.users.by_email(f"{role}@example.com")


def test_preferences_are_kept_and_the_page_follows_them(wired: Services, visit: Visit) -> None:
    page = visit("viewer")
    page.get("/admin/me")
    wanted = {"language": "id", "tz": "Asia/Kathmandu", "theme": "dark", "shortcuts": "off"}
    assert page.send("preferences", **wanted, next="/admin/me").headers["Location"] == "/admin/me"
    kept = me(wired)
    assert (kept.language, kept.tz, kept.theme, kept.shortcuts) == ("id", "Asia/Kathmandu", "dark", False)
    html = page.follow().text
    assert '<html lang="id" data-theme="dark">' in html
    assert page.send("preferences", language="", tz="", shortcuts="on", next="/admin/me").status_code == 303
    assert (me(wired).language, me(wired).tz, me(wired).shortcuts) == (None, None, True)


def test_the_form_in_the_frame_leads_back_to_its_page(visit: Visit) -> None:
    page = visit("admin")
    page.get("/admin/users?limit=9")
    assert page.send("preferences", theme="light").headers["Location"] == "/admin/users?limit=9"
    page.get("/admin/users")
    assert page.send("preferences", next="https://evil.example").headers["Location"] == "/admin"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"tz": "Mars/Olympus"}, "There is no time zone"),
        ({"language": "xx"}, "Input should be"),
        ({"theme": "pink"}, "Input should be"),
        ({"shortcuts": "perhaps"}, "Input should be"),
    ],
)
def test_a_preference_that_cannot_be_is_refused_and_nothing_is_kept(
    wired: Services, visit: Visit, typed: dict[str, str], told: str
) -> None:
    page = visit("viewer")
    before = me(wired)
    page.get("/admin/me")
    assert page.send("preferences", **typed).status_code == 400
    assert told in page.text
    assert 'aria-invalid="true"' in page.page.text
    assert me(wired) == before


def test_a_new_password_needs_the_current_one_and_ends_other_sessions(wired: Services, visit: Visit) -> None:
    page = visit("viewer")
    elsewhere = wired.sessions.sign_in(me(wired).email, PASSWORD, "::1")
    page.get("/admin/me")
    assert page.send("password", current="a wrong password", password=NEW).status_code == 400
    assert "This is not your password." in page.text
    assert page.send("password", current=PASSWORD, password="short").status_code == 400
    assert "12 to 200 characters" in page.text
    assert wired.sessions.identify(elsewhere.secret) is not None
    assert page.send("password", current=PASSWORD, password=NEW).status_code == 303
    assert "Password set" in (page.follow() and page.text)
    assert wired.sessions.identify(elsewhere.secret) is None
    assert wired.sessions.sign_in(me(wired).email, NEW, "::1").user.id == me(wired).id
    (row,) = wired.audit.page(subject=me(wired).id, limit=1)
    assert (row["action"], row["actor"]) == ("user.password_set", "user:viewer@example.com")


def test_guessing_the_current_password_is_throttled(visit: Visit) -> None:
    page = visit("viewer")
    page.get("/admin/me")
    for _ in range(FAILURES_AN_EMAIL):
        assert page.send("password", current="a wrong password", password=NEW).status_code == 400
    assert page.send("password", current=PASSWORD, password=NEW).status_code == 429
    assert "Too many sign-ins failed." in page.text


def test_signing_out_everywhere_ends_this_session_too(wired: Services, visit: Visit) -> None:
    page = visit("viewer")
    elsewhere = wired.sessions.sign_in(me(wired).email, PASSWORD, "::1")
    page.get("/admin/me")
    assert page.send("sign-out-everywhere").headers["Location"] == "/admin/sign-in"
    assert wired.sessions.identify(elsewhere.secret) is None
    assert page.get("/admin/me").status_code == 303
