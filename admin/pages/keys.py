"""/admin/tenants/{tenant}/keys"""

from __future__ import annotations

import time

from flask import Blueprint, Response, url_for
from pydantic import Field

from rollout.core.tenants import MAX_OVERLAP_SECONDS, OVERLAP_SECONDS, SCOPES, Mode, NewKey, Scope, key_json
from rollout.web.language import N_, _
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .forms import LocalMoment, ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("keys", __name__)

COLUMNS = ("id", "tenant", "name", "mode", "prefix", "scopes", "created_at", "expires_at", "revoked_at")

OVERLAPS = (
    (0, N_("no time: it ends at once")),
    (3_600, N_("an hour")),
    (OVERLAP_SECONDS, N_("a day")),
    (7 * 86_400, N_("a week")),
    (MAX_OVERLAP_SECONDS, N_("30 days")),
)


class NewKeyForm(ReasonForm):
    name: str
    mode: Mode
    scopes: list[Scope] = Field(default_factory=list)
    expires_at: LocalMoment | None = None


class RotationForm(ReasonForm):
    overlap_seconds: int = OVERLAP_SECONDS
    expires_at: LocalMoment | None = None


@routes.get("/tenants/<tenant_id>/keys")
@operation("A tenant's keys, the ended ones too", auth=viewer, query=ListView)
def show_keys(tenant_id: str, query: ListView) -> Answer:
    return _list(tenant_id, query)


@routes.post("/tenants/<tenant_id>/keys")
@operation("Add a key, and show its text once", auth=editor)
def add_key(tenant_id: str) -> Answer:
    made: list[Response] = []

    def act() -> None:
        form = read(NewKeyForm)
        new = NewKey(form.name, form.mode, tuple(form.scopes), form.expires_at)
        issued = services().keys.add(actor(), tenant_id, new, form.reason)
        made.append(room("key_secret.html", issued=issued, old=None))

    return attempt(act, then=made.pop, again=lambda: _list(tenant_id, ListView.model_validate({})))


@routes.get("/tenants/<tenant_id>/keys/<key_id>")
@operation("A key, without its text", auth=viewer, query=PageView)
def show_key(tenant_id: str, key_id: str, query: PageView) -> Answer:
    return _shown(tenant_id, key_id)


@routes.post("/tenants/<tenant_id>/keys/<key_id>/rotate")
@operation("Replace a key by a new one, and show its text once", auth=editor)
def rotate_key(tenant_id: str, key_id: str) -> Answer:
    made: list[Response] = []

    def act() -> None:
        form = read(RotationForm)
        rotated = services().keys.rotate(
            actor(),
            tenant_id,
            key_id,
            form.reason,
            overlap_seconds=form.overlap_seconds,
            expires_at=form.expires_at,
            based_on=form.version,
        )
        made.append(room("key_secret.html", issued=rotated.issued, old=rotated.old))

    return attempt(act, then=made.pop, again=lambda: _shown(tenant_id, key_id))


@routes.post("/tenants/<tenant_id>/keys/<key_id>/revoke")
@operation("Revoke a key: it opens nothing from now on", auth=editor)
def revoke_key(tenant_id: str, key_id: str) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        services().keys.revoke(actor(), tenant_id, key_id, form.reason, based_on=form.version)

    shown = url_for(".show_key", tenant_id=tenant_id, key_id=key_id)
    return attempt(act, then=shown, again=lambda: _shown(tenant_id, key_id))


def _list(tenant_id: str, query: ListView) -> Answer:
    wired = services()
    return show_list(
        "keys.html",
        query,
        lambda after, limit: wired.keys.page(tenant_id, after=after, limit=limit),
        lambda key: key.id,
        file=f"keys-{tenant_id}",
        columns=COLUMNS,
        as_row=key_json,
        tenant=wired.tenants.get(tenant_id),
        scopes=SCOPES,
        now=time.time(),
    )


def _shown(tenant_id: str, key_id: str) -> Answer:
    key = services().keys.get(tenant_id, key_id)
    overlaps = [(seconds, _(words)) for seconds, words in OVERLAPS]
    return room("key.html", key=key, overlaps=overlaps, overlap=OVERLAP_SECONDS, now=time.time())
