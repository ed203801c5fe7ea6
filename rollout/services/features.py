"""Features: may a tenant use one, and why (not).

Failure behaviour: generation fails closed (no plan, no flags, or a state that nobody confirmed
lately: denied), analysis open. A kill binds where money moves, in the ledger's transaction; what is
decided here may lag behind it by the spread (`services.switches`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rollout.core.audit import Actor
from rollout.core.decisions import (
    FEATURES,
    Decision,
    FeatureState,
    TenantFacts,
    decide,
    move_of,
)
from rollout.core.explanations import Told, told
from rollout.core.kills import InFlight, switched_off, vendor_switch
from rollout.core.times import rfc3339
from rollout.db import plans
from rollout.db.engine import Clock, Database, Tx
from rollout.db.facts import last_use
from rollout.errors import FeatureKilled, FeatureNotEnabled, NotFound
from rollout.services.state import State
from rollout.services.switches import WAIT_SECONDS, Switches


class Features:
    def __init__(
        self, database: Database, state: State, switches: Switches, *, clock: Clock = time.time
    ) -> None:
        self._database, self._state, self._switches, self._clock = database, state, switches, clock

    def decide(self, facts: TenantFacts, feature: str) -> Decision:
        """From memory alone; the same answer for the same facts and revision until `valid_until`."""
        snapshot, now, fresh = self._state.snapshot, self._clock(), self._state.is_fresh()
        memo = snapshot.decisions.get((facts.tenant.id, feature)) if fresh else None
        if (
            memo is not None
            and memo[0] is facts
            and (memo[1].valid_until is None or now < memo[1].valid_until)
        ):
            return memo[1]
        state = FeatureState(
            snapshot.revision,
            snapshot.plans.get(feature),
            feature in snapshot.kills,
            fresh,
            snapshot.upstream.evaluate if snapshot.upstream else None,
        )
        decision = decide(facts, feature, state, now, snapshot.gates.evaluate)
        if fresh:
            snapshot.decisions.put((facts.tenant.id, feature), (facts, decision))
        return decision

    def has_moved(self, facts: TenantFacts, name: str) -> bool:
        """Whether this name of the catalogue, which moves, has moved for the tenant."""
        return self.decide(facts, move_of(name)).allowed

    def require(self, facts: TenantFacts, feature: str) -> Decision:
        """The decision if it is yes; raises FeatureKilled or FeatureNotEnabled, which say why and
        how to ask."""
        decision = self.decide(facts, feature)
        if decision.allowed:
            return decision
        words = self._told(facts, decision)
        members: dict[str, Any] = {
            "feature": feature,
            "reason": decision.reason,
            "detail": words.detail,
            "decision_id": decision.id,
        }
        if decision.reason == "killed":
            raise FeatureKilled(f"{feature} is switched off for everyone at the moment.", **members)
        raise FeatureNotEnabled(
            f"{feature} is not enabled for {facts.tenant.id}: {words.detail}",
            remedy=words.how_to_enable or "Wait, or ask the operator.",
            how_to_enable=words.how_to_enable,
            **members,
        )

    def describe(self, facts: TenantFacts, feature: str) -> dict[str, Any]:
        """The decision in a partner's words. Raises NotFound."""
        if feature not in FEATURES:
            raise _unknown(feature, FEATURES)
        decision = self.decide(facts, feature)
        words = self._told(facts, decision)
        return {
            "feature": feature,
            "enabled": decision.allowed,
            "reason": decision.reason,
            "detail": words.detail,
            "phase": decision.phase,
            "decision_id": decision.id,
            **({"how_to_enable": words.how_to_enable} if words.how_to_enable else {}),
        }

    def _told(self, facts: TenantFacts, decision: Decision) -> Told:
        plan, grant = self._state.snapshot.plans.get(decision.feature), facts.grants.get(decision.feature)
        return told(decision, grant, plan, self._clock())

    def is_switched_off(self, vendor: str) -> bool:
        return vendor_switch(vendor) in self._state.snapshot.kills

    def check_vendor(self, vendor: str) -> None:
        """Raises UpstreamUnavailable while the vendor is switched off."""
        if self.is_switched_off(vendor):
            raise switched_off(vendor)

    def withheld(self, facts: TenantFacts, decision: Decision, vendor: str) -> bool:
        """Whether the feature, or this vendor, was stopped with `in_flight: withhold` since the decision: settle, but do not
        deliver."""
        feature, stopped = decision.feature, self._state.snapshot.kills
        known = self._state.facts_in_memory(facts.tenant.id) or facts
        set_since = (stopped.get(feature), stopped.get(vendor_switch(vendor)), known.halts.get(feature))
        return any(
            kill is not None and kill.in_flight == "withhold" and kill.revision > decision.revision
            for kill in set_since
        )

    def kill(
        self,
        actor: Actor,
        feature: str,
        reason: str | None,
        *,
        tenant: str | None = None,
        in_flight: InFlight = "finish",
        remind_at: int | None = None,
        dry_run: bool = False,
        wait: float = WAIT_SECONDS,
    ) -> dict[str, Any]:
        """Stop the feature, as `Switches.stop`. Raises NotFound, InvalidRequest."""
        self._check_known(feature)
        return self._switches.stop(
            actor,
            feature,
            reason,
            tenant=tenant,
            in_flight=in_flight,
            remind_at=remind_at,
            dry_run=dry_run,
            wait=wait,
        )

    def revive(
        self,
        actor: Actor,
        feature: str,
        reason: str | None,
        *,
        tenant: str | None = None,
        dry_run: bool = False,
        wait: float = WAIT_SECONDS,
    ) -> dict[str, Any]:
        """Undo a kill; waits as it does. Raises NotFound, Conflict when it is not killed."""
        self._check_known(feature)
        return self._switches.revive(actor, feature, reason, tenant=tenant, dry_run=dry_run, wait=wait)

    def get(self, feature: str) -> dict[str, Any]:
        """The feature as admins see it, with how far the last kill or revival has spread. Raises
        NotFound."""
        self._check_known(feature)
        with self._database.read() as tx:
            return self._shown(tx, feature)

    def list(self) -> list[dict[str, Any]]:
        with self._database.read() as tx:
            return [self._shown(tx, feature) for feature in self._switches.features]

    def _check_known(self, feature: str) -> None:
        if feature not in self._switches.features:
            raise _unknown(feature, self._switches.features)

    def _shown(self, tx: Tx, feature: str) -> dict[str, Any]:
        plan = plans.get(tx, feature)
        return {
            "feature": feature,
            **self._switches.shown(tx, feature),
            "phase": plan.run.phase if plan else None,
            "phase_state": plan.run.state if plan else None,
            "last_allowed_at": rfc3339(last_use(tx, feature, None)),
        }


def _unknown(feature: str, known: Sequence[str]) -> NotFound:
    return NotFound(f"There is no feature {feature!r}; there are {', '.join(known)}.")
