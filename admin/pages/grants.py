"""/admin/grants"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from flask import Blueprint, request, url_for

from rollout.core.decisions import GATED
from rollout.core.grants import Grant, GrantState, grant_json
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import words
from .auth import actor, editor, viewer
from .entrance import local
from .forms import LocalMoment, ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("grants", __name__)

COLUMNS = ("id", "tenant", "feature", "state", "starts_at", "expires_at", "cohort", "reason")


class GrantsView(ListView):
    tenant: str | None = None
    feature: str | None = None
    state: GrantState | None = None


class NewGrantForm(ReasonForm):
    """`next`: the page to go on to."""

    tenant: str
    feature: str
    expires_at: LocalMoment | None = None
    cohort: str | None = None
    next: str | None = None


class ExpiryForm(ReasonForm):
    """`expires_at` None: until it is revoked."""

    expires_at: LocalMoment | None = None
    next: str | None = None


class RevocationForm(ReasonForm):
    next: str | None = None


@routes.get("/grants")
@operation("Who is let in, newest first", auth=viewer, query=GrantsView)
def show_grants(query: GrantsView) -> Answer:
    return _list(query)


@routes.post("/grants")
@operation("Grant a tenant access to a feature", auth=editor)
def add_grant() -> Answer:
    def act() -> None:
        form = read(NewGrantForm)
        services().grants.add(
            actor(), form.tenant, form.feature, form.reason, expires_at=form.expires_at, cohort=form.cohort
        )

    then = _next(url_for(".show_grants"))
    return attempt(act, then=then, again=lambda: _list(GrantsView.model_validate({})))


@routes.get("/grants/<grant_id>")
@operation("A grant", auth=viewer, query=PageView)
def show_grant(grant_id: str, query: PageView) -> Answer:
    return _shown(grant_id)


@routes.post("/grants/<grant_id>/expiry")
@operation("Change when a grant expires", auth=editor)
def change_expiry(grant_id: str) -> Answer:
    def act() -> None:
        form = read(ExpiryForm)
        services().grants.set_expiry(actor(), grant_id, form.expires_at, form.reason, based_on=form.version)

    return _attempt(grant_id, act)


@routes.post("/grants/<grant_id>/revoke")
@operation("Revoke a grant: the tenant is out from now on", auth=editor)
def revoke_grant(grant_id: str) -> Answer:
    def act() -> None:
        form = read(RevocationForm)
        services().grants.revoke(actor(), grant_id, form.reason, based_on=form.version)

    return _attempt(grant_id, act)


def _attempt(grant_id: str, act: Callable[[], object]) -> Answer:
    then = _next(url_for(".show_grant", grant_id=grant_id))
    return attempt(act, then=then, again=lambda: _shown(grant_id))


def _next(page: str) -> str:
    """Where the form says to go on, else `page`."""
    return local(request.form.get("next") or page)


def _list(query: GrantsView) -> Answer:
    wired = services()

    def page(before: str | None, limit: int) -> list[Grant]:
        return wired.grants.page(
            tenant=query.tenant, feature=query.feature, state=query.state, before=before, limit=limit
        )

    return show_list(
        "grants.html",
        query,
        page,
        lambda grant: grant.id,
        file="grants",
        columns=COLUMNS,
        as_row=grant_json,
        features=[(name, words.feature(name)) for name in GATED],
        states=[(name, words.state(name)) for name in get_args(GrantState)],
    )


def _shown(grant_id: str) -> Answer:
    return room("grant.html", grant=services().grants.get(grant_id))
