"""Features: may a tenant use one, why (not), and the switch that stops one.

Failure behaviour: generation fails closed (no plan, no flags, or a state that nobody confirmed
lately: denied), analysis open. A kill binds where money moves, in the ledger's transaction; what is
decided here may lag behind it by the spread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from rollout.core.audit import Actor
from rollout.core.decisions import (
    FEATURES,
    Decision,
    FeatureState,
    TenantFacts,
    decide,
)
from rollout.core.explanations import Told, told
from rollout.core.kills import EVERYONE, InFlight, Kill, kill_json
from rollout.core.times import check_ahead, rfc3339
from rollout.core.webhooks import EventType
from rollout.db import audit, kills, meters, plans, revision
from rollout.db.engine import Clock, Database, Tx
from rollout.db.facts import last_use
from rollout.errors import Conflict, FeatureKilled, FeatureNotEnabled, NotFound
from rollout.services.changes import Change, Changes, as_json
from rollout.services.state import State
from rollout.services.tenants import require
from rollout.services.workers import Acks, Workers

WAIT_SECONDS = 2.0
"""How long a kill waits for the workers' acknowledgements; the workers need no longer, the answer
does."""

SHOWN_HALTS = 100


class Holds(Protocol):
    """What a kill needs of the ledger, inside the kill's own transaction."""

    def void_held(self, tx: Tx, feature: str, tenant_id: str | None, now: int) -> int: ...

    def running(self, tx: Tx, feature: str, tenant_id: str | None) -> int: ...


