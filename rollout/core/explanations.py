"""Why a tenant may or may not use a feature, and what would change it: told for people, and true when carried out.

Each rule is put to the engine that decides, one flag a constraint: there is no second evaluator that could disagree. A way to
another answer is found by trying: it is carried out on values, the decision is made again, and only what turned it is told.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar

from rollout.core.decisions import (
    ANALYSIS,
    Decision,
    Evaluate,
    FeatureState,
    Ground,
    Reason,
    TenantFacts,
    context_properties,
    decide,
    ground,
)
from rollout.core.flags import MAX_VALUE_LENGTH, NUMBER_OPERATORS, Constraint
from rollout.core.grants import Grant, grant_json
from rollout.core.kills import EVERYONE, Kill
from rollout.core.plans import (
    Everyone,
    Granted,
    Percentage,
    Phase,
    Plan,
    Run,
    RunningPlan,
    compile_flag,
    compile_parts,
    document,
    strategy_constraints,
)
from rollout.core.times import rfc3339

Engine = Callable[[Mapping[str, Any]], Evaluate]
"""A client-features document, ready to be asked."""


@dataclass(frozen=True)
class Basis:
    """All that a decision at `now` (UTC epoch seconds) is made from; `kill`: the feature is stopped for everyone."""

    facts: TenantFacts
    feature: str
    plan: RunningPlan | None
    kill: Kill | None
    revision: int
    now: float

    @property
    def grant(self) -> Grant | None:
        return self.facts.grants.get(self.feature)

    @property
    def properties(self) -> dict[str, str]:
        """What the flag is evaluated on; nothing without a plan."""
        return context_properties(self.facts, self.plan, self.now) if self.plan else {}

    def decide(self, engine: Engine) -> Decision:
        state = FeatureState(self.revision, self.plan, self.kill is not None, fresh=True)
        flags = [compile_flag(self.plan, killed=False)] if self.plan else []
        return decide(self.facts, self.feature, state, self.now, engine(document(flags)))


# -- what would change it ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Act:
    """Something that a person, or time, can do about a decision; `do` names it in JSON, beside its values."""

    do: ClassVar[str]

    def carry_out(self, basis: Basis) -> Basis:
        raise NotImplementedError

    @property
    def words(self) -> str:
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        return {"do": self.do, **vars(self)}


@dataclass(frozen=True)
class Revive(Act):
    """`tenant` None: for everyone; so in Stop."""

    feature: str
    tenant: str | None
    do = "revive"

    def carry_out(self, basis: Basis) -> Basis:
        if self.tenant is None:
            return replace(basis, kill=None)
        halts = {name: halt for name, halt in basis.facts.halts.items() if name != self.feature}
        return replace(basis, facts=replace(basis.facts, halts=halts))

    @property
    def words(self) -> str:
        return f"{self.feature} revived" + (f" for {self.tenant}" if self.tenant else "")


@dataclass(frozen=True)
class Stop(Act):
    feature: str
    tenant: str | None
    do = "kill"

    def carry_out(self, basis: Basis) -> Basis:
        kill = Kill(self.feature, self.tenant or EVERYONE, True, "finish", "", "", 0, basis.revision)
        if self.tenant is None:
            return replace(basis, kill=kill)
        return replace(basis, facts=replace(basis.facts, halts={**basis.facts.halts, self.feature: kill}))

    @property
    def words(self) -> str:
        return f"{self.feature} killed for {self.tenant or 'everyone'}"


@dataclass(frozen=True)
class Give(Act):
    """A grant, in place of the one that counts (`instead_of`), which has to be revoked first."""

    cohort: str | None
    instead_of: str | None
    do = "grant"

    def carry_out(self, basis: Basis) -> Basis:
        given = Grant(
            "grt_", basis.facts.tenant.id, basis.feature, "active", int(basis.now), None, "", self.cohort
        )
        return _with_grant(basis, given)

    @property
    def words(self) -> str:
        cohort = f" in cohort {self.cohort}" if self.cohort else ""
        return f"a grant{cohort}" + (f" in place of {self.instead_of}" if self.instead_of else "")


@dataclass(frozen=True)
class Revoke(Act):
    grant: str
    do = "revoke"

    def carry_out(self, basis: Basis) -> Basis:
        return _with_grant(basis, replace(basis.grant, state="revoked") if basis.grant else None)

    @property
    def words(self) -> str:
        return f"{self.grant} revoked"


@dataclass(frozen=True)
class Wait(Act):
    """Until a grant begins or ends; `at` in UTC epoch seconds."""

    at: int
    do = "wait"

    def carry_out(self, basis: Basis) -> Basis:
        return replace(basis, now=self.at)

    @property
    def words(self) -> str:
        return f"the time {rfc3339(self.at)}, by its grant"

    def as_json(self) -> dict[str, Any]:
        return {"do": self.do, "at": rfc3339(self.at)}


@dataclass(frozen=True)
class Attribute(Act):
    """Another value of a tenant's attribute; None: without it."""

    name: str
    value: str | None
    do = "attribute"

    def carry_out(self, basis: Basis) -> Basis:
        tenant = basis.facts.tenant
        values = {**tenant.attributes, self.name: self.value}
        kept = {name: value for name, value in values.items() if value is not None}
        return replace(basis, facts=replace(basis.facts, tenant=replace(tenant, attributes=kept)))

    @property
    def words(self) -> str:
        return f"without {self.name}" if self.value is None else f"{self.name} = {self.value}"


