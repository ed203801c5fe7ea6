"""/admin/api/v1/grants"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.grants import Grant, GrantState, grant_json
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .tenants import Reason

routes = Blueprint("grants", __name__)


class GrantQuery(PageQuery):
    tenant: str | None = None
    feature: str | None = None
    state: GrantState | None = None


class GrantIn(Shape):
    """`cohort` puts the tenant into the phases that are for this cohort."""

    tenant: str
    feature: str
    expires_at: Moment | None = None
    cohort: str | None = None
    reason: str | None = None


class GrantChange(Shape):
    """`expires_at` null: until it is revoked."""

    expires_at: Moment | None
    reason: str | None = None


class GrantOut(Shape):
    id: str
    tenant: str
    feature: str
    state: str
    starts_at: str
    expires_at: str | None
    cohort: str | None
    reason: str


@routes.get("/grants")
@operation("List grants, newest first", auth=viewer, query=GrantQuery)
def list_grants(query: GrantQuery) -> Answer:
    rows = services().grants.page(
        tenant=query.tenant,
        feature=query.feature,
        state=query.state,
        before=query.cursor,
        limit=query.limit + 1,
    )
    return listing(rows, query.limit, lambda grant: grant.id, grant_json)


@routes.post("/grants")
@operation("Grant a tenant access to a feature", auth=editor, body=GrantIn, answer=GrantOut, status=201)
def add_grant(body: GrantIn) -> Answer:
    granted = services().grants.add(
        actor(),
        body.tenant,
        body.feature,
        body.reason,
        expires_at=epoch_or_none(body.expires_at),
        cohort=body.cohort,
    )
    return _shown(granted, 201)


@routes.get("/grants/<grant_id>")
@operation("Show a grant", auth=viewer, answer=GrantOut)
def show_grant(grant_id: str) -> Answer:
    return _shown(services().grants.get(grant_id))


@routes.patch("/grants/<grant_id>")
@operation("Change when a grant expires", auth=editor, body=GrantChange, answer=GrantOut)
def change_grant(grant_id: str, body: GrantChange) -> Answer:
    end = epoch_or_none(body.expires_at)
    seen = based_on(required=True)
    return _shown(services().grants.set_expiry(actor(), grant_id, end, body.reason, based_on=seen))


@routes.post("/grants/<grant_id>/revoke")
@operation("Revoke a grant: the tenant is out from now on", auth=editor, body=Reason, answer=GrantOut)
def revoke_grant(grant_id: str, body: Reason) -> Answer:
    seen = based_on(required=False)
    return _shown(services().grants.revoke(actor(), grant_id, body.reason, based_on=seen))


def _shown(grant: Grant, status: int = 200) -> Answer:
    return versioned(grant_json(grant), grant.version, status)
