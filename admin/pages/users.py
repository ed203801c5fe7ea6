"""/admin/users"""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, url_for

from rollout.core.sessions import sign_in_url
from rollout.core.tokens import ROLES, Role
from rollout.core.users import NewUser, User, user_json
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import words
from .auth import actor, admin
from .forms import ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("users", __name__)

COLUMNS = ("id", "email", "name", "role", "has_password", "created_at", "disabled_at")


class NewUserForm(ReasonForm):
    email: str
    name: str
    role: Role


class UserForm(ReasonForm):
    name: str
    role: Role


@routes.get("/users")
@operation("The users of the console", auth=admin, query=ListView)
def show_users(query: ListView) -> Answer:
    return _list(query)


@routes.post("/users")
@operation("Add a user, and show the link by which they sign in once", auth=admin)
def add_user() -> Answer:
    made: list[Response] = []

    def act() -> None:
        form = read(NewUserForm)
        user = services().users.add(actor(), NewUser(form.email, form.name, form.role), form.reason)
        made.append(_new_link(user, form.reason))

    return attempt(act, then=made.pop, again=lambda: _list(ListView(cursor=None, limit=50)))


@routes.get("/users/<user_id>")
@operation("A user", auth=admin, query=PageView)
def show_user(user_id: str, query: PageView) -> Answer:
    return _shown(user_id)


@routes.post("/users/<user_id>")
@operation("Change a user's name or role", auth=admin)
def change_user(user_id: str) -> Answer:
    def act() -> None:
        form = read(UserForm)
        fields = {"name": form.name, "role": form.role}
        services().users.change(actor(), user_id, fields, form.reason, based_on=form.version)

    return _attempt(user_id, act)


@routes.post("/users/<user_id>/disable")
@operation("Disable a user: their sessions end", auth=admin)
def disable_user(user_id: str) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        services().users.disable(actor(), user_id, form.reason, based_on=form.version)

    return _attempt(user_id, act)


@routes.post("/users/<user_id>/enable")
@operation("Enable a disabled user", auth=admin)
def enable_user(user_id: str) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        services().users.enable(actor(), user_id, form.reason, based_on=form.version)

    return _attempt(user_id, act)


@routes.post("/users/<user_id>/link")
@operation("Make a link by which a user signs in once, and show it", auth=admin)
def make_link(user_id: str) -> Answer:
    made: list[Response] = []

    def act() -> None:
        made.append(_new_link(services().users.get(user_id), read(ReasonForm).reason))

    return attempt(act, then=made.pop, again=lambda: _shown(user_id))


def _list(query: ListView) -> Answer:
    users = services().users
    return show_list(
        "users.html",
        query,
        lambda after, limit: users.page(after=after, limit=limit),
        lambda user: user.id,
        file="users",
        columns=COLUMNS,
        as_row=user_json,
        role_options=_role_options(),
    )


def _shown(user_id: str) -> Answer:
    return room("user.html", user=services().users.get(user_id), role_options=_role_options())


def _role_options() -> list[tuple[str, str]]:
    return [(role, words.role(role)) for role in ROLES]


def _attempt(user_id: str, act: Callable[[], object]) -> Answer:
    return attempt(act, then=url_for(".show_user", user_id=user_id), again=lambda: _shown(user_id))


def _new_link(user: User, reason: str | None) -> Response:
    secret = services().users.link(actor(), user.id, reason)
    return room("user_link.html", user=user, url=sign_in_url(services().settings.url, str(secret)))
