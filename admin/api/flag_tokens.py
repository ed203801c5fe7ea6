"""/admin/api/v1/flag-tokens, and what their holders tell: flag-clients, flag-metrics"""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from rollout.core.flag_metrics import flag_client_json, flag_metric_json
from rollout.core.flag_tokens import ALL_PROJECTS, FlagToken, Kind, NewFlagToken, flag_token_json
from rollout.core.flags import PRODUCTION
from rollout.services.flag_metrics import client_cursor, metric_cursor
from rollout.services.flag_tokens import issued_flag_token_json
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("flag_tokens", __name__)


class FlagTokenIn(Shape):
    """`projects`: ["*"] for all; `tenant`: a frontend token may speak for one."""

    name: str
    type: Kind
    environment: str = PRODUCTION
    projects: list[str] = Field(default_factory=lambda: list(ALL_PROJECTS))
    tenant: str | None = None
    expires_at: Moment | None = None
    reason: str | None = None


class FlagTokenOut(Shape):
    id: str
    name: str
    type: str
    environment: str
    projects: list[str]
    tenant: str | None
    prefix: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class IssuedFlagTokenOut(FlagTokenOut):
    """`secret` is the text of the token, shown this once."""

    secret: str


class FlagTokenQuery(PageQuery):
    tenant: str | None = None


class FlagClientQuery(PageQuery):
    cursor: str | None = Field(None, max_length=1000)
    environment: str | None = None


class FlagMetricQuery(PageQuery):
    """Counts of one flag within so many hours; a cursor is `hour:app`."""

    flag: str
    environment: str = PRODUCTION
    hours: int = Field(24, ge=1, le=744)
    cursor: str | None = Field(None, max_length=300)


@routes.get("/flag-tokens")
@operation("List flag tokens", auth=viewer, query=FlagTokenQuery)
def list_flag_tokens(query: FlagTokenQuery) -> Answer:
    rows = services().flag_tokens.page(tenant=query.tenant, after=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda token: token.id, flag_token_json)


@routes.post("/flag-tokens")
@operation(
    "Add a flag token; its text is shown once",
    auth=editor,
    body=FlagTokenIn,
    answer=IssuedFlagTokenOut,
    status=201,
)
def add_flag_token(body: FlagTokenIn) -> Answer:
    new = NewFlagToken(
        body.name,
        body.type,
        body.environment,
        tuple(body.projects),
        body.tenant,
        epoch_or_none(body.expires_at),
    )
    issued = services().flag_tokens.add(actor(), new, body.reason)
    response = versioned(issued_flag_token_json(issued), issued.token.version, 201)
    response.headers["Cache-Control"] = "no-store"
    return response


@routes.get("/flag-tokens/<token_id>")
@operation("Show a flag token, without its text", auth=viewer, answer=FlagTokenOut)
def show_flag_token(token_id: str) -> Answer:
    return _shown(services().flag_tokens.get(token_id))


@routes.post("/flag-tokens/<token_id>/revoke")
@operation(
    "Revoke a flag token: it opens nothing from now on, and its streams end",
    auth=editor,
    body=Reason,
    answer=FlagTokenOut,
)
def revoke_flag_token(token_id: str, body: Reason) -> Answer:
    seen = based_on(required=False)
    return _shown(services().flag_tokens.revoke(actor(), token_id, body.reason, based_on=seen))


@routes.get("/flag-clients")
@operation("List the SDKs that asked for flags lately", auth=viewer, query=FlagClientQuery)
def list_flag_clients(query: FlagClientQuery) -> Answer:
    rows = services().flag_metrics.clients(
        environment=query.environment, cursor=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, client_cursor, flag_client_json)


@routes.get("/flag-metrics")
@operation("How often a flag was on and off, by hour and app", auth=viewer, query=FlagMetricQuery)
def list_flag_metrics(query: FlagMetricQuery) -> Answer:
    rows = services().flag_metrics.page(
        query.environment, query.flag, hours=query.hours, cursor=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, metric_cursor, flag_metric_json)


def _shown(token: FlagToken) -> Answer:
    return versioned(flag_token_json(token), token.version)
