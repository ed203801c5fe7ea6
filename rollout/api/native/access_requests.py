"""/api/v1/access-requests: a tenant asks for a feature, sees its place, takes it back. Scope `read` does all of it."""

from __future__ import annotations

from flask import Blueprint, g

from rollout.core.audit import Actor
from rollout.core.decisions import check_feature
from rollout.core.grants import Asking, asked_json
from rollout.web.auth import identity, key
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.wired import services

routes = Blueprint("access_requests", __name__, url_prefix="/api/v1")


class AccessRequestIn(Shape):
    """`use_case`: what you want to build; `expected_volume`: pictures a month."""

    feature: str
    use_case: str
    expected_volume: int | None = None
    terms_version: str | None = None


class AccessRequestOut(Shape):
    """`position` is the place in the queue, 1 is next; `decision_reason` says why a request was denied."""

    id: str
    feature: str
    state: str
    position: int | None
    use_case: str
    expected_volume: int | None
    terms_version: str | None
    created_at: str
    decided_at: str | None
    decision_reason: str | None


@routes.post("/access-requests")
@operation(
    "Ask for access to a feature; asking again answers 200 with the request that waits",
    auth=key("read"),
    body=AccessRequestIn,
    answer=AccessRequestOut,
    status=201,
)
def ask(body: AccessRequestIn) -> Answer:
    check_feature(body.feature)
    asking = Asking(body.use_case, body.expected_volume, body.terms_version)
    decision = services().features.decide(identity().facts, body.feature)
    standing, is_new = services().access.ask(_actor(), decision, asking)
    return asked_json(standing), 201 if is_new else 200


@routes.get("/access-requests")
@operation("List your access requests in the order in which you asked", auth=key("read"), query=PageQuery)
def list_own(query: PageQuery) -> Answer:
    rows = services().access.page(tenant=_tenant_id(), after=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda standing: standing.request.id, asked_json)


@routes.get("/access-requests/<request_id>")
@operation("Show one of your access requests", auth=key("read"), answer=AccessRequestOut)
def show_own(request_id: str) -> Answer:
    return asked_json(services().access.get_own(_tenant_id(), request_id))


@routes.post("/access-requests/<request_id>/withdraw")
@operation("Take a waiting access request back", auth=key("read"), answer=AccessRequestOut)
def withdraw(request_id: str) -> Answer:
    return asked_json(services().access.withdraw(_actor(), _tenant_id(), request_id))


def _tenant_id() -> str:
    return identity().facts.tenant.id


def _actor() -> Actor:
    return Actor(f"key:{identity().key.id}", "partner", g.request_id)
