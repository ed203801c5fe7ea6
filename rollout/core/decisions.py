"""A decision: may this tenant use this feature now, and why (not).

The kill bit first, then the tenant's halt, then ONE flag evaluation; the reason follows from the rows.
Generation fails closed: without a plan, or without state that was confirmed lately, nobody is let in.
Analysis has no plan, so nothing but a kill or a halt stops it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from rollout.core.grants import Grant
from rollout.core.kills import Kill
from rollout.core.meters import Meter
from rollout.core.plans import Everyone, Granted, Phase, RunningPlan, partner_bucket
from rollout.core.tenants import Tenant
from rollout.errors import InvalidRequest

GENERATION = "image-generation"
ANALYSIS = "image-analysis"
FEATURES = (GENERATION, ANALYSIS)
GATED = (GENERATION,)
"""Those that a tenant must be let into."""

MOVE = "model."
"""Begins the feature of a name in the catalogue that moves to another model: gated as any, and there while it moves."""

Reason = Literal[
    "ga", "granted", "segment", "percentage",
    "killed", "tenant_halted", "flags_stale", "flag_unknown", "flag_off", "not_granted", "grant_expired", "not_in_phase",
]  # fmt: skip

Evaluate = Callable[[str, Mapping[str, str]], str | None]
"""(flag, context properties) -> key of the phase whose audience lets the tenant in; None: the flag is off
for it."""


@dataclass(frozen=True)
class TenantFacts:
    """What a worker knows of one tenant at one revision, read by one look at the database.

    `grants` by feature; `halts` by feature, for those stopped for this tenant alone; `meters` are the live
    ones; `meter_rev` tells the ledger whether they are still right.
    """

    tenant: Tenant
    grants: Mapping[str, Grant] = field(default_factory=dict)
    halts: Mapping[str, Kill] = field(default_factory=dict)
    meters: tuple[Meter, ...] = ()
    meter_rev: int = 0


@dataclass(frozen=True)
class Decision:
    """`id` is `dec_` + a hash of (revision, tenant, feature); `phase` and `run` are the plan's current ones
    (None: the feature has no plan); `valid_until` in UTC epoch seconds is when time alone may change the
    answer. `vendors` are those whose models the phase that let the tenant in allows (None: all); a later
    phase takes none of them away."""

    id: str
    tenant_id: str
    feature: str
    allowed: bool
    reason: Reason
    phase: str | None
    run: int | None
    revision: int
    valid_until: float | None = None
    vendors: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Ground:
    """What a decision rests on: since and until when (UTC epoch seconds; None: not known, and without an end), who brought
    it about, and the reason they gave."""

    since: int | None = None
    until: int | None = None
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class FeatureState:
    """What holds for a feature at one revision. `fresh`: the revision was confirmed within the staleness
    bound. `upstream`: the flags that must let the tenant in too, where an Unleash server decides with us."""

    revision: int
    plan: RunningPlan | None
    killed: bool
    fresh: bool
    upstream: Evaluate | None = None


def decide(facts: TenantFacts, feature: str, state: FeatureState, now: float, evaluate: Evaluate) -> Decision:
    """The decision at `now` (UTC epoch seconds). `evaluate` is asked at most once."""
    allowed, reason, admitted_by = _answer(facts, feature, state, now, evaluate)
    return Decision(
        id=decision_id(state.revision, facts.tenant.id, feature),
        tenant_id=facts.tenant.id,
        feature=feature,
        allowed=allowed,
        reason=reason,
        phase=state.plan.run.phase if state.plan else None,
        run=state.plan.run.number if state.plan else None,
        revision=state.revision,
        valid_until=_valid_until(facts.grants.get(feature), now),
        vendors=admitted_by.vendors if admitted_by is not None else None,
    )


def ground(decision: Decision, facts: TenantFacts, plan: RunningPlan | None, kill: Kill | None) -> Ground:
    """What `decision`, made from these, rests on; who gave a grant, only the audit log knows."""
    stop = kill if decision.reason == "killed" else facts.halts.get(decision.feature)
    if decision.reason in ("killed", "tenant_halted") and stop is not None:
        return Ground(stop.changed_at_ms // 1000, by=stop.changed_by, reason=stop.reason)
    grant = facts.grants.get(decision.feature)
    if decision.reason == "granted" and grant is not None:
        return Ground(grant.starts_at, grant.expires_at, reason=grant.reason)
    if decision.reason == "grant_expired" and grant is not None:
        return Ground(grant.expires_at, reason=grant.reason)
    return Ground(plan.run.entered_at, by=plan.run.entered_by) if plan else Ground()


def decision_id(revision: int, tenant_id: str, feature: str) -> str:
    """The same for the same question, on every worker."""
    return "dec_" + hashlib.sha256(f"{revision}:{tenant_id}:{feature}".encode()).hexdigest()[:32]


def context_properties(facts: TenantFacts, plan: RunningPlan, now: float) -> dict[str, str]:
    """What the flag is evaluated on: the tenant's attributes, then our own fields, which no attribute can
    replace."""
    feature = plan.plan.feature
    grant = facts.grants.get(feature)
    active = grant is not None and grant.status(now) == "active"
    return {
        **facts.tenant.attributes,
        "tenantId": facts.tenant.id,
        "grant": "active" if active else "none",
        "phase": plan.run.phase,
        "halt": "1" if feature in facts.halts else "0",
        "cohorts": f",{grant.cohort}," if grant and active and grant.cohort else ",",
        "partnerBucket": str(partner_bucket(plan.plan.salt, facts.tenant.id)),
    }


def _answer(
    facts: TenantFacts, feature: str, state: FeatureState, now: float, evaluate: Evaluate
) -> tuple[bool, Reason, Phase | None]:
    """With the phase that lets the tenant in."""
    if state.killed is True:
        return False, "killed", None
    if feature in facts.halts:
        return False, "tenant_halted", None
    if feature == ANALYSIS:
        return True, "ga", None
    if not state.fresh:
        return False, "flags_stale", None
    if state.plan is None:
        return False, "flag_unknown", None
    properties = context_properties(facts, state.plan, now)
    admitted_in = evaluate(feature, properties)
    if admitted_in is None:
        return False, _why_not(facts.grants.get(feature), state.plan, now), None
    if state.upstream is not None and state.upstream(feature, properties) is None:
        return False, "flag_off", None
    phase = state.plan.plan.phases[state.plan.plan.position(admitted_in)]
    return True, _why(phase, state.plan), phase


def _why(phase: Phase, plan: RunningPlan) -> Reason:
    if any(isinstance(item.audience, Everyone) for item in plan.open_phases):
        return "ga"
    return phase.audience.admits


def _why_not(grant: Grant | None, plan: RunningPlan, now: float) -> Reason:
    if grant is not None and grant.status(now) == "expired":
        return "grant_expired"
    if grant is not None and grant.status(now) == "active":
        return "not_in_phase"
    by_grant_alone = all(isinstance(phase.audience, Granted) for phase in plan.open_phases)
    return "not_granted" if by_grant_alone else "not_in_phase"


def _valid_until(grant: Grant | None, now: float) -> float | None:
    if grant is None or grant.state != "active":
        return None
    moments = (grant.starts_at, grant.expires_at)
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def move_of(name: str) -> str:
    """The feature whose plan says for whom this name of the catalogue has moved."""
    return MOVE + name


def is_move(feature: str) -> bool:
    return feature.startswith(MOVE)


def check_feature(name: str) -> None:
    """Raises InvalidRequest, which names the features, for one that does not exist."""
    if name not in FEATURES:
        features = " and ".join(FEATURES)
        raise InvalidRequest(
            f"There is no feature {name!r}; there are {features}.",
            param="feature",
            remedy="Name one of them.",
        )


def check_gated(feature: str) -> None:
    """Raises InvalidRequest for a feature that does not exist or that every tenant has without a grant."""
    check_feature(feature)
    if feature == ANALYSIS:
        raise InvalidRequest(
            f"{ANALYSIS} is generally available: every tenant has it without a grant.",
            param="feature",
            remedy=f"Nothing needs to be done; only {GENERATION} is granted.",
        )
