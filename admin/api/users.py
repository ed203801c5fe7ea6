"""/admin/api/v1/users"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.sessions import sign_in_url
from rollout.core.tokens import Role
from rollout.core.users import NewUser, User, user_json
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, json_response, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

from .auth import actor, admin
from .tenants import Reason

routes = Blueprint("users", __name__)


class UserIn(Shape):
    """Without a password they first sign in by a link."""

    email: str
    name: str
    role: Role
    password: str | None = None
    reason: str | None = None


class UserChange(Shape):
    name: str | None = None
    role: Role | None = None
    reason: str | None = None


class PasswordIn(Shape):
    password: str
    reason: str | None = None


class UserOut(Shape):
    id: str
    email: str
    name: str
    role: str
    has_password: bool
    created_at: str
    disabled_at: str | None


class SignInLinkOut(Shape):
    """`url` lets the user in once, within a day."""

    url: str


@routes.get("/users")
@operation("List users of the console", auth=admin, query=PageQuery)
def list_users(query: PageQuery) -> Answer:
    rows = services().users.page(after=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda user: user.id, user_json)


@routes.post("/users")
@operation("Add a user", auth=admin, body=UserIn, answer=UserOut, status=201)
def add_user(body: UserIn) -> Answer:
    new = NewUser(body.email, body.name, body.role)
    return _shown(services().users.add(actor(), new, body.reason, password=body.password), 201)


@routes.get("/users/<user_id>")
@operation("Show a user", auth=admin, answer=UserOut)
def show_user(user_id: str) -> Answer:
    return _shown(services().users.get(user_id))


@routes.patch("/users/<user_id>")
@operation("Change a user's name or role", auth=admin, body=UserChange, answer=UserOut)
def change_user(user_id: str, body: UserChange) -> Answer:
    fields = body.model_dump(exclude={"reason"}, exclude_none=True)
    seen = based_on(required=True)
    return _shown(services().users.change(actor(), user_id, fields, body.reason, based_on=seen))


@routes.post("/users/<user_id>/disable")
@operation("Disable a user: their sessions end", auth=admin, body=Reason, answer=UserOut)
def disable_user(user_id: str, body: Reason) -> Answer:
    seen = based_on(required=False)
    return _shown(services().users.disable(actor(), user_id, body.reason, based_on=seen))


@routes.post("/users/<user_id>/enable")
@operation("Enable a disabled user", auth=admin, body=Reason, answer=UserOut)
def enable_user(user_id: str, body: Reason) -> Answer:
    seen = based_on(required=False)
    return _shown(services().users.enable(actor(), user_id, body.reason, based_on=seen))


@routes.post("/users/<user_id>/password")
@operation("Set a user's password: their sessions end", auth=admin, body=PasswordIn, answer=UserOut)
def set_password(user_id: str, body: PasswordIn) -> Answer:
    return _shown(services().users.set_password(actor(), user_id, body.password, body.reason))


@routes.post("/users/<user_id>/link")
@operation(
    "Make a link by which a user signs in once", auth=admin, body=Reason, answer=SignInLinkOut, status=201
)
def make_link(user_id: str, body: Reason) -> Answer:
    secret = services().users.link(actor(), user_id, body.reason)
    response = json_response({"url": sign_in_url(services().settings.url, str(secret))}, 201)
    response.headers["Cache-Control"] = "no-store"
    return response


def _shown(user: User, status: int = 200) -> Answer:
    return versioned(user_json(user), user.version, status)
