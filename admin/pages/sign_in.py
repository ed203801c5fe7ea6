"""/admin/sign-in, /admin/sign-in/link, /admin/sign-out"""

from __future__ import annotations

from flask import Blueprint, Response, after_this_request, redirect, request

from rollout.errors import NotFound
from rollout.services.sessions import Opened
from rollout.web.operation import Answer, Shape, operation
from rollout.web.pages import page
from rollout.web.wired import services

from .auth import anyone, check_form_token, check_same_origin, current_session, enter
from .entrance import COOKIE, HOME, Unsent, check_cookies, entrance, local, probe, set_cookie
from .forms import attempt, read, refused
from .queries import PageView
from .room import room

routes = Blueprint("sign_in", __name__)


class EntranceView(PageView):
    next: str | None = None


class LinkView(PageView):
    secret: str = ""


class SignInForm(Shape):
    """`action` and `fields` are of a form that waits to be sent."""

    email: str
    password: str
    next: str | None = None
    action: str = ""
    fields: str = ""


class LinkForm(Shape):
    secret: str


@routes.get("/sign-in")
@operation("The sign-in page", auth=anyone, query=EntranceView)
def show_sign_in(query: EntranceView) -> Answer:
    if enter(request.cookies.get(COOKIE, "")):
        return _go(local(query.next))
    return entrance(next_page=query.next or HOME)


@routes.post("/sign-in")
@operation("Sign in by email and password", auth=anyone)
def sign_in() -> Answer:
    check_same_origin()

    def act() -> None:
        check_cookies()
        form = read(SignInForm)
        _begin(services().sessions.sign_in(form.email, form.password, _address()))

    return attempt(act, then=_onward, again=_entrance_again)


@routes.get("/sign-in/link")
@operation(
    "Whom a one-time link signs in; changes nothing, since mail scanners follow links",
    auth=anyone,
    query=LinkView,
)
def show_link(query: LinkView) -> Answer:
    try:
        owner = services().sessions.link_owner(query.secret)
    except NotFound:
        if enter(request.cookies.get(COOKIE, "")):
            return _go(HOME)
        raise
    response = page("console/sign_in_link.html", owner=owner, secret=query.secret)
    probe(response)
    return response


@routes.post("/sign-in/link")
@operation("Sign in by a one-time link", auth=anyone)
def use_link() -> Answer:
    check_same_origin()
    check_cookies()
    opened = services().sessions.sign_in_by_link(read(LinkForm).secret, _address())
    _begin(opened)
    return _go(HOME if opened.user.password_hash else "/admin/me")


@routes.post("/sign-out")
@operation("Sign out", auth=anyone)
def sign_out() -> Answer:
    check_same_origin()
    if enter(request.cookies.get(COOKIE, "")):
        check_form_token()
        services().sessions.sign_out(current_session().hash)
    return signed_out()


def signed_out() -> Response:
    response = _go("/admin/sign-in")
    response.delete_cookie(COOKIE, path=HOME)
    return response


def _begin(opened: Opened) -> None:
    enter(opened.secret)

    @after_this_request
    def keep(response: Response) -> Response:
        set_cookie(response, COOKIE, opened.secret)
        return response


def _onward() -> str | Response:
    """Where they wanted to go; what they were about to send is shown first, and never sent by itself."""
    next_page = local(request.form.get("next"))
    if action := request.form.get("action"):
        unsent = Unsent.of(action, request.form.get("fields", ""))
        return room("unsent.html", unsent=unsent, next_page=next_page)
    return next_page


def _entrance_again() -> Response:
    problem = refused()
    assert problem is not None
    sent = problem.values
    unsent = Unsent.of(sent["action"], sent.get("fields", "")) if sent.get("action") else None
    response = entrance(problem.error.http_status, next_page=sent.get("next", HOME), unsent=unsent)
    if problem.error.retry_after is not None:
        response.headers["Retry-After"] = str(problem.error.retry_after)
    return response


def _address() -> str:
    return request.remote_addr or ""


def _go(target: str) -> Response:
    return redirect(target, 303)  # type: ignore[return-value]
