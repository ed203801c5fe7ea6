"""Why a tenant may or may not use a feature: the decision, what it was made from, and what would
change it.

The engine itself is asked about each constraint, each one as a flag of its own: there is no second
evaluator that could disagree with the one that decides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rollout.core.decisions import (
    FEATURES,
    Decision,
    Ground,
    Reason,
    TenantFacts,
    check_feature,
    context_properties,
    ground,
)
from rollout.core.grants import Grant, grant_json
from rollout.core.kills import kill_json
from rollout.core.plans import (
    Everyone,
    Granted,
    Percentage,
    Phase,
    RunningPlan,
    compile_parts,
    run_json,
    strategy_constraints,
)
from rollout.core.tenants import Tenant
from rollout.core.times import rfc3339
from rollout.db import audit
from rollout.db.engine import Database
from rollout.db.facts import for_tenants
from rollout.services.features import Features
from rollout.services.state import State
from rollout.sync import embedded


class Explain:
    def __init__(self, database: Database, state: State, features: Features) -> None:
        self._database, self._state, self._features = database, state, features

    def of_tenant(self, tenant_id: str) -> tuple[TenantFacts, list[Decided]]:
        """What there is to know of a tenant at this moment, and what is decided on each feature. Raises
        NotFound."""
        self._state.refresh()
        known = self._state.fresh_facts(tenant_id)
        return known, [self._decided(known, feature) for feature in FEATURES]

    def of_tenants(self, tenants: Sequence[Tenant], feature: str) -> dict[str, Decision]:
        """By tenant: what is decided on the feature at this moment; two queries, however many they are."""
        self._state.refresh()
        with self._database.read() as tx:
            found = for_tenants(tx, tenants, feature)
        return {known.tenant.id: self._features.decide(known, feature) for known in found}

    def explain(self, tenant_id: str, feature: str) -> dict[str, Any]:
        """The answer of this moment, read afresh. Raises NotFound for the tenant, InvalidRequest
        for the feature."""
        check_feature(feature)
        self._state.refresh()
        facts = self._state.fresh_facts(tenant_id)
        with self._database.read() as tx:
            now = self._database.now(tx)
        snapshot = self._state.snapshot
        decided = self._decided(facts, feature)
        decision = decided.decision
        plan = snapshot.plans.get(feature)
        properties = context_properties(facts, plan, now) if plan else {}
        audiences = _audiences(plan, properties) if plan else []
        ways = list(_ways(decision, plan, audiences, properties))
        partner = self._features.describe(facts, feature)
        kill, halt, grant = snapshot.kills.get(feature), facts.halts.get(feature), facts.grants.get(feature)
        values = _reason_values(decided, grant, properties)
        return {
            "tenant": tenant_id,
            "feature": feature,
            "decision": _decision_json(decision),
            "detail": _detail(decision.reason, values),
            "reason_values": values,
            "partner": {name: partner.get(name) for name in ("detail", "how_to_enable")},
            "properties": properties,
            "audiences": [item.as_json() for item in audiences],
            "rows": {
                "kill": kill_json(kill) if kill else None,
                "halt": kill_json(halt) if halt else None,
                "grant": grant_json(grant) if grant else None,
                "run": run_json(plan.run) if plan else None,
            },
            "would_change": [_sentence(way) for way in ways],
            "ways": ways,
        }

    def _decided(self, known: TenantFacts, feature: str) -> Decided:
        decision, snapshot = self._features.decide(known, feature), self._state.snapshot
        rests_on = ground(decision, known, snapshot.plans.get(feature), snapshot.kills.get(feature))
        grant = known.grants.get(feature)
        if grant is not None and decision.reason in ("granted", "grant_expired"):
            rests_on = dataclasses.replace(rests_on, by=self._giver(grant))
        return Decided(decision, rests_on)

    def _giver(self, grant: Grant) -> str | None:
        """Who gave it: the first to write about it."""
        with self._database.read() as tx:
            rows = audit.about(tx, grant.tenant_id, [grant.id], limit=1)
        return rows[0]["actor"] if rows else None


@dataclasses.dataclass(frozen=True)
class Decided:
    """A decision and what it rests on."""

    decision: Decision
    ground: Ground


@dataclasses.dataclass(frozen=True)
class _Audience:
    """One phase's audience as the engine sees it for one tenant; `constraints` with what each
    compared and found."""

    phase: Phase
    is_open: bool
    constraints: tuple[Mapping[str, Any], ...]

    @property
    def admits(self) -> bool:
        return all(item["outcome"] for item in self.constraints)

    def as_json(self) -> dict[str, Any]:
        return {
            "phase": self.phase.key,
            "open": self.is_open,
            "audience": self.phase.audience.as_json(),
            "outcome": self.admits,
            "constraints": [dict(item) for item in self.constraints],
        }


def _audiences(plan: RunningPlan, properties: Mapping[str, str]) -> list[_Audience]:
    evaluate = embedded.load(compile_parts(plan), 0).evaluate
    audiences = []
    for position, phase in enumerate(plan.plan.phases):
        constraints = tuple(
            {
                **constraint.document(),
                "actual": properties.get(constraint.context_name),
                "outcome": evaluate(f"{phase.key}.{index}", properties) is not None,
            }
            for index, constraint in enumerate(strategy_constraints(phase))
        )
        audiences.append(_Audience(phase, position <= plan.position, constraints))
    return audiences


def _decision_json(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "allowed": decision.allowed,
        "reason": decision.reason,
        "phase": decision.phase,
        "run": decision.run,
        "revision": decision.revision,
        "valid_until": rfc3339(decision.valid_until),
    }


def _reason_values(decided: Decided, grant: Grant | None, properties: Mapping[str, str]) -> dict[str, Any]:
    """What decided, for sentences in any language: what it rests on, the phase, the grant, the tenant's bucket."""
    decision, ground = decided.decision, decided.ground
    by_grant = grant is not None and decision.reason in ("granted", "grant_expired")
    return {
        "tenant": decision.tenant_id,
        "feature": decision.feature,
        "phase": decision.phase,
        "bucket": int(properties["partnerBucket"]) if properties else None,
        "since": rfc3339(ground.since),
        "by": ground.by,
        "why": ground.reason,
        "grant": grant_json(grant) if by_grant and grant else None,
    }