@dataclass(frozen=True)
class Share(Act):
    """A larger percentage in a phase."""

    phase: str
    basis_points: int
    do = "share"

    def carry_out(self, basis: Basis) -> Basis:
        return _with_plan(basis, self._widened)

    def _widened(self, running: RunningPlan) -> RunningPlan:
        phases = tuple(
            replace(phase, audience=replace(phase.audience, basis_points=self.basis_points))
            if phase.key == self.phase and isinstance(phase.audience, Percentage)
            else phase
            for phase in running.plan.phases
        )
        return replace(running, plan=replace(running.plan, phases=phases))

    @property
    def words(self) -> str:
        return f"a share of {self.basis_points / 100:.2f} % in {self.phase}"


@dataclass(frozen=True)
class Reach(Act):
    """A later phase; without any of those before it, for they are open then."""

    phase: str
    do = "reach"

    def carry_out(self, basis: Basis) -> Basis:
        return _with_plan(basis, lambda running: _moved(running, self.phase))

    @property
    def words(self) -> str:
        return f"{self.phase} reached"


@dataclass(frozen=True)
class GoBack(Act):
    phase: str
    do = "rollback"

    def carry_out(self, basis: Basis) -> Basis:
        return _with_plan(basis, lambda running: _moved(running, self.phase))

    @property
    def words(self) -> str:
        return f"a rollback to {self.phase}"


@dataclass(frozen=True)
class MakePlan(Act):
    """One whose current phase lets the tenant in."""

    feature: str
    do = "plan"

    def carry_out(self, basis: Basis) -> Basis:
        everyone = Plan(self.feature, "", (Phase("everyone", "Everyone", Everyone()),))
        return replace(basis, plan=RunningPlan(everyone, Run(1, "everyone", "running", int(basis.now), "")))

    @property
    def words(self) -> str:
        return f"a plan for {self.feature} that lets it in"


@dataclass(frozen=True)
class Way:
    """Acts that together turn the decision; `phase` is the one by which it gets in then, None: none in particular."""

    acts: tuple[Act, ...]
    phase: Phase | None = None

    def carry_out(self, basis: Basis) -> Basis:
        for act in self.acts:
            basis = act.carry_out(basis)
        return basis

    @property
    def lesser(self) -> Iterator[Way]:
        """Without one of its acts."""
        return (
            replace(self, acts=self.acts[:left] + self.acts[left + 1 :]) for left in range(len(self.acts))
        )

    def as_json(self) -> dict[str, Any]:
        return {"phase": self.phase.key if self.phase else None, "acts": [act.as_json() for act in self.acts]}


def _with_grant(basis: Basis, grant: Grant | None) -> Basis:
    grants = {name: one for name, one in basis.facts.grants.items() if name != basis.feature}
    changed = grants if grant is None else {**grants, basis.feature: grant}
    return replace(basis, facts=replace(basis.facts, grants=changed))


