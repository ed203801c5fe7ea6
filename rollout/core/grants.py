"""Grants: a tenant's time-boxed access to a feature; access requests: a tenant asking for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GrantState = Literal["active", "expired", "revoked"]
RequestState = Literal["waiting", "approved", "denied", "withdrawn", "expired"]


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