def _detail(reason: Reason, values: Mapping[str, Any]) -> str:
    """The reason in an admin's words, with the values that decided."""
    phase, bucket = values["phase"], values["bucket"]
    if reason in ("killed", "tenant_halted"):
        what = "killed for everyone" if reason == "killed" else f"halted for {values['tenant']}"
        return f"Off: {what} by {values['by']} at {values['since']}: {values['why']}"
    if reason == "ga":
        return (
            "On: no plan, generally available." if phase is None else f"On: {phase} is open to all tenants."
        )
    if grant := values["grant"]:
        word = "On: granted" if reason == "granted" else "Off: the grant has expired"
        span = f"from {grant['starts_at']} " + (
            f"to {grant['expires_at']}" if grant["expires_at"] else "until revoked"
        )
        return f"{word} ({grant['id']}, {span}: {grant['reason']})."
    return {
        "segment": f"On: its attributes meet a segment that is open in {phase}.",
        "percentage": f"On: its bucket {bucket} lies within the share that is open in {phase}.",
        "flag_unknown": f"Off: there is no plan for {values['feature']}, or its flag was refused (see the log).",
        "not_granted": f"Off: {phase} lets in tenants with a grant that counts, and there is none.",
    }.get(reason, f"Off: none of the audiences that are open in {phase} lets it in (bucket {bucket}).")


def _ways(
    decision: Decision, plan: RunningPlan | None, audiences: list[_Audience], properties: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """What would change the answer: `way` says how, the other members with what."""
    if decision.reason in ("killed", "tenant_halted"):
        tenant = decision.tenant_id if decision.reason == "tenant_halted" else None
        yield {"way": "revive", "feature": decision.feature, "tenant": tenant}
    elif decision.reason == "flag_unknown":
        yield {"way": "plan", "feature": decision.feature}
    elif decision.allowed and decision.valid_until is not None:
        yield {"way": "end", "at": rfc3339(decision.valid_until)}
    elif not decision.allowed and plan is not None:
        yield from (_way_in(audience, properties) for audience in audiences)


def _way_in(audience: _Audience, properties: Mapping[str, str]) -> dict[str, Any]:
    who = audience.phase.audience
    place = {"phase": audience.phase.key, "open": audience.is_open}
    if isinstance(who, Everyone) or (audience.admits and not audience.is_open):
        return {"way": "phase", **place}
    if isinstance(who, Granted):
        return {"way": "grant", **place, "cohorts": list(who.cohorts)}
    if isinstance(who, Percentage):
        return {"way": "share", **place, "basis_points": int(properties["partnerBucket"]) + 1}
    unmet = [item["contextName"] for item in audience.constraints if not item["outcome"]]
    return {"way": "attributes", **place, "attributes": unmet}


def _sentence(way: Mapping[str, Any]) -> str:
    match way:
        case {"way": "revive", "feature": feature, "tenant": None}:
            return f"On for whom the plan lets in: revive {feature}."
        case {"way": "revive", "feature": feature, "tenant": tenant}:
            return f"On if the plan lets it in: revive {feature} for {tenant}."
        case {"way": "plan", "feature": feature}:
            return f"On for whom it lets in: a plan for {feature}."
        case {"way": "end", "at": at}:
            return f"Looked at anew at {at}, when the grant ends."
    when = f"({way['phase']}, open)" if way["open"] else f"once {way['phase']} is reached"
    match way:
        case {"way": "grant", "cohorts": cohorts}:
            of = f" in cohort {' or '.join(cohorts)}" if cohorts else ""
            return f"On with a grant{of} {when}."
        case {"way": "share", "basis_points": points}:
            return f"On from a share of {points / 100:.2f} % {when}."
        case {"way": "attributes", "attributes": names}:
            return f"On with another value of {', '.join(names)} {when}."
    return f"On {when}."