def _with_plan(basis: Basis, change: Callable[[RunningPlan], RunningPlan]) -> Basis:
    return replace(basis, plan=change(basis.plan)) if basis.plan else basis


def _moved(running: RunningPlan, phase: str) -> RunningPlan:
    run = running.run
    return replace(running, run=Run(run.number + 1, phase, "running", run.entered_at, run.entered_by))


# -- the rules, and what came of them ------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """One constraint of a phase; `meets` asks the engine whether another value of its field would do."""

    constraint: Constraint
    actual: str | None
    outcome: bool
    meets: Callable[[str], bool]

    @property
    def field(self) -> str:
        return self.constraint.context_name

    def as_json(self) -> dict[str, Any]:
        return {**self.constraint.document(), "actual": self.actual, "outcome": self.outcome}


@dataclass(frozen=True)
class Door:
    """A phase's audience, as the engine sees it for one tenant."""

    phase: Phase
    is_open: bool
    rules: tuple[Rule, ...]

    @property
    def admits(self) -> bool:
        return all(rule.outcome for rule in self.rules)

    @property
    def fits(self) -> bool:
        """Whether it admits the tenant, or would but for its halt."""
        return all(rule.outcome or rule.field == "halt" for rule in self.rules)

    @property
    def on_attributes(self) -> dict[str, list[Rule]]:
        """The rules on attributes of the tenant, by attribute."""
        found: dict[str, list[Rule]] = {}
        for rule in self.rules:
            if rule.field not in ("halt", "grant", "cohorts", "partnerBucket"):
                found.setdefault(rule.field, []).append(rule)
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "phase": self.phase.key,
            "open": self.is_open,
            "audience": self.phase.audience.as_json(),
            "outcome": self.admits,
            "constraints": [rule.as_json() for rule in self.rules],
        }


def doors(basis: Basis, engine: Engine) -> list[Door]:
    """All phases, later ones too; none without a plan."""
    if basis.plan is None:
        return []
    ask, properties = engine(compile_parts(basis.plan)), basis.properties
    is_open = {phase.key for phase in basis.plan.open_phases}
    return [
        Door(phase, phase.key in is_open, tuple(_rules(phase, ask, properties)))
        for phase in basis.plan.plan.phases
    ]


def _rules(phase: Phase, ask: Evaluate, properties: Mapping[str, str]) -> Iterator[Rule]:
    for index, constraint in enumerate(strategy_constraints(phase)):
        flag, field = f"{phase.key}.{index}", constraint.context_name

        def meets(value: str, flag: str = flag, field: str = field) -> bool:
            return ask(flag, {**properties, field: value}) is not None

        yield Rule(constraint, properties.get(field), ask(flag, properties) is not None, meets)


# -- finding the ways ----------------------------------------------------------------------------------------


def ways(basis: Basis, allowed: bool, seen: Sequence[Door], engine: Engine) -> list[Way]:
    """What would let a tenant in that is out, or put out one that is in; none of them asks for more than it takes."""

    def turns(way: Way) -> bool:
        return way.carry_out(basis).decide(engine).allowed is not allowed

    found = _out(basis, seen, turns) if allowed else _in(basis, seen)
    return [way for way in found if way.acts and turns(way) and not any(map(turns, way.lesser))]


def _in(basis: Basis, seen: Sequence[Door]) -> Iterator[Way]:
    lifted: list[Act] = [Revive(basis.feature, None)] if basis.kill else []
    if basis.feature in basis.facts.halts:
        lifted.append(Revive(basis.feature, basis.facts.tenant.id))
    if basis.feature == ANALYSIS or any(door.is_open and door.fits for door in seen):
        yield Way(tuple(lifted))
        return
    if basis.plan is None:
        yield Way((*lifted, MakePlan(basis.feature)))
    for door in seen:
        opened = () if door.is_open else (Reach(door.phase.key),)
        if (entry := _entry(basis, door)) is not None:
            yield Way((*lifted, *opened, *entry), door.phase)
            if not entry:
                return


