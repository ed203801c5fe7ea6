"""Plans: where a feature stands among its phases, what they say, and the steps that change either.

Each step is one change with its audit entry, and brings the budgets of the phases that it opens. It is
based on the version that was read before it began, whether the caller sent one or not: of two advances
at the same time one is refused, never two phases taken at once.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.core.audit import Actor
from rollout.core.contents import parse_phases, patch_to
from rollout.core.decisions import (
    GENERATION,
    FeatureState,
    Reason,
    check_gated,
    context_properties,
    decide,
)
from rollout.core.plans import (
    Audience,
    Phase,
    Plan,
    Run,
    RunningPlan,
    phase_json,
    plan_json,
    run_json,
)
from rollout.core.steps import Edit, Step, Taken, take
from rollout.core.templates import PARTNER_BETA, TEMPLATES, phases_of
from rollout.core.tenants import Tenant
from rollout.db import plans
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services.audiences import EXAMINED_TENANTS, PAGE, active_tenants, evaluator
from rollout.services.catalogue import InForce
from rollout.services.changes import Change, Changes
from rollout.services.ids import NewId
from rollout.services.meter_changes import give_budgets
from rollout.services.tenants import check_version

SHOWN_RUNS = 50


@dataclass(frozen=True)
class Radius:
    """Who comes and who goes with a step, counted over the first `examined` active tenants; where the same audiences stay open,
    nobody has to be asked."""

    gained: int
    lost: int
    examined: int
    complete: bool


@dataclass(frozen=True)
class Members:
    """Tenants that the plan lets in, each with why, in order of id. `after`: from where to go on, None at the end.

    There may be fewer than were asked for, and more behind: it goes on after at most `PAGE` tenants that were asked.
    """

    inside: list[tuple[Tenant, Reason]]
    after: str | None


@dataclass(frozen=True)
class Count:
    """How many tenants the plan lets in, of the first `examined` active ones; and who comes first."""

    inside: int
    examined: int
    complete: bool
    first: Sequence[tuple[Tenant, Reason]] = ()


@dataclass(frozen=True)
class Foreseen:
    """What a step comes to: the plan before and after it, and whom it lets in or shuts out."""

    before: RunningPlan
    after: RunningPlan
    tenants: Radius

    def as_json(self) -> dict[str, Any]:
        """The plan as it is after the step, with `tenants`."""
        return {**plan_json(self.after), "tenants": dataclasses.asdict(self.tenants)}


class Plans:
    def __init__(
        self,
        database: Database,
        changes: Changes,
        catalogue: InForce,
        new_id: NewId,
        *,
        new_salt: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._database, self._changes, self._catalogue = database, changes, catalogue
        self._new_id, self._new_salt = new_id, new_salt

    def ensure_plan(self, change: Change, feature: str = GENERATION, phase: str = "private_beta") -> None:
        """Give the feature the default plan, standing at `phase`, unless it has a plan already."""
        if plans.get(change.tx, feature) is not None:
            return
        self._add(change, self.new(feature, phases_of(PARTNER_BETA, feature)), phase)

    def add(
        self,
        actor: Actor,
        feature: str,
        reason: str | None,
        *,
        template: str | None = None,
        phases: Any = None,
        phase: str | None = None,
        four_eyes: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Give the feature a plan: a template's, or `phases` as JSON. It stands at `phase`, or at the first one.

        Raises InvalidRequest, Conflict where it has one.
        """
        check_gated(feature)
        if (template is None) == (phases is None):
            raise InvalidRequest("A plan begins with a template or with phases.", param="template")
        listed = parse_phases(phases, feature) if template is None else phases_of(template, feature)
        plan = self.new(feature, listed, four_eyes=four_eyes)
        self._check_vendors(plan, ())
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            return plan_json(self.begin(change, plan, phase))

    def begin(self, change: Change, plan: Plan, phase: str | None) -> RunningPlan:
        """Add a plan in an open change. Raises InvalidRequest, Conflict."""
        if plans.get(change.tx, plan.feature) is not None:
            raise Conflict(
                f"{plan.feature} has a plan already.",
                param="feature",
                remedy="Edit it, or take a step of it.",
            )
        first = plan.phases[0].key if phase is None else phase
        plan.position(first, "phase")
        return self._add(change, plan, first)

    def new(self, feature: str, phases: Sequence[Phase], *, four_eyes: bool = False) -> Plan:
        """A plan with a salt of its own."""
        return Plan(feature, self._new_salt(), tuple(phases), four_eyes=four_eyes)

    def end(self, change: Change, feature: str) -> None:
        """Take a plan away, in an open change: the audit log alone keeps it. Raises NotFound."""
        gone = _require(change.tx, feature)
        plans.remove(change.tx, feature)
        change.record("plan.ended", subject=feature, tenant=None, before=plan_json(gone), after=None)

    def templates(self) -> list[dict[str, Any]]:
        """Those that `add` knows, with their phases as they would be for image generation."""
        return [
            {"template": name, "phases": [phase_json(phase) for phase in phases_of(name, GENERATION)]}
            for name in TEMPLATES
        ]

    def vendors(self, feature: str) -> list[str]:
        """Those that have a model of the feature."""
        return sorted({model.vendor for model in self._catalogue().models if model.feature == feature})

    def list(self) -> list[dict[str, Any]]:
        with self._database.read() as tx:
            return [plan_json(running) for _, running in sorted(plans.all_(tx).items())]

    def get(self, feature: str) -> dict[str, Any]:
        """With its latest runs, newest first. Raises NotFound."""
        with self._database.read() as tx:
            running = _require(tx, feature)
            return {
                **plan_json(running),
                "runs": [run_json(run) for run in plans.runs(tx, feature, limit=SHOWN_RUNS)],
            }

    def members(self, feature: str, *, after: str | None, limit: int) -> Members:
        """Who is in by the plan, whether or not the feature is stopped for everyone just now. Raises NotFound."""
        running, now = self._read(feature, None)
        inside: list[tuple[Tenant, Reason]] = []
        for asked, (tenant, reason) in enumerate(self._inside(running, now, after or ""), start=1):
            if reason is not None:
                inside.append((tenant, reason))
            if len(inside) == limit or asked == PAGE:
                return Members(inside, tenant.id)
        return Members(inside, None)

    def count(self, feature: str, *, limit: int = 0) -> Count:
        """How many are in, as `members` tells them, and the first `limit` of them. Raises NotFound."""
        running, now = self._read(feature, None)
        first: list[tuple[Tenant, Reason]] = []
        inside = examined = 0
        for tenant, reason in self._inside(running, now, ""):
            if examined == EXAMINED_TENANTS:
                return Count(inside, examined, False, first)
            examined += 1
            if reason is not None:
                inside += 1
                if len(first) < limit:
                    first.append((tenant, reason))
        return Count(inside, examined, True, first)

    def edit_to(self, feature: str, content: Mapping[str, Any]) -> Edit:
        """The edit that gives the plan just this content: `phases`, `four_eyes`. Raises NotFound, InvalidRequest."""
        plan = self._read(feature, None)[0].plan
        phases = parse_phases(content.get("phases"), feature)
        four_eyes = bool(content.get("four_eyes"))
        return Edit(patch_to(plan, dataclasses.replace(plan, phases=phases, four_eyes=four_eyes)))

    def foresee(self, actor: Actor, feature: str, step: Step, *, based_on: int | None = None) -> Foreseen:
        """What `step` would come to at this moment, by gates and approvals or not. Raises as `take`."""
        before, now = self._read(feature, based_on)
        after = self.taken(before, step, actor.name, now).after
        return Foreseen(before, after, self._radius(before, after, now))

    def take(
        self, change: Change, feature: str, step: Step, *, based_on: int | None = None
    ) -> tuple[RunningPlan, RunningPlan]:
        """Take a step inside an open change; the plan before and after it. An edit that changes nothing writes nothing.

        Whether gates and approvals let it, the caller knows. Raises NotFound, StaleVersion, Conflict, InvalidRequest.
        """
        before = _require(change.tx, feature)
        check_version(based_on, before.plan.version, plan_json(before))
        taken = self.taken(before, step, change.actor.name, change.now)
        after = taken.after
        if after == before:
            return before, after
        plans.put(change.tx, taken.plan)
        if taken.plan.phases != before.plan.phases:
            plans.put_phases(change.tx, taken.plan)
        if taken.ended is not None:
            plans.put_run(change.tx, feature, taken.ended)
        if taken.run != before.run:
            plans.put_run(change.tx, feature, taken.run)
        shown = plan_json(after)
        change.record(step.action, subject=feature, tenant=None, before=plan_json(before), after=shown)
        if taken.ended is not None:
            opened = after.plan.phases[before.reach + 1 : after.reach + 1] or (after.phase,)
            give_budgets(change, self._new_id, feature, opened)
        if taken.run != before.run:
            standing = {name: shown[name] for name in ("feature", "version", "run")}
            change.tell("phase.changed", None, standing)
        return before, after

    def _add(self, change: Change, plan: Plan, phase: str) -> RunningPlan:
        running = RunningPlan(plan, Run(1, phase, "running", change.now, change.actor.name))
        plans.add(change.tx, running, change.now)
        change.record("plan.added", subject=plan.feature, tenant=None, before=None, after=plan_json(running))
        give_budgets(change, self._new_id, plan.feature, running.open_phases)
        return running

    def taken(self, before: RunningPlan, step: Step, by: str, now: int) -> Taken:
        """What `step` would leave behind; nothing is written. Raises Conflict, InvalidRequest."""
        taken = take(before, step, by, now)
        self._check_vendors(taken.plan, before.plan.phases)
        return taken

    def _check_vendors(self, plan: Plan, before: Sequence[Phase]) -> None:
        """Raises InvalidRequest for a phase that now names a vendor without a model of the feature: its members could use nothing."""
        known = self.vendors(plan.feature)
        named = {phase.vendors for phase in before}
        for phase in plan.phases:
            unknown = set(phase.vendors or ()) - set(known)
            if unknown and phase.vendors not in named:
                raise InvalidRequest(
                    f"{min(unknown)} has no model of {plan.feature}; {', '.join(known)} do.",
                    param=f"phases.{phase.key}.vendors",
                )

    def _read(self, feature: str, based_on: int | None) -> tuple[RunningPlan, int]:
        with self._database.read() as tx:
            running, now = _require(tx, feature), self._database.now(tx)
        check_version(based_on, running.plan.version, plan_json(running))
        return running, now

    def _radius(self, before: RunningPlan, after: RunningPlan, now: int) -> Radius:
        """Every tenant is asked with both flags, by the evaluator that will decide, outside of the
        change's locks."""
        feature = before.plan.feature
        gained = lost = examined = 0
        if _audiences(before) == _audiences(after):
            return Radius(gained, lost, examined, complete=True)
        was, will = evaluator(before), evaluator(after)
        for tenant in active_tenants(self._database, feature):
            if examined == EXAMINED_TENANTS:
                return Radius(gained, lost, examined, complete=False)
            is_in = was(feature, context_properties(tenant, before, now)) is not None
            will_be = will(feature, context_properties(tenant, after, now)) is not None
            gained, lost, examined = gained + (will_be > is_in), lost + (is_in > will_be), examined + 1
        return Radius(gained, lost, examined, complete=True)

    def _inside(self, running: RunningPlan, now: int, after: str) -> Iterator[tuple[Tenant, Reason | None]]:
        """Each active tenant with why it is in; None: it is not."""
        feature, evaluate = running.plan.feature, evaluator(running)
        state = FeatureState(revision=0, plan=running, killed=False, fresh=True)
        for known in active_tenants(self._database, feature, after):
            decision = decide(known, feature, state, now, evaluate)
            yield known.tenant, decision.reason if decision.allowed else None


def _audiences(running: RunningPlan) -> list[Audience]:
    return [phase.audience for phase in running.open_phases]


def _require(tx: Tx, feature: str) -> RunningPlan:
    running = plans.get(tx, feature)
    if running is None:
        raise NotFound(f"There is no plan for {feature!r}.", param="feature")
    return running
