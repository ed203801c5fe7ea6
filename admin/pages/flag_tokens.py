"""/admin/flag-tokens, and what their holders tell: /admin/flag-clients, /admin/flag-metrics"""

from __future__ import annotations

import time

from flask import Blueprint, Response, url_for
from pydantic import Field

from rollout.core.flag_metrics import flag_client_json, flag_metric_json
from rollout.core.flag_tokens import ALL_PROJECTS, KINDS, Kind, NewFlagToken, flag_token_json
from rollout.core.flags import PRODUCTION
from rollout.services.flag_metrics import client_cursor, metric_cursor
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import words
from .auth import actor, editor, viewer
from .forms import LocalMoment, ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("flag_tokens", __name__)

COLUMNS = (
    "id",
    "name",
    "type",
    "environment",
    "projects",
    "tenant",
    "prefix",
    "created_at",
    "expires_at",
    "revoked_at",
)
CLIENT_COLUMNS = (
    "environment",
    "app_name",
    "instance_id",
    "sdk",
    "strategies",
    "interval_ms",
    "first_seen_at",
    "seen_at",
)
METRIC_COLUMNS = ("hour", "environment", "flag", "app_name", "yes", "no", "variants")
DAY = 24


class NewFlagTokenForm(ReasonForm):
    """`projects` as one types them: names with blanks between."""

    name: str
    type: Kind
    environment: str = PRODUCTION
    projects: str = " ".join(ALL_PROJECTS)
    tenant: str | None = None
    expires_at: LocalMoment | None = None


class TokenView(ListView):
    tenant: str | None = None


class ClientView(ListView):
    cursor: str | None = Field(None, max_length=1000)
    environment: str | None = None


class MetricView(ListView):
    cursor: str | None = Field(None, max_length=300)
    flag: str = ""
    environment: str = PRODUCTION
    hours: int = Field(DAY, ge=1, le=744)


@routes.get("/flag-tokens")
@operation("Tokens by which SDKs ask for flags, the ended ones too", auth=viewer, query=TokenView)
def show_flag_tokens(query: TokenView) -> Answer:
    return _list(query)


@routes.post("/flag-tokens")
@operation("Add a flag token, and show its text once", auth=editor)
def add_flag_token() -> Answer:
    made: list[Response] = []

    def act() -> None:
        form = read(NewFlagTokenForm)
        projects = tuple(form.projects.split())
        new = NewFlagToken(form.name, form.type, form.environment, projects, form.tenant, form.expires_at)
        issued = services().flag_tokens.add(actor(), new, form.reason)
        made.append(room("flag_token_secret.html", issued=issued))

    return attempt(act, then=made.pop, again=lambda: _list(TokenView.model_validate({})))


@routes.get("/flag-tokens/<token_id>")
@operation("A flag token, without its text", auth=viewer, query=PageView)
def show_flag_token(token_id: str, query: PageView) -> Answer:
    return _shown(token_id)


@routes.post("/flag-tokens/<token_id>/revoke")
@operation("Revoke a flag token: it opens nothing from now on", auth=editor)
def revoke_flag_token(token_id: str) -> Answer:
    def act() -> None:
        form = read(ReasonForm)
        services().flag_tokens.revoke(actor(), token_id, form.reason, based_on=form.version)

    shown = url_for(".show_flag_token", token_id=token_id)
    return attempt(act, then=shown, again=lambda: _shown(token_id))


@routes.get("/flag-clients")
@operation("SDKs that asked for flags lately", auth=viewer, query=ClientView)
def show_flag_clients(query: ClientView) -> Answer:
    metrics = services().flag_metrics
    return show_list(
        "flag_clients.html",
        query,
        lambda cursor, limit: metrics.clients(environment=query.environment, cursor=cursor, limit=limit),
        client_cursor,
        file="flag-clients",
        columns=CLIENT_COLUMNS,
        as_row=flag_client_json,
    )


@routes.get("/flag-metrics")
@operation("How often a flag was on and off, by hour and app", auth=viewer, query=MetricView)
def show_flag_metrics(query: MetricView) -> Answer:
    metrics = services().flag_metrics
    return show_list(
        "flag_metrics.html",
        query,
        lambda cursor, limit: metrics.page(
            query.environment, query.flag, hours=query.hours, cursor=cursor, limit=limit
        ),
        metric_cursor,
        file="flag-metrics",
        columns=METRIC_COLUMNS,
        as_row=flag_metric_json,
    )


def _list(query: TokenView) -> Answer:
    tokens = services().flag_tokens
    return show_list(
        "flag_tokens.html",
        query,
        lambda after, limit: tokens.page(tenant=query.tenant, after=after, limit=limit),
        lambda token: token.id,
        file="flag-tokens",
        columns=COLUMNS,
        as_row=flag_token_json,
        kinds=[(kind, words.state(kind)) for kind in KINDS],
        production=PRODUCTION,
        now=time.time(),
    )


def _shown(token_id: str) -> Answer:
    return room("flag_token.html", token=services().flag_tokens.get(token_id), now=time.time())
