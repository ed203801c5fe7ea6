"""Grants: a tenant's time-boxed access to a feature; access requests: a tenant asking for one."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal

from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

GrantState = Literal["active", "expired", "revoked"]
RequestState = Literal["waiting", "approved", "denied", "withdrawn", "expired"]

MAX_USE_CASE = 4000
MAX_VOLUME = 10**12
MAX_TERMS_VERSION = 64

_COHORT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Grant:
    """Times in UTC epoch seconds; `expires_at` None: until revoked."""

    id: str
    tenant_id: str
    feature: str
    state: GrantState
    starts_at: int
    expires_at: int | None
    reason: str
    cohort: str | None = None
    version: int = 1
    created_at: int = 0

    def status(self, now: float) -> Literal["active", "pending", "expired", "revoked"]:
        """What the grant is at `now`: its times count even before somebody writes them down."""
        if self.state != "active":
            return self.state
        if now < self.starts_at:
            return "pending"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True)
class AccessRequest:
    """Times in UTC epoch seconds; `expected_volume` in pictures a month."""

    id: str
    tenant_id: str
    feature: str
    state: RequestState
    use_case: str
    created_at: int
    expected_volume: int | None = None
    terms_version: str | None = None
    decided_by: str | None = None
    decided_at: int | None = None
    decision_reason: str | None = None
    version: int = 1


@dataclass(frozen=True)
class Asking:
    """What a tenant says when it asks for a feature; `expected_volume` in pictures a month."""

    use_case: str
    expected_volume: int | None = None
    terms_version: str | None = None

    def __post_init__(self) -> None:
        if not self.use_case.strip() or len(self.use_case) > MAX_USE_CASE:
            raise InvalidRequest(
                f"use_case says in 1 to {MAX_USE_CASE} characters what you want to build.", param="use_case"
            )
        if self.expected_volume is not None and not 0 <= self.expected_volume <= MAX_VOLUME:
            raise InvalidRequest(
                f"expected_volume is a number of pictures a month from 0 to {MAX_VOLUME}.",
                param="expected_volume",
            )
        if self.terms_version is not None and not 0 < len(self.terms_version) <= MAX_TERMS_VERSION:
            raise InvalidRequest(
                f"terms_version has 1 to {MAX_TERMS_VERSION} characters.", param="terms_version"
            )


@dataclass(frozen=True)
class Standing:
    """An access request and its place in its feature's queue: 1 is next, None once it is decided."""

    request: AccessRequest
    position: int | None


def check_cohort(name: str | None) -> None:
    """Raises InvalidRequest unless `name` (None: in no cohort) can stand in a phase's audience."""
    if name is not None and not _COHORT.fullmatch(name):
        raise InvalidRequest(
            "A cohort is 1-63 lower-case letters, digits and hyphens, and does not begin with a hyphen.",
            param="cohort",
        )


def as_of(grant: Grant, now: float) -> Grant:
    """The grant with the state that its times give it at `now`."""
    return dataclasses.replace(grant, state="expired") if grant.status(now) == "expired" else grant


def grant_json(grant: Grant) -> dict[str, Any]:
    """The shape that clients see."""
    return {
        "id": grant.id,
        "tenant": grant.tenant_id,
        "feature": grant.feature,
        "state": grant.state,
        "starts_at": rfc3339(grant.starts_at),
        "expires_at": rfc3339(grant.expires_at),
        "cohort": grant.cohort,
        "reason": grant.reason,
    }


def told_of_grant(grant: Grant) -> dict[str, Any]:
    """What webhooks are told: without what operators noted down."""
    return {name: told for name, told in grant_json(grant).items() if name not in ("cohort", "reason")}


def told_of_request(request: AccessRequest) -> dict[str, Any]:
    """What webhooks are told: without who decided, and with the reason of a denial only."""
    return {
        "id": request.id,
        "tenant": request.tenant_id,
        "feature": request.feature,
        "state": request.state,
        "decision_reason": request.decision_reason if request.state == "denied" else None,
    }


def asked_json(standing: Standing) -> dict[str, Any]:
    """An access request as its tenant sees it: without who decided, and with the reason of a denial only."""
    request = standing.request
    return {
        "id": request.id,
        "feature": request.feature,
        "state": request.state,
        "position": standing.position,
        "use_case": request.use_case,
        "expected_volume": request.expected_volume,
        "terms_version": request.terms_version,
        "created_at": rfc3339(request.created_at),
        "decided_at": rfc3339(request.decided_at),
        "decision_reason": request.decision_reason if request.state == "denied" else None,
    }


def access_request_json(standing: Standing) -> dict[str, Any]:
    """An access request as admins see it."""
    request = standing.request
    decision = {"decided_by": request.decided_by, "decision_reason": request.decision_reason}
    return {**asked_json(standing), "tenant": request.tenant_id, **decision}
