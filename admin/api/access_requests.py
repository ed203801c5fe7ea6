"""/admin/api/v1/access-requests"""

from __future__ import annotations

from flask import Blueprint
from pydantic import StrictBool, StrictInt

from rollout.core.grants import RequestState, Standing, access_request_json
from rollout.core.meters import Period, Unit
from rollout.services.access import approval_json
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.times import Moment, epoch_or_none
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .grants import GrantOut
from .tenants import Reason

routes = Blueprint("access_requests", __name__)


class AccessRequestQuery(PageQuery):
    tenant: str | None = None
    feature: str | None = None
    state: RequestState | None = None


class ApprovedMeter(Shape):
    """A quota that comes with an approval; without a name it gets one from unit and period."""

    name: str | None = None
    unit: Unit
    period: Period
    tz: str | None = None
    cap: StrictInt
    hard: StrictBool = True


class ApprovalIn(Shape):
    """`meters` left out: the quota of the current phase, unless the tenant has one for the feature."""

    expires_at: Moment | None = None
    meters: list[ApprovedMeter] | None = None
    reason: str | None = None


class AccessRequestOut(Shape):
    id: str
    tenant: str
    feature: str
    state: str
    position: int | None
    use_case: str
    expected_volume: int | None
    terms_version: str | None
    created_at: str
    decided_at: str | None
    decided_by: str | None
    decision_reason: str | None


class ApprovalOut(AccessRequestOut):
    grant: GrantOut
    meters: list[dict[str, object]]


@routes.get("/access-requests")
@operation(
    "List access requests in the order in which they were asked", auth=viewer, query=AccessRequestQuery
)
def list_access_requests(query: AccessRequestQuery) -> Answer:
    rows = services().access.page(
        tenant=query.tenant,
        feature=query.feature,
        state=query.state,
        after=query.cursor,
        limit=query.limit + 1,
    )
    return listing(rows, query.limit, lambda standing: standing.request.id, access_request_json)


@routes.get("/access-requests/<request_id>")
@operation("Show an access request", auth=viewer, answer=AccessRequestOut)
def show_access_request(request_id: str) -> Answer:
    return _shown(services().access.get(request_id))


@routes.post("/access-requests/<request_id>/approve")
@operation(
    "Approve: request, grant and quota in one change", auth=editor, body=ApprovalIn, answer=ApprovalOut
)
def approve_access_request(request_id: str, body: ApprovalIn) -> Answer:
    meters = body.meters
    approval = services().access.approve(
        actor(),
        request_id,
        body.reason,
        expires_at=epoch_or_none(body.expires_at),
        quota=None if meters is None else [meter.model_dump(exclude_none=True) for meter in meters],
        based_on=based_on(required=False),
    )
    return versioned(approval_json(approval), approval.request.version)


@routes.post("/access-requests/<request_id>/deny")
@operation("Deny; the tenant reads the reason", auth=editor, body=Reason, answer=AccessRequestOut)
def deny_access_request(request_id: str, body: Reason) -> Answer:
    denied = services().access.deny(actor(), request_id, body.reason, based_on=based_on(required=False))
    return _shown(Standing(denied, None))


def _shown(standing: Standing) -> Answer:
    return versioned(access_request_json(standing), standing.request.version)
