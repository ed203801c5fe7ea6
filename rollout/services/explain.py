"""Why a tenant may or may not use a feature, now and at any time past: the decision, what it was made from, and what
would change it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rollout.core.decisions import (
    FEATURES,
    Decision,
    Evaluate,
    Ground,
    TenantFacts,
    check_feature,
    ground,
    is_move,
)
from rollout.core.explanations import Basis, Explanation, explain, told
from rollout.core.grants import Grant, grant_json
from rollout.core.kills import kill_json
from rollout.core.plans import run_json
from rollout.core.tenants import Tenant, tenant_json
from rollout.core.times import rfc3339
from rollout.db import audit
from rollout.db.engine import Database
from rollout.db.facts import for_tenants
from rollout.services.features import Features
from rollout.services.history import History
from rollout.services.state import State
from rollout.sync import embedded


class Explain:
    def __init__(self, database: Database, state: State, features: Features) -> None:
        self._database, self._state, self._features = database, state, features
        self._history = History(database)

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

    def explain(self, tenant_id: str, feature: str, at: int | None = None) -> dict[str, Any]:
        """The answer of this moment, read afresh, or the one of `at` (UTC epoch seconds) by the audit log.

        Raises NotFound for the tenant, InvalidRequest for the feature and for a time to come.
        """
        if not is_move(feature):
            check_feature(feature)
        if at is None:
            basis = self._now(tenant_id, feature)
            decision = self._features.decide(basis.facts, feature)
        else:
            basis = self._history.at(tenant_id, feature, at)
            decision = basis.decide(_engine)
        found = explain(basis, decision, _engine)
        rests_on = self._with_giver(decision, found.ground, basis.grant)
        return {"at": rfc3339(at), **_json(dataclasses.replace(found, ground=rests_on))}

    def _now(self, tenant_id: str, feature: str) -> Basis:
        self._state.refresh()
        facts, snapshot = self._state.fresh_facts(tenant_id), self._state.snapshot
        with self._database.read() as tx:
            now = self._database.now(tx)
        plan, kill = snapshot.plans.get(feature), snapshot.kills.get(feature)
        return Basis(facts, feature, plan, kill, snapshot.revision, now)

    def _decided(self, known: TenantFacts, feature: str) -> Decided:
        decision, snapshot = self._features.decide(known, feature), self._state.snapshot
        rests_on = ground(decision, known, snapshot.plans.get(feature), snapshot.kills.get(feature))
        return Decided(decision, self._with_giver(decision, rests_on, known.grants.get(feature)))

    def _with_giver(self, decision: Decision, rests_on: Ground, grant: Grant | None) -> Ground:
        """With who gave the grant that it rests on: the first to write about it."""
        if grant is None or decision.reason not in ("granted", "grant_expired"):
            return rests_on
        with self._database.read() as tx:
            rows = audit.about(tx, grant.tenant_id, [grant.id], limit=1)
        return dataclasses.replace(rests_on, by=rows[0]["actor"] if rows else None)


@dataclasses.dataclass(frozen=True)
class Decided:
    """A decision and what it rests on."""

    decision: Decision
    ground: Ground


def _engine(document: Mapping[str, Any]) -> Evaluate:
    return embedded.load(document, 0).evaluate


def _json(found: Explanation) -> dict[str, Any]:
    basis, decision, grant = found.basis, found.decision, found.basis.grant
    kill, halt, plan = basis.kill, basis.facts.halts.get(basis.feature), basis.plan
    words = told(decision, grant, plan, basis.now)
    return {
        "tenant": decision.tenant_id,
        "feature": basis.feature,
        "decision": {
            "id": decision.id,
            "allowed": decision.allowed,
            "reason": decision.reason,
            "phase": decision.phase,
            "run": decision.run,
            "vendors": None if decision.vendors is None else list(decision.vendors),
            "revision": decision.revision,
            "valid_until": rfc3339(decision.valid_until),
        },
        "detail": found.detail,
        "reason_values": found.values,
        "partner": dataclasses.asdict(words),
        "properties": basis.properties,
        "audiences": [door.as_json() for door in found.doors],
        "rows": {
            "tenant": tenant_json(basis.facts.tenant),
            "kill": kill_json(kill) if kill else None,
            "halt": kill_json(halt) if halt else None,
            "grant": grant_json(grant) if grant else None,
            "run": run_json(plan.run) if plan else None,
        },
        "would_change": found.would_change,
        "ways": [way.as_json() for way in found.ways],
    }
