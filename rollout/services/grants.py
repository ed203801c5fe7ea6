"""Grants: given, given another end, revoked.

A tenant has at most one of a feature; time ends it by itself, at its second. A tick writes that down later, and tells of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rollout.core.audit import Actor
from rollout.core.decisions import check_gated, is_move
from rollout.core.grants import (
    AccessRequest,
    Grant,
    GrantState,
    RequestState,
    as_of,
    check_cohort,
    grant_json,
    told_of_grant,
    told_of_request,
)
from rollout.core.times import check_ahead
from rollout.core.webhooks import EventType
from rollout.db import access_requests, grants, plans
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, NotFound
from rollout.services.changes import Change, Changes, as_json
from rollout.services.ids import NewId
from rollout.services.meters import SCHEDULE, give_quota
from rollout.services.tenants import check_version, require

EXPIRED_AT_ONCE = 100
"""In one transaction; the rest follow with the next ticks."""

_TOLD: Mapping[RequestState, EventType] = {
    "approved": "access_request.approved",
    "denied": "access_request.denied",
}


class Grants:
    """What it returns carries the state of this moment: a grant whose time is over is `expired`."""

    def __init__(self, database: Database, changes: Changes, new_id: NewId) -> None:
        self._database, self._changes, self._new_id = database, changes, new_id

    def page(
        self,
        *,
        tenant: str | None,
        feature: str | None,
        state: GrantState | None = None,
        before: str | None,
        limit: int,
    ) -> list[Grant]:
        """Newest first, beginning after the id `before`."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            found = grants.page(
                tx, tenant=tenant, feature=feature, state=state, now=now, before=before, limit=limit
            )
        return [as_of(grant, now) for grant in found]

    def get(self, grant_id: str) -> Grant:
        """Raises NotFound."""
        with self._database.read() as tx:
            return as_of(_require_grant(tx, grant_id), self._database.now(tx))

    def add(
        self,
        actor: Actor,
        tenant_id: str,
        feature: str,
        reason: str | None,
        *,
        expires_at: int | None = None,
        cohort: str | None = None,
        dry_run: bool = False,
    ) -> Grant:
        """Let the tenant in from now on, which also approves the request that it has waiting.

        A tenant without a hard meter of the feature gets the quota of the current phase.
        Raises NotFound for the tenant, InvalidRequest, Conflict while it has a grant that counts.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            require(change.tx, tenant_id)
            grant = admit(
                change, self._new_id("grt"), tenant_id, feature, expires_at=expires_at, cohort=cohort
            )
            give_quota(change, self._new_id, tenant_id, feature)
            return grant

    def set_expiry(
        self,
        actor: Actor,
        grant_id: str,
        expires_at: int | None,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Grant:
        """Another end for a grant that counts; None: until it is revoked.

        Raises NotFound, StaleVersion, InvalidRequest, Conflict.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require_grant(change.tx, grant_id)
            check_version(based_on, before.version, grant_json(before))
            _check_counts(before, change.now)
            check_ahead(expires_at, change.now, "expires_at")
            if expires_at == before.expires_at:
                return before
            return _put(change, "grant.changed", before, expires_at=expires_at)

    def revoke(
        self,
        actor: Actor,
        grant_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Grant:
        """The tenant is out from now on; revoking a revoked grant changes nothing.

        Raises NotFound, StaleVersion.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require_grant(change.tx, grant_id)
            check_version(based_on, before.version, grant_json(before))
            if before.state == "revoked":
                return before
            after = _put(change, "grant.revoked", before, state="revoked", reason=change.reason)
            change.tell("grant.revoked", after.tenant_id, told_of_grant(after))
        return after

    def expire(self) -> None:
        """Write down which grants time has ended, and tell of each, once; the tick of one process."""
        with self._database.read() as tx:
            if not grants.over(tx, self._database.now(tx), 1):
                return
        with self._changes.begin(SCHEDULE, "its time is over") as change:
            for before in grants.over(change.tx, change.now, EXPIRED_AT_ONCE):
                after = _put(change, "grant.expired", before, state="expired")
                change.tell("grant.expired", after.tenant_id, told_of_grant(after))


def admit(
    change: Change, grant_id: str, tenant_id: str, feature: str, *, expires_at: int | None, cohort: str | None
) -> Grant:
    """The part of a change that lets a tenant in: its grant, and the approval of its waiting request.

    An earlier grant that ended makes way. Raises InvalidRequest, Conflict.
    """
    if not is_move(feature) or plans.get(change.tx, feature) is None:
        check_gated(feature)
    check_cohort(cohort)
    check_ahead(expires_at, change.now, "expires_at")
    before = grants.of(change.tx, tenant_id, feature)
    if before is not None and before.status(change.now) in ("active", "pending"):
        raise Conflict(
            f"{tenant_id} has a grant of {feature} already: {before.id}.",
            remedy="Change when that grant expires, or revoke it first.",
            grant=before.id,
        )
    new = Grant(
        id=grant_id,
        tenant_id=tenant_id,
        feature=feature,
        state="active",
        starts_at=change.now,
        expires_at=expires_at,
        reason=change.reason,
        cohort=cohort,
        created_at=change.now,
    )
    write = grants.add if before is None else grants.put
    write(change.tx, new)
    change.record(
        "grant.created",
        subject=new.id,
        tenant=tenant_id,
        before=None if before is None else as_json(before),
        after=as_json(new),
    )
    change.tell("grant.created", tenant_id, told_of_grant(new))
    if waiting := access_requests.waiting(change.tx, tenant_id, feature):
        answer(change, waiting.request, "approved")
    return new


def answer(change: Change, request: AccessRequest, state: RequestState) -> AccessRequest:
    """The part of a change that ends a waiting access request."""
    after = dataclasses.replace(
        request,
        state=state,
        decided_by=change.actor.name,
        decided_at=change.now,
        decision_reason=change.reason,
        version=request.version + 1,
    )
    access_requests.put(change.tx, after)
    change.record(
        f"access_request.{state}",
        subject=after.id,
        tenant=after.tenant_id,
        before=as_json(request),
        after=as_json(after),
    )
    if state in _TOLD:
        change.tell(_TOLD[state], after.tenant_id, told_of_request(after))
    return after


def _put(change: Change, action: str, before: Grant, **fields: Any) -> Grant:
    after = dataclasses.replace(before, **fields, version=before.version + 1)
    grants.put(change.tx, after)
    change.record(
        action, subject=after.id, tenant=after.tenant_id, before=as_json(before), after=as_json(after)
    )
    return after


def _check_counts(grant: Grant, now: int) -> None:
    status = grant.status(now)
    if status in ("revoked", "expired"):
        raise Conflict(
            f"The grant {grant.id} is {status}: its end cannot be changed.",
            remedy=f"Grant {grant.feature} to {grant.tenant_id} anew.",
            state=status,
        )


def _require_grant(tx: Tx, grant_id: str) -> Grant:
    found = grants.get(tx, grant_id)
    if found is None:
        raise NotFound(
            f"There is no grant {grant_id!r}.",
            param="grant",
            remedy="GET /admin/api/v1/grants shows those that are; a grant that was given anew has a new id.",
        )
    return found
