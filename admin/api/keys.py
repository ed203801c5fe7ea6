"""/admin/api/v1/tenants/{tenant}/keys"""

from __future__ import annotations

from flask import Blueprint, Response
from pydantic import Field

from rollout.core.tenants import OVERLAP_SECONDS, SCOPES, Key, Mode, NewKey, Scope, key_json
from rollout.services.keys import issued_key_json, rotated_key_json
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("keys", __name__)


class KeyIn(Shape):
    name: str
    mode: Mode = "live"
    scopes: list[Scope] = Field(default_factory=lambda: list(SCOPES))
    expires_at: Moment | None = None
    reason: str | None = None


class KeyRotation(Shape):
    """`overlap_seconds`: how long the old key goes on working; `expires_at`: the end of the new one."""

    overlap_seconds: int = OVERLAP_SECONDS
    expires_at: Moment | None = None
    reason: str | None = None


class KeyOut(Shape):
    id: str
    tenant: str
    name: str
    mode: str
    prefix: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class IssuedKeyOut(KeyOut):
    """`secret` is the text of the key, shown this once."""

    secret: str


class RotatedKeyOut(IssuedKeyOut):
    replaces: KeyOut


@routes.get("/tenants/<tenant_id>/keys")
@operation("List a tenant's keys", auth=viewer, query=PageQuery)
def list_keys(tenant_id: str, query: PageQuery) -> Answer:
    rows = services().keys.page(tenant_id, after=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda key: key.id, key_json)


@routes.post("/tenants/<tenant_id>/keys")
@operation("Add a key; its text is shown once", auth=editor, body=KeyIn, answer=IssuedKeyOut, status=201)
def add_key(tenant_id: str, body: KeyIn) -> Answer:
    new = NewKey(body.name, body.mode, tuple(body.scopes), epoch_or_none(body.expires_at))
    issued = services().keys.add(actor(), tenant_id, new, body.reason)
    return _unstored(versioned(issued_key_json(issued), issued.key.version, 201))


@routes.get("/tenants/<tenant_id>/keys/<key_id>")
@operation("Show a key, without its text", auth=viewer, answer=KeyOut)
def show_key(tenant_id: str, key_id: str) -> Answer:
    return _shown(services().keys.get(tenant_id, key_id))


@routes.post("/tenants/<tenant_id>/keys/<key_id>/revoke")
@operation("Revoke a key: it opens nothing from now on", auth=editor, body=Reason, answer=KeyOut)
def revoke_key(tenant_id: str, key_id: str, body: Reason) -> Answer:
    seen = based_on(required=False)
    return _shown(services().keys.revoke(actor(), tenant_id, key_id, body.reason, based_on=seen))


@routes.post("/tenants/<tenant_id>/keys/<key_id>/rotate")
@operation("Replace a key by a new one", auth=editor, body=KeyRotation, answer=RotatedKeyOut, status=201)
def rotate_key(tenant_id: str, key_id: str, body: KeyRotation) -> Answer:
    rotated = services().keys.rotate(
        actor(),
        tenant_id,
        key_id,
        body.reason,
        overlap_seconds=body.overlap_seconds,
        expires_at=epoch_or_none(body.expires_at),
        based_on=based_on(required=False),
    )
    return _unstored(versioned(rotated_key_json(rotated), rotated.issued.key.version, 201))


def _shown(key: Key) -> Answer:
    return versioned(key_json(key), key.version)


def _unstored(response: Response) -> Response:
    """An answer with a secret in it stays in no cache."""
    response.headers["Cache-Control"] = "no-store"
    return response
