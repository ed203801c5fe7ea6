"""/admin/sign-in, links, /admin/sign-out: the way in, and what waits until one is in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from console import PASSWORD, SEED, Visitor

from rollout.app import create_app
from rollout.core.sessions import FAILURES_AN_EMAIL, IDLE_SECONDS
from rollout.core.tokens import Role
from rollout.core.users import NewUser, User
from rollout.db.tables import session
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]
EMAIL = "carol@example.com"


@pytest.fixture
def carol(wired: Services) -> User:
    return wired.users.add(SEED, NewUser(EMAIL, "Carol", "admin"), "test", password=PASSWORD)


@pytest.fixture
def stranger(wired: Services, carol: User) -> Visitor:
    """Somebody who is not signed in."""
    return Visitor(create_app(wired), wired)


def sign_in(visitor: Visitor, path: str = "/admin/sign-in", **typed: Any) -> Any:
    visitor.get(path)
    return visitor.send("sign-in", **{"email": EMAIL, "password": PASSWORD, **typed})


def link_of(services: Services, user: User) -> str:
    return f"/admin/sign-in/link?secret={services.users.link(SEED, user.id, 'test')}"


def expire(services: Services) -> None:
    """All sessions have idled too long."""
    with services.database.write() as tx:
        tx.execute(session.update().values(seen_at=session.c.seen_at - IDLE_SECONDS))


def test_the_session_stands_in_a_cookie_that_scripts_and_other_sites_do_not_get(
    wired: Services, stranger: Visitor
) -> None:
    answer = sign_in(stranger)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin")
    (cookie,) = [one for one in answer.headers.getlist("Set-Cookie") if one.startswith("phasegate_session=")]
    assert {"HttpOnly", "Path=/admin", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    secret = cookie.partition("=")[2].partition(";")[0]
    assert wired.sessions.identify(secret) is not None
    assert stranger.get("/admin/me").status_code == 200


def test_on_https_the_cookie_is_sent_on_https_alone(stranger: Visitor) -> None:
    base = {"base_url": "https://localhost"}
    stranger.client.get("/admin/sign-in", **base)
    answer = stranger.client.post("/admin/sign-in", data={"email": EMAIL, "password": PASSWORD}, **base)
    assert all("Secure" in cookie for cookie in answer.headers.getlist("Set-Cookie"))


@pytest.mark.parametrize("path", ["/admin/me", "/admin/users", "/admin/users/usr_1?lang=id"])
def test_who_is_not_signed_in_is_led_to_the_entrance_and_from_there_back(
    stranger: Visitor, path: str
) -> None:
    assert stranger.get(path).status_code == 303
    stranger.follow()
    assert stranger.send("sign-in", email=EMAIL, password=PASSWORD).headers["Location"] == path


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/\\evil.example", "/admin\\@evil.example", "javascript:alert(1)",
     "/adminx", "/admin/\r\nSet-Cookie: a=b", "/admin.evil.example", "/admin@evil.example", "/v1/models",
     "/admin/sign-in?next=/admin", "/admin/sign-out", ""],
)  # fmt: skip
def test_nobody_is_led_out_of_the_console(stranger: Visitor, target: str) -> None:
    stranger.get("/admin/sign-in")
    typed = {"email": EMAIL, "password": PASSWORD, "next": target}
    assert stranger.client.post("/admin/sign-in", data=typed).headers["Location"] == "/admin"
    answer = stranger.client.get("/admin/sign-in", query_string={"next": target})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin")


def test_who_is_signed_in_already_goes_on(stranger: Visitor) -> None:
    sign_in(stranger)
    answer = stranger.get("/admin/sign-in?next=/admin/users?limit=9")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/users?limit=9")


@pytest.mark.parametrize(
    "typed", [{"password": "not the password"}, {"email": "nobody@example.com"}, {"email": "no email"}]
)
def test_a_sign_in_that_fails_tells_one_thing_and_keeps_what_is_no_secret(
    stranger: Visitor, typed: dict[str, str]
) -> None:
    answer = sign_in(stranger, "/admin/sign-in?next=/admin/me", **typed)
    assert answer.status_code == 400
    assert "Email or password is wrong, or the account is disabled." in stranger.text
    (form,) = stranger.forms()
    assert form.fields["email"] == typed.get("email", EMAIL)
    assert form.fields["password"] == ""
    assert form.fields["next"] == "/admin/me"
    assert PASSWORD not in answer.text
    assert "phasegate_session" not in str(answer.headers)


def test_too_many_failures_are_told_when_to_come_back(stranger: Visitor) -> None:
    for _ in range(FAILURES_AN_EMAIL):
        sign_in(stranger, password="not the password")
    answer = sign_in(stranger)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert "Too many sign-ins failed." in stranger.text
    assert stranger.forms()[0].fields["email"] == EMAIL


def test_a_browser_without_cookies_is_told_so(wired: Services, stranger: Visitor, carol: User) -> None:
    stranger.client = stranger.app.test_client(use_cookies=False)
    answer = sign_in(stranger)
    assert answer.status_code == 400
    assert "Your browser keeps no cookies" in stranger.text
    link = link_of(wired, carol)
    stranger.get(link)
    assert stranger.send("sign-in-link").status_code == 400
    assert "Your browser keeps no cookies" in stranger.text
    assert wired.sessions.link_owner(link.partition("secret=")[2]) == carol, "the link was used up"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/admin/sign-in", "/admin/sign-in/link", "/admin/sign-out", "/admin/me/password"]
)
def test_another_site_can_neither_sign_in_nor_send_a_form(
    stranger: Visitor, path: str, headers: dict[str, str]
) -> None:
    sign_in(stranger)
    answer = stranger.client.post(path, data={"email": EMAIL, "password": PASSWORD}, headers=headers)
    assert answer.status_code == 403
    assert stranger.get("/admin/me").status_code == 200


def test_the_entrance_speaks_the_language_of_the_browser_or_of_the_address(stranger: Visitor) -> None:
    assert stranger.get("/admin/sign-in", Accept_Language="id").headers["Content-Language"] == "id"
    assert stranger.get("/admin/sign-in?lang=id").headers["Content-Language"] == "id"
    assert stranger.get("/admin/sign-in?lang=xx").headers["Content-Language"] == "en"
    refused = sign_in(stranger, "/admin/sign-in?lang=id", password="not the password")
    assert refused.headers["Content-Language"] == "id"


def test_a_link_shows_whom_it_signs_in_and_signs_in_by_a_button_once(
    wired: Services, stranger: Visitor, carol: User
) -> None:
    link = link_of(wired, carol)
    for _ in range(2):
        stranger.client.head(link)
        assert stranger.get(link).status_code == 200
        assert "Sign in as Carol" in stranger.text
    answer = stranger.send("sign-in-link")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin")
    assert stranger.get("/admin/me").status_code == 200
    assert stranger.get(link).headers["Location"] == "/admin", "who is in goes on, though the link is used"
    other = Visitor(stranger.app, wired)
    assert other.get(link).status_code == 404
    assert "used, has expired, or never was" in other.text
    assert other.get("/admin/sign-in/link?secret=forged").status_code == 404
    assert other.get("/admin/sign-in/link").status_code == 404


def test_who_comes_by_link_without_a_password_is_led_to_choose_one(
    wired: Services, stranger: Visitor
) -> None:
    dave = wired.users.add(SEED, NewUser("dave@example.com", "Dave", "viewer"), "test")
    stranger.get(link_of(wired, dave))
    assert stranger.send("sign-in-link").headers["Location"] == "/admin/me"
    assert stranger.follow().status_code == 200
    assert "You have no password yet" in stranger.text
    assert stranger.send("password", password="a password of my own").status_code == 303
    assert wired.sessions.sign_in("dave@example.com", "a password of my own", "").user.id == dave.id


def test_signing_out_ends_the_session_not_only_the_cookie(wired: Services, stranger: Visitor) -> None:
    secret = sign_in(stranger).headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    stranger.get("/admin/me")
    answer = stranger.send("sign-out")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/sign-in")
    assert wired.sessions.identify(secret) is None
    assert stranger.get("/admin/me").status_code == 303
    assert stranger.client.post("/admin/sign-out").status_code == 303


def test_a_form_without_the_sessions_token_or_with_anothers_changes_nothing(
    wired: Services, visit: Visit, carol: User
) -> None:
    ana, ben = visit("admin"), Visitor(create_app(wired), wired)
    sign_in(ben)
    ben.get(f"/admin/users/{carol.id}")
    theirs = next(form.fields["_token"] for form in ben.forms() if form.name == "user")
    for token in (None, "", "x", "é", theirs):
        ana.get(f"/admin/users/{carol.id}")
        assert ana.send("user", role="viewer", reason="r", _token=token).status_code == 403
        assert "does not belong to your session" in ana.text
    assert wired.users.get(carol.id) == carol


def test_a_form_whose_session_ended_is_kept_and_sent_after_one_more_click(
    wired: Services, stranger: Visitor, carol: User
) -> None:
    sign_in(stranger)
    stranger.get(f"/admin/users/{carol.id}")
    expire(wired)
    answer = stranger.send("user", name="Carol <b>Doe</b>", reason="she married")
    assert answer.status_code == 401
    assert "Your session has ended, and nothing was saved." in stranger.text
    assert stranger.send("sign-in", email=EMAIL, password="wrong").status_code == 400
    answer = stranger.send("sign-in", email=EMAIL, password=PASSWORD)
    assert answer.status_code == 200
    assert "Carol &lt;b&gt;Doe&lt;/b&gt;" in answer.text
    assert "she married" in stranger.text
    assert wired.users.get(carol.id) == carol, "it was sent by itself"
    assert stranger.send("user").status_code == 303
    changed = wired.users.get(carol.id)
    assert (changed.name, changed.version) == ("Carol <b>Doe</b>", 2)


def test_what_was_kept_is_refused_like_any_form_when_it_is_stale(
    wired: Services, stranger: Visitor, carol: User
) -> None:
    sign_in(stranger)
    stranger.get(f"/admin/users/{carol.id}")
    expire(wired)
    stranger.send("user", name="Caroline", reason="as she likes")
    wired.users.change(SEED, carol.id, {"name": "Carola"}, "meanwhile")
    stranger.send("sign-in", email=EMAIL, password=PASSWORD)
    assert stranger.send("user").status_code == 409
    assert wired.users.get(carol.id).name == "Carola"


def test_passwords_are_not_kept(wired: Services, stranger: Visitor) -> None:
    sign_in(stranger)
    stranger.get("/admin/me")
    expire(wired)
    answer = stranger.send("password", current=PASSWORD, password="my next password")
    assert answer.status_code == 401
    assert "my next password" not in answer.text
    assert PASSWORD not in answer.text


def test_a_panel_whose_session_ended_sends_the_whole_page_to_the_entrance(stranger: Visitor) -> None:
    asked = {"HX_Request": "true", "HX_Current_URL": "http://localhost/admin/users?limit=9#top"}
    answer = stranger.get("/admin/users", **asked)
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/admin/sign-in?next=/admin/users?limit%3D9"
    assert answer.text == ""


def test_a_disabled_users_session_dies_at_once(
    wired: Services, stranger: Visitor, visit: Visit, carol: User
) -> None:
    sign_in(stranger)
    ana = visit("admin")
    ana.get(f"/admin/users/{carol.id}")
    assert ana.send("disable", reason="left us").status_code == 303
    assert stranger.get("/admin/me").status_code == 303
    assert sign_in(stranger).status_code == 400
