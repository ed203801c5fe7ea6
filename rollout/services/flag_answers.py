"""What flags answer to frontends and to OpenFeature's clients: gates by the decision, all others by the engine.

Failure behaviour: a gate is off whenever the decision says no, so also while the revision cannot be confirmed; other flags go on with the
last good state. For a tenant its own properties replace those that the caller claims, and no property that decides a gate is ever taken
from a caller.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import orjson

from rollout.core.decisions import FEATURES, TenantFacts, context_properties
from rollout.core.flag_answers import (
    NEVER_SURE,
    NO_VARIANT,
    PASSING,
    SURE,
    FlagAnswer,
    FlagTraits,
    as_tenant,
    flags_of,
)
from rollout.core.flags import PRODUCTION
from rollout.db.engine import Clock
from rollout.errors import InvalidApiKey, LedgerUnavailable
from rollout.services.features import Features
from rollout.services.state import State
from rollout.sync.lru import LRU
from rollout.sync.snapshot import NO_FLAGS, Answer, FlagState, Snapshot

Sees = Callable[[str], bool]
"""Whether flags of a project are within the caller's reach; a tenant's gates always are."""

Known = tuple[FlagAnswer | None, ...]
"""A tenant's answers in the order of the flags; None: it must be asked each time."""

REMEMBERED_TENANTS = 5_000
TICKET_SECONDS = 300
"""How long a ticket opens a stream at most; at least half of it."""


@dataclass(frozen=True)
class _View:
    """What is known of one document: its flags, a digest, and answers that cannot change while document and tenant stay as they are.

    `same` holds each different answer once, so that what is remembered of a tenant is no more than references.
    """

    state: FlagState
    flags: Mapping[str, FlagTraits]
    digest: str
    tenants: LRU[str, tuple[TenantFacts, Known]] = field(default_factory=lambda: LRU(REMEMBERED_TENANTS))
    same: dict[tuple[str, int], FlagAnswer] = field(default_factory=dict)

    @cached_property
    def reads(self) -> frozenset[str]:
        """What any of its answers may hang on."""
        return frozenset().union(*(flag.reads for flag in self.flags.values()))


