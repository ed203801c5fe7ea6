"""Access requests: a tenant asks, is told its place, and gets one answer; an approval opens the door in one change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.core.audit import Actor
from rollout.core.decisions import ANALYSIS, Decision
from rollout.core.grants import (
    AccessRequest,
    Asking,
    Grant,
    RequestState,
    Standing,
    access_request_json,
    grant_json,
    told_of_request,
)
from rollout.core.meters import Meter, meter_json
from rollout.core.plans import Everyone, Granted, Phase
from rollout.core.times import rfc3339
from rollout.db import access_requests, grants, meters, plans
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, NotFound
from rollout.services.changes import Change, Changes, as_json
from rollout.services.grants import admit, answer
from rollout.services.ids import NewId
from rollout.services.meters import give_quota
from rollout.services.tenants import check_version

ASKED = "asked by the tenant"
WITHDRAWN = "withdrawn by the tenant"


@dataclass(frozen=True)
class Approval:
    """What an approval brought about, in one change: `meters` are those that it added or changed."""

    request: AccessRequest
    grant: Grant
    meters: tuple[Meter, ...]


@dataclass(frozen=True)
class Offer:
    """What approving a request would bring as things stand: the `quota` of the current `phase`, as the admin API takes meters, with the
    caps of those that the tenant has already. `opens` is false where the phases that are open let nobody in by a mere grant."""

    standing: Standing
    phase: Phase | None
    opens: bool
    quota: tuple[Mapping[str, Any], ...]


def approval_json(approval: Approval) -> dict[str, Any]:
    """The access request as admins see it, with the `grant` and the `meters` that it brought."""
    request = access_request_json(Standing(approval.request, None))
    given = [meter_json(meter) for meter in approval.meters]
    return {**request, "grant": grant_json(approval.grant), "meters": given}


class Access:
    def __init__(self, database: Database, changes: Changes, new_id: NewId) -> None:
        self._database, self._changes, self._new_id = database, changes, new_id

    def page(
        self,
        *,
        tenant: str | None = None,
        feature: str | None = None,
        state: RequestState | None = None,
        after: str | None,
        limit: int,
    ) -> list[Standing]:
        """In the order in which they were asked, beginning after the id `after`."""
        with self._database.read() as tx:
            return access_requests.page(
                tx, tenant=tenant, feature=feature, state=state, after=after, limit=limit
            )

    def get(self, request_id: str) -> Standing:
        """Whoever asked it. Raises NotFound."""
        with self._database.read() as tx:
            return _require_request(tx, request_id)

    def offer(self, request_id: str) -> Offer:
        """Raises NotFound."""
        with self._database.read() as tx:
            standing = _require_request(tx, request_id)
            tenant_id, feature = standing.request.tenant_id, standing.request.feature
            running = plans.get(tx, feature)
            caps = {meter.name: meter.cap for meter in meters.live(tx, tenant_id)}
        if running is None:
            return Offer(standing, None, False, ())
        quota = ({**item, "cap": caps.get(item["name"], item["cap"])} for item in running.phase.quota_of_each)
        opens = any(phase.audience in (Granted(), Everyone()) for phase in running.open_phases)
        return Offer(standing, running.phase, opens, tuple(quota))

    def get_own(self, tenant_id: str, request_id: str) -> Standing:
        """Raises NotFound for another tenant's too."""
        with self._database.read() as tx:
            return _require_own(tx, tenant_id, request_id)

    def ask(self, actor: Actor, decision: Decision, asking: Asking) -> tuple[Standing, bool]:
        """The tenant's waiting request for the feature, and whether it is new: asking again changes nothing.

        `decision` says who asks for what, and how that stands now. Raises Conflict when it is in already.
        """
        with self._changes.begin(actor, ASKED) as change:
            tenant_id, feature = decision.tenant_id, decision.feature
            _check_is_out(change, decision)
            if waiting := access_requests.waiting(change.tx, tenant_id, feature):
                return waiting, False
            new = AccessRequest(
                id=self._new_id("acc"),
                tenant_id=tenant_id,
                feature=feature,
                state="waiting",
                use_case=asking.use_case.strip(),
                created_at=change.now,
                expected_volume=asking.expected_volume,
                terms_version=asking.terms_version,
            )
            access_requests.add(change.tx, new)
            change.record(
                "access_request.created", subject=new.id, tenant=tenant_id, before=None, after=as_json(new)
            )
            change.tell("access_request.created", tenant_id, told_of_request(new))
            return _require_request(change.tx, new.id), True

    def withdraw(self, actor: Actor, tenant_id: str, request_id: str) -> Standing:
        """Withdrawing a withdrawn request changes nothing. Raises NotFound, Conflict once it is decided."""
        with self._changes.begin(actor, WITHDRAWN) as change:
            found = _require_own(change.tx, tenant_id, request_id)
            if found.request.state == "withdrawn":
                return found
            if found.request.state != "waiting":
                raise Conflict(
                    f"This request was {_decided(found.request)} and cannot be withdrawn.",
                    state=found.request.state,
                )
            return Standing(answer(change, found.request, "withdrawn"), None)

    def approve(
        self,
        actor: Actor,
        request_id: str,
        reason: str | None,
        *,
        expires_at: int | None = None,
        quota: Sequence[Mapping[str, Any]] | None = None,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Approval:
        """Request, grant and meters in one change.

        `quota` are meters as the admin API takes them, without tenant and reason; None: those of the current
        phase, unless the tenant has a hard meter of the feature. A meter that is there already gets the new
        cap. Raises NotFound, StaleVersion, InvalidRequest, Conflict that says who decided before.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            request = self._require_waiting(change, request_id, based_on)
            grant = admit(
                change,
                self._new_id("grt"),
                request.tenant_id,
                request.feature,
                expires_at=expires_at,
                cohort=None,
            )
            given = give_quota(change, self._new_id, request.tenant_id, request.feature, quota)
            return Approval(_require_request(change.tx, request_id).request, grant, given)

    def deny(
        self,
        actor: Actor,
        request_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> AccessRequest:
        """The tenant reads the reason. Raises NotFound, StaleVersion, Conflict that says who decided before."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            return answer(change, self._require_waiting(change, request_id, based_on), "denied")

    def _require_waiting(self, change: Change, request_id: str, based_on: int | None) -> AccessRequest:
        found = _require_request(change.tx, request_id)
        request = found.request
        if request.state != "waiting":
            raise Conflict(
                f"This request was {_decided(request)} by {request.decided_by}; nothing was changed.",
                remedy="Read it again; to let the tenant in or out now, add or revoke a grant.",
                state=request.state,
                decided_by=request.decided_by,
                decided_at=rfc3339(request.decided_at),
            )
        check_version(based_on, request.version, access_request_json(found))
        return request


def _check_is_out(change: Change, decision: Decision) -> None:
    grant = grants.of(change.tx, decision.tenant_id, decision.feature)
    granted = grant is not None and grant.status(change.now) in ("active", "pending")
    if decision.allowed or granted or decision.feature == ANALYSIS:
        raise Conflict(
            f"Your organisation has access to {decision.feature} already.",
            remedy=f"There is nothing to ask for; GET /api/v1/features/{decision.feature} says how it stands.",
        )


def _decided(request: AccessRequest) -> str:
    return f"{request.state} at {rfc3339(request.decided_at)}"


def _require_request(tx: Tx, request_id: str) -> Standing:
    found = access_requests.get(tx, request_id)
    if found is None:
        raise NotFound(f"There is no access request {request_id!r}.", param="access_request")
    return found


def _require_own(tx: Tx, tenant_id: str, request_id: str) -> Standing:
    found = access_requests.of_tenant(tx, tenant_id, request_id)
    if found is None:
        raise NotFound(f"There is no access request {request_id!r}.", param="access_request")
    return found