def _entry(basis: Basis, door: Door) -> list[Act] | None:
    """What the tenant lacks for this phase; None where nothing helps."""
    unmet = {rule.field for rule in door.rules if not rule.outcome}
    acts: list[Act] = []
    if unmet & {"grant", "cohorts"} and isinstance(door.phase.audience, Granted):
        acts.append(_grant_for(basis, door.phase.audience.cohorts))
    if "partnerBucket" in unmet:
        if door.is_open and basis.plan is not None and door.phase != basis.plan.phase:
            return None  # passed already: no step widens it
        acts.append(Share(door.phase.key, int(basis.properties["partnerBucket"]) + 1))
    for name, rules in door.on_attributes.items():
        if name in unmet:
            value = _witness(rules)
            if value is None:
                return None
            acts.append(Attribute(name, value))
    return acts


def _grant_for(basis: Basis, cohorts: Sequence[str]) -> Act:
    grant = basis.grant
    status = grant.status(basis.now) if grant else "revoked"
    if grant and status == "pending" and (not cohorts or grant.cohort in cohorts):
        return Wait(grant.starts_at)
    return Give(
        cohorts[0] if cohorts else None, grant.id if grant and status in ("active", "pending") else None
    )


def _out(basis: Basis, seen: Sequence[Door], turns: Callable[[Way], bool]) -> Iterator[Way]:
    yield Way((Stop(basis.feature, basis.facts.tenant.id),))
    yield Way((Stop(basis.feature, None),))
    if basis.plan is None or basis.feature == ANALYSIS:
        return
    running = basis.plan
    earlier = reversed(running.plan.phases[: min(running.position + 1, running.reach)])
    back = filter(turns, (Way((GoBack(phase.key),)) for phase in earlier))
    yield from itertools.islice(back, 1)
    losses = [_loss(basis, door) for door in seen if door.is_open and door.admits]
    if all(losses):
        acts = tuple(dict.fromkeys(loss for loss in losses if loss))
        yield Way(acts)
        if (
            (grant := basis.grant)
            and grant.expires_at is not None
            and any(isinstance(act, Revoke) for act in acts)
        ):
            rest = (act for act in acts if not isinstance(act, Revoke))
            yield Way((Wait(grant.expires_at), *rest))


def _loss(basis: Basis, door: Door) -> Act | None:
    """What closes an open phase to the tenant alone; None: nothing does."""
    if isinstance(door.phase.audience, Granted) and basis.grant:
        return Revoke(basis.grant.id)
    return next((Attribute(name, None) for name in door.on_attributes), None)


def _witness(rules: Sequence[Rule]) -> str | None:
    """A value of an attribute that meets all of these rules, if one is found."""
    constraints = [rule.constraint for rule in rules]
    candidates = itertools.chain(_texts(constraints), _numbers(constraints))
    return next((text for text in candidates if all(rule.meets(text) for rule in rules)), None)


def _texts(constraints: Sequence[Constraint]) -> Iterator[str]:
    """Each value itself, and beginnings, middles and ends put together."""
    yield from (value for constraint in constraints for value in constraint.values)
    parts = [
        [item.values for item in constraints if item.operator == operator]
        for operator in ("STR_STARTS_WITH", "STR_CONTAINS", "STR_ENDS_WITH")
    ]
    for chosen in itertools.islice(itertools.product(*itertools.chain(*parts)), 100):
        if len(text := "".join(chosen)) <= MAX_VALUE_LENGTH:
            yield text


def _numbers(constraints: Iterable[Constraint]) -> Iterator[str]:
    """The bounds, a little beside them, and what lies in the middle of two."""
    bounds = sorted(
        Decimal(item.value) for item in constraints if item.operator in NUMBER_OPERATORS and item.value
    )
    middles = [(low + high) / 2 for low, high in itertools.pairwise(bounds)]
    beside = [bound + step for bound in bounds for step in (1, -1)]
    yield from (format(number, "f") for number in (*bounds, *middles, *beside))