class FlagAnswers:
    """`secret` signs tickets; `clock` gives UTC epoch seconds."""

    def __init__(self, state: State, features: Features, secret: bytes, clock: Clock) -> None:
        self._state, self._features, self._clock = state, features, clock
        self._secret = hmac.new(secret, b"tickets for changes of flags", hashlib.sha256).digest()
        self._views: dict[str, _View] = {}

    def of(
        self, environment: str, context: Mapping[str, Any], facts: TenantFacts | None, sees: Sees
    ) -> list[FlagAnswer]:
        """Every flag within reach: a tenant's gates first, then the others in the document's order.

        `context` is `core.flag_answers.parse_context`'s; without `facts` it is taken at its word.
        """
        snapshot = self._state.snapshot
        view, asked = self._view(snapshot, environment), self._context(snapshot, environment, context, facts)
        gates, ask = _gates(environment, facts), view.state.ask(asked)
        known = self._known(view, facts, ask) if facts else (None,) * len(view.flags)
        others = (
            answer or self._asked(snapshot, view, flag, asked, ask, facts)
            for flag, answer in zip(view.flags.values(), known, strict=True)
            if flag.name not in gates and sees(flag.project)
        )
        return [*(self._gate(snapshot, view, facts, gate) for gate in gates if facts), *others]

    def lasts(self, snapshot: Snapshot, environment: str, context: Mapping[str, Any]) -> bool:
        """Whether `snapshot` answers a context that names no tenant the same each time: no flag looks at the clock, or draws lots."""
        reads = self._view(snapshot, environment).reads
        drawn_by_user = "userId" in context or "sessionId" in context
        return not reads & PASSING and ("default" not in reads or drawn_by_user)

    def one(
        self,
        environment: str,
        name: str,
        context: Mapping[str, Any],
        facts: TenantFacts | None,
        sees: Sees,
    ) -> FlagAnswer | None:
        """The answer of one flag; None where there is none of that name within reach."""
        snapshot = self._state.snapshot
        view = self._view(snapshot, environment)
        if facts and name in _gates(environment, facts):
            return self._gate(snapshot, view, facts, name)
        flag = view.flags.get(name)
        if flag is None or not sees(flag.project):
            return None
        asked = self._context(snapshot, environment, context, facts)
        return self._asked(snapshot, view, flag, asked, view.state.ask(asked), facts)

    def digest(self, facts: TenantFacts) -> str:
        """Changes whenever an answer to this tenant may be another one, and seldom else."""
        decisions = [self._features.decide(facts, feature) for feature in FEATURES]
        gates = [[one.allowed, one.reason, one.phase, one.run] for one in decisions]
        tenant = [facts.tenant.id, facts.tenant.state, sorted(facts.tenant.attributes.items())]
        flags = self._view(self._state.snapshot, PRODUCTION).digest
        return hashlib.sha256(orjson.dumps([flags, gates, tenant])).hexdigest()[:32]

    def catch_up(self, facts: TenantFacts, digest: str) -> TenantFacts:
        """The facts as they are now, when a stream, maybe another worker's, told of a digest that is not ours.

        While the database is away they stay as they were.
        """
        if digest == self.digest(facts):
            return facts
        try:
            self._state.refresh()
            return self._state.facts(facts.tenant.id)
        except LedgerUnavailable:
            return facts

    def ticket(self, tenant_id: str) -> str:
        """What opens the tenant's stream of changes for a while; the same for half of that time."""
        half = TICKET_SECONDS // 2
        until = (int(self._clock()) // half + 2) * half
        return f"{tenant_id}.{until}.{self._signature(tenant_id, until)}"

    def open_ticket(self, text: str) -> TenantFacts:
        """Whose ticket this is. Raises InvalidApiKey, PermissionDenied for a suspended tenant, LedgerUnavailable."""
        tenant_id, until, signature = (*text.split(".", 2), "", "")[:3]
        ends = int(until) if until.isascii() and until.isdecimal() and len(until) < 20 else 0
        genuine = hmac.compare_digest(self._signature(tenant_id, ends).encode(), signature.encode())
        if not genuine or ends <= self._clock():
            raise InvalidApiKey(
                "This ticket is not ours, or its time is over.",
                remedy="Ask for all flags again: the answer's `eventStreams` brings a new ticket.",
            )
        facts = self._state.facts(tenant_id)
        self._state.check_active(facts.tenant)
        return facts

    def _signature(self, tenant_id: str, until: int) -> str:
        return hmac.new(self._secret, f"{tenant_id}.{until}".encode(), hashlib.sha256).hexdigest()[:40]

    def _view(self, snapshot: Snapshot, environment: str) -> _View:
        """The view of the environment's document, made anew when it is another one; of environments that are there."""
        state, known = snapshot.flags.get(environment, NO_FLAGS), self._views.get(environment)
        if known is not None and known.state.document is state.document:
            return known
        digest = hashlib.sha256(orjson.dumps(state.document)).hexdigest()
        view = _View(state, flags_of(state.document), digest)
        kept = {name: one for name, one in self._views.items() if name in snapshot.flags}
        self._views = {**kept, environment: view}
        return view

    def _context(
        self,
        snapshot: Snapshot,
        environment: str,
        context: Mapping[str, Any],
        facts: TenantFacts | None,
    ) -> dict[str, Any]:
        """What the engine is asked with. A tenant brings what its gates read, for the flags below them."""
        now = self._clock()
        if facts is not None:
            gates = [context_properties(facts, plan, now) for plan in snapshot.plans.values()]
            ours = {name: text for properties in gates for name, text in properties.items()}
            context = as_tenant(context, {**facts.tenant.attributes, **ours, "tenantId": facts.tenant.id})
        time = datetime.fromtimestamp(now, UTC).isoformat()
        return {"appName": "", "currentTime": time, **context, "environment": environment}

    def _known(self, view: _View, facts: TenantFacts, ask: Answer) -> Known:
        """The answers that hang on the tenant and on nothing else."""
        memo = view.tenants.get(facts.tenant.id)
        if memo is not None and memo[0] is facts:
            return memo[1]
        fixed = SURE | (facts.tenant.attributes.keys() - NEVER_SURE)
        known = tuple(
            _answered(view, flag, ask) if flag.reads <= fixed else None for flag in view.flags.values()
        )
        view.tenants.put(facts.tenant.id, (facts, known))
        return known

    def _asked(
        self,
        snapshot: Snapshot,
        view: _View,
        flag: FlagTraits,
        asked: Mapping[str, Any],
        ask: Answer,
        facts: TenantFacts | None,
    ) -> FlagAnswer:
        """A gate that is asked without a tenant is off while nobody can confirm that it is open, and where its plan says no."""
        if facts is None and asked["environment"] == PRODUCTION and flag.name in snapshot.plans:
            says_plan = snapshot.gates.evaluate(flag.name, asked["properties"])
            if says_plan is None or not self._state.is_fresh():
                return FlagAnswer(flag, False)
        return _answered(view, flag, ask)

    def _gate(self, snapshot: Snapshot, view: _View, facts: TenantFacts, feature: str) -> FlagAnswer:
        decision, detail = (
            self._features.decide(facts, feature),
            self._features.describe(facts, feature)["detail"],
        )
        flag, variant = view.flags.get(feature) or FlagTraits(feature), NO_VARIANT
        plan = snapshot.plans.get(feature)
        if decision.allowed and plan is not None:
            properties = context_properties(facts, plan, self._clock())
            variant = snapshot.gates.answer(feature, {"properties": properties}) or NO_VARIANT
        return FlagAnswer(flag, decision.allowed, variant, decision, detail)


def _gates(environment: str, facts: TenantFacts | None) -> tuple[str, ...]:
    """The features that are decided for this tenant: in PRODUCTION alone."""
    return FEATURES if facts is not None and environment == PRODUCTION else ()


def _answered(view: _View, flag: FlagTraits, ask: Answer) -> FlagAnswer:
    drawn = ask(flag.name)
    told = flag.name, id(drawn)  # which the engine's binding reads once, and its answer here keeps
    answer = view.same.get(told)
    if answer is None:
        answer = view.same[told] = FlagAnswer(flag, bool(drawn.get("feature_enabled")), drawn)
    return answer
