"""A decision: may this tenant use this feature now, and why (not)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rollout.core.grants import Grant
from rollout.core.meters import Meter
from rollout.core.tenants import Tenant

GENERATION = "image-generation"
ANALYSIS = "image-analysis"
FEATURES = (GENERATION, ANALYSIS)

Reason = Literal[
    "ga", "granted", "segment", "percentage",
    "killed", "flag_off", "flag_unknown", "flags_stale", "tenant_halted", "phase_halted",
    "not_granted", "grant_expired", "not_in_phase",
]  # fmt: skip


@dataclass(frozen=True)
class TenantFacts:
    """What a worker knows of one tenant at one revision, read by one look at the database.

    `grants` by feature; `halts` are the features stopped for this tenant alone; `meters` are the live ones; `meter_rev` tells the ledger
    whether they are still right.
    """

    tenant: Tenant
    grants: Mapping[str, Grant] = field(default_factory=dict)
    halts: frozenset[str] = frozenset()
    meters: tuple[Meter, ...] = ()
    meter_rev: int = 0


@dataclass(frozen=True)
class Decision:
    """`id` is `dec_` + a hash of (revision, tenant, feature); `valid_until` in UTC epoch seconds is when time alone may change it."""

    id: str
    tenant_id: str
    feature: str
    allowed: bool
    reason: Reason
    phase: str | None
    run: int | None
    revision: int
    valid_until: float | None = None
