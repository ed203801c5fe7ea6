"""/admin/api/v1/tokens"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.tokens import NewToken, Role, token_json
from rollout.services.tokens import issued_token_json
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import actor, admin
from .tenants import Reason

routes = Blueprint("tokens", __name__)


class TokenIn(Shape):
    name: str
    role: Role
    expires_at: Moment | None = None
    reason: str | None = None


class TokenOut(Shape):
    id: str
    name: str
    role: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class IssuedTokenOut(TokenOut):
    """`secret` is the text of the token, shown this once."""

    secret: str


@routes.get("/tokens")
@operation("List admin tokens", auth=admin, query=PageQuery)
def list_tokens(query: PageQuery) -> Answer:
    rows = services().tokens.page(after=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda token: token.id, token_json)


@routes.post("/tokens")
@operation(
    "Add an admin token; its text is shown once", auth=admin, body=TokenIn, answer=IssuedTokenOut, status=201
)
def add_token(body: TokenIn) -> Answer:
    new = NewToken(body.name, body.role, epoch_or_none(body.expires_at))
    issued = services().tokens.add(actor(), new, body.reason)
    response = versioned(issued_token_json(issued), issued.token.version, 201)
    response.headers["Cache-Control"] = "no-store"
    return response


@routes.get("/tokens/<token_id>")
@operation("Show an admin token, without its text", auth=admin, answer=TokenOut)
def show_token(token_id: str) -> Answer:
    token = services().tokens.get(token_id)
    return versioned(token_json(token), token.version)


@routes.post("/tokens/<token_id>/revoke")
@operation("Revoke an admin token: it opens nothing from now on", auth=admin, body=Reason, answer=TokenOut)
def revoke_token(token_id: str, body: Reason) -> Answer:
    token = services().tokens.revoke(actor(), token_id, body.reason, based_on=based_on(required=False))
    return versioned(token_json(token), token.version)