# -- the whole of it -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Explanation:
    basis: Basis
    decision: Decision
    ground: Ground
    doors: Sequence[Door]
    ways: Sequence[Way]

    @property
    def values(self) -> dict[str, Any]:
        """What decided, for sentences in any language: what it rests on, the phase, the grant, the tenant's bucket."""
        decision, grant = self.decision, self.basis.grant
        by_grant = grant is not None and decision.reason in ("granted", "grant_expired")
        bucket = self.basis.properties.get("partnerBucket")
        return {
            "tenant": decision.tenant_id,
            "feature": decision.feature,
            "phase": decision.phase,
            "bucket": int(bucket) if bucket else None,
            "since": rfc3339(self.ground.since),
            "by": self.ground.by,
            "why": self.ground.reason,
            "grant": grant_json(grant) if by_grant and grant else None,
        }

    @property
    def detail(self) -> str:
        """The reason in an admin's words, with the values that decided."""
        return _detail(self.decision.reason, self.values)

    @property
    def would_change(self) -> list[str]:
        """The ways, each as a sentence."""
        word = "Off" if self.decision.allowed else "On"
        return [f"{word} with {' and '.join(act.words for act in way.acts)}." for way in self.ways]


def explain(basis: Basis, decision: Decision, engine: Engine) -> Explanation:
    """Why the decision, made from `basis`, is as it is, and what would change it."""
    seen = doors(basis, engine)
    rests_on = ground(decision, basis.facts, basis.plan, basis.kill)
    here = decision.reason != "flag_off"  # what is off at Unleash, nothing here turns on
    return Explanation(
        basis, decision, rests_on, seen, ways(basis, decision.allowed, seen, engine) if here else []
    )


def _detail(reason: Reason, values: Mapping[str, Any]) -> str:
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
        "flag_off": f"Off: {phase} lets it in here, but the flag at Unleash does not.",
        "flags_stale": "Off: this process cannot confirm the state of its flags; until it can, nobody is let in.",
        "not_granted": f"Off: {phase} lets in tenants with a grant that counts, and there is none.",
    }.get(reason, f"Off: none of the audiences that are open in {phase} lets it in (bucket {bucket}).")


# -- what a partner is told ----------------------------------------------------------------------------------

HOW_TO_ENABLE = 'Ask for access: POST /api/v1/access-requests with {"feature": "%s", "use_case": "..."}.'

DETAILS: Mapping[Reason, str] = {
    "ga": "Open to every organisation.",
    "granted": "Your organisation has been given access.",
    "segment": "Open to organisations like yours in this phase.",
    "percentage": "Your organisation is in this phase.",
    "killed": "Switched off for everyone at the moment.",
    "tenant_halted": "Paused for your account.",
    "flags_stale": "It cannot be confirmed right now that this is open to you; try again in a few seconds.",
    "flag_unknown": "Not open to anyone yet.",
    "flag_off": "Not open to you at the moment.",
    "not_granted": "Not open to you yet.",
    "grant_expired": "Your access has ended.",
    "not_in_phase": "Not open to you in this phase.",
}
"""What a partner is told: no other tenant, no share, no limit."""

ASKING_HELPS: frozenset[Reason] = frozenset({"not_granted", "grant_expired", "not_in_phase"})


@dataclass(frozen=True)
class Told:
    """A decision in a partner's words, in an answer and in a refusal alike. `how_to_enable`: where asking helps."""

    detail: str
    how_to_enable: str | None


def told(decision: Decision, grant: Grant | None, plan: RunningPlan | None, now: float) -> Told:
    how = HOW_TO_ENABLE % decision.feature if decision.reason in ASKING_HELPS else None
    return Told(_told_detail(decision, grant, plan, now), how)


def _told_detail(decision: Decision, grant: Grant | None, plan: RunningPlan | None, now: float) -> str:
    if decision.reason == "not_granted" and grant is not None and grant.state == "active":
        return f"Your access begins at {rfc3339(grant.starts_at)}."
    if (
        decision.reason in ("not_granted", "not_in_phase")
        and (opens := _next_phase_from(plan))
        and opens > now
    ):
        return f"Not open to you yet: the next phase begins at {rfc3339(opens)} at the earliest."
    if decision.reason == "granted" and grant is not None and grant.expires_at is not None:
        return f"Your organisation has been given access until {rfc3339(grant.expires_at)}."
    if decision.feature == ANALYSIS and decision.reason == "ga":
        return "Generally available."
    return DETAILS[decision.reason]


def _next_phase_from(plan: RunningPlan | None) -> int | None:
    """Before when the next phase is not entered, UTC epoch seconds."""
    following = plan.plan.phases[plan.reach + 1 :] if plan else ()
    entry = following[0].entry if following else None
    return entry.not_before if entry else None