class Features:
    def __init__(
        self,
        database: Database,
        changes: Changes,
        state: State,
        ledger: Holds,
        workers: Workers,
        *,
        clock: Clock = time.time,
    ) -> None:
        self._database, self._changes, self._state = database, changes, state
        self._ledger, self._workers, self._clock = ledger, workers, clock

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
        _check_known(feature)
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

    def withheld(self, facts: TenantFacts, feature: str, decision: Decision) -> bool:
        """Whether the feature was killed with `in_flight: withhold` since this decision: settle,
        but do not deliver."""
        known = self._state.facts_in_memory(facts.tenant.id) or facts
        set_since = (self._state.snapshot.kills.get(feature), known.halts.get(feature))
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
        """Stop the feature, for all or for one tenant: what is held is void, what runs is charged.
        Killing what is killed renews the reason. Waits at most `wait` seconds for the workers. Raises
        NotFound, InvalidRequest."""
        _check_known(feature)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            check_ahead(remind_at, change.now, "remind_at")
            meters.lock_gate(change.tx, feature, exclusive=True)
            voided = self._ledger.void_held(change.tx, feature, tenant, change.now)
            running = self._ledger.running(change.tx, feature, tenant)
            bit = self._set(
                change,
                feature,
                tenant,
                killed=True,
                in_flight=in_flight,
                remind_at=remind_at,
                voided=voided,
            )
        return self._spread(bit, voided, running, 0 if dry_run else wait)

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
        _check_known(feature)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = kills.get(change.tx, feature, tenant or EVERYONE)
            if before is None or not before.killed:
                whom = f"for {tenant}" if tenant else "for everyone"
                raise Conflict(f"{feature} is not killed {whom}.", remedy="There is nothing to revive.")
            bit = self._set(
                change, feature, tenant, killed=False, in_flight="finish", remind_at=None, voided=0
            )
            running = self._ledger.running(change.tx, feature, tenant)
        return self._spread(bit, 0, running, 0 if dry_run else wait)

    def spread(self, feature: str, tenant: str | None = None) -> dict[str, Any]:
        """The last stop or revival (`change`), and what `kill` answers of it, as it stands now. Raises
        NotFound when there was none."""
        _check_known(feature)
        with self._database.read() as tx:
            bit = kills.get(tx, feature, tenant or EVERYONE)
            if bit is None:
                raise NotFound(
                    f"{feature} was never stopped for {tenant or 'everyone'}.", remedy="Stop it first."
                )
            made = audit.at_revision(tx, bit.revision, feature)
            voided = made["after"].get("voided", 0) if made else 0
            running = self._ledger.running(tx, feature, tenant)
            return {
                "change": kill_json(bit),
                **_switched(tx, bit, self._acks(tx, [bit]), voided, running),
            }

    def stopped(self) -> set[str]:
        """The features that are stopped for everyone."""
        with self._database.read() as tx:
            return set(kills.for_everyone(tx))

    def stops(self) -> list[tuple[str, dict[str, Any]]]:
        """What is stopped, as admins see it, by feature: for everyone first, then for at most SHOWN_HALTS tenants."""
        with self._database.read() as tx:
            for_all = kills.for_everyone(tx)
            bits = [
                bit
                for feature in FEATURES
                for bit in [for_all.get(feature), *kills.halts(tx, feature, limit=SHOWN_HALTS)]
            ]
        return [(bit.feature, kill_json(bit)) for bit in bits if bit is not None]

    def get(self, feature: str) -> dict[str, Any]:
        """The feature as admins see it, with how far the last kill or revival has spread. Raises
        NotFound."""
        _check_known(feature)
        with self._database.read() as tx:
            return self._shown(tx, feature)

    def list(self) -> list[dict[str, Any]]:
        with self._database.read() as tx:
            return [self._shown(tx, feature) for feature in FEATURES]

    def _set(
        self,
        change: Change,
        feature: str,
        tenant: str | None,
        *,
        killed: bool,
        in_flight: InFlight,
        remind_at: int | None,
        voided: int,
    ) -> Kill:
        """`voided`: how many holds that ended, for the audit log."""
        if tenant is not None:
            require(change.tx, tenant)
        before = kills.get(change.tx, feature, tenant or EVERYONE)
        after = Kill(
            feature=feature,
            tenant_id=tenant or EVERYONE,
            killed=killed,
            in_flight=in_flight,
            reason=change.reason,
            changed_by=change.actor.name,
            changed_at_ms=self._database.now_ms(change.tx),
            revision=change.revision,
            remind_at=remind_at,
        )
        kills.put(change.tx, after)
        action: EventType = "feature.killed" if killed else "feature.revived"
        change.record(
            action,
            subject=feature,
            tenant=tenant,
            before=as_json(before) if before else None,
            after={**as_json(after), "voided": voided},
        )
        change.tell(action, tenant, {"tenant": tenant, "feature": feature, "in_flight": in_flight})
        return after

    def _spread(self, bit: Kill, voided: int, running: int, wait: float) -> dict[str, Any]:
        acks = self._workers.wait_for(bit.revision, bit.changed_at_ms, wait)
        with self._database.read() as tx:
            return _switched(tx, bit, acks, voided, running)

    def _shown(self, tx: Tx, feature: str) -> dict[str, Any]:
        bit, plan = kills.get(tx, feature, EVERYONE), plans.get(tx, feature)
        halts = kills.halts(tx, feature, limit=SHOWN_HALTS)
        return {
            "feature": feature,
            "killed": bit is not None and bit.killed is True,
            "kill": kill_json(bit) if bit is not None and bit.killed else None,
            "halts": [kill_json(halt) for halt in halts],
            "phase": plan.run.phase if plan else None,
            "phase_state": plan.run.state if plan else None,
            "revision": bit.revision if bit else 0,
            "acks": self._acks(tx, [bit, *halts]).as_json(),
            "in_flight": {"running": self._ledger.running(tx, feature, None)},
            "last_allowed_at": rfc3339(last_use(tx, feature, None)),
        }

    def _acks(self, tx: Tx, bits: Sequence[Kill | None]) -> Acks:
        """Of the newest of these changes; when nothing ever changed, of the current revision."""
        newest = max((bit for bit in bits if bit is not None), key=lambda bit: bit.revision, default=None)
        if newest is None:
            return self._workers.acks(tx, revision.current(tx), None)
        return self._workers.acks(tx, newest.revision, newest.changed_at_ms)


def _switched(tx: Tx, bit: Kill, acks: Acks, voided: int, running: int) -> dict[str, Any]:
    tenant = None if bit.tenant_id == EVERYONE else bit.tenant_id
    return {
        "feature": bit.feature,
        "tenant": tenant,
        "killed": bit.killed,
        "revision": bit.revision,
        "acks": acks.as_json(),
        "in_flight": {"voided": voided, "running": running},
        "last_allowed_at": rfc3339(last_use(tx, bit.feature, tenant)),
    }


def _check_known(feature: str) -> None:
    if feature not in FEATURES:
        raise NotFound(f"There is no feature {feature!r}; there are {', '.join(FEATURES)}.")
