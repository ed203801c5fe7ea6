"""Plans: where a feature stands among its phases, and the moves from one to the next.

Each move is one change with its audit entry, and brings the budgets of the phases that it opens. It is
based on the version that was read before it began, whether the caller sent one or not: of two advances
at the same time one is refused, never two phases taken at once.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rollout.core.audit import Actor
from rollout.core.decisions import (
    GENERATION,
    Evaluate,
    FeatureState,
    Reason,
    TenantFacts,
    context_properties,
    decide,
)
from rollout.core.plans import (
    Move,
    Plan,
    Run,
    RunningPlan,
    advance,
    compile_flag,
    default_phases,
    document,
    pause,
    plan_json,
    resume,
    roll_back,
    run_json,
    what_counts,
)
from rollout.core.tenants import Tenant
from rollout.db import facts, plans
from rollout.db.engine import Database, Tx
from rollout.errors import NotFound
from rollout.services.changes import Change, Changes
from rollout.services.ids import NewId
from rollout.services.meter_changes import give_budgets
from rollout.services.tenants import check_version
from rollout.sync import embedded

EXAMINED_TENANTS = 10_000
"""How many tenants are asked who is in, or would come or go: about a quarter of a second of work. Beyond that
the counts say `complete: false`."""

PAGE = 500
SHOWN_RUNS = 50


@dataclass(frozen=True)
class Radius:
    """Who comes and who goes with a move, counted over the first `examined` active tenants."""

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


Step = Literal["advance", "rollback"]
"""The moves from phase to phase."""


class Plans:
    def __init__(
        self,
        database: Database,
        changes: Changes,
        new_id: NewId,
        *,
        new_salt: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._database, self._changes, self._new_id, self._new_salt = database, changes, new_id, new_salt

    def ensure_plan(self, change: Change, feature: str = GENERATION, phase: str = "private_beta") -> None:
        """Give the feature the default plan, standing at `phase`, unless it has a plan already."""
        if plans.get(change.tx, feature) is not None:
            return
        plan = Plan(feature, self._new_salt(), default_phases(feature))
        running = RunningPlan(plan, Run(1, phase, "running", change.now, change.actor.name))
        plans.add(change.tx, running, change.now)
        change.record("plan.added", subject=feature, tenant=None, before=None, after=plan_json(running))
        give_budgets(change, self._new_id, feature, running.open_phases)

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

    def foresee(self, actor: Actor, feature: str, step: Step, *, to: str | None = None) -> dict[str, Any]:
        """What `advance` or `rollback` would come to at this moment: the plan as it stands, the run `next`, `tenants`.

        Raises as they do.
        """
        move = _to(advance if step == "advance" else roll_back, to)
        before, after, radius = self._foresee(actor, feature, move, None)
        return {
            **plan_json(before),
            "next": run_json(after.run),
            "tenants": dataclasses.asdict(radius),
        }

    def advance(
        self,
        actor: Actor,
        feature: str,
        reason: str | None,
        *,
        to: str | None = None,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """On to the next phase, or to the later one `to`; nobody loses access. Answers the plan as
        it stands then, and `tenants`: who came. Raises NotFound, Conflict, StaleVersion,
        InvalidRequest."""
        move = _to(advance, to)
        return self._enter(actor, "plan.advanced", feature, reason, move, based_on=based_on, dry_run=dry_run)

    def rollback(
        self,
        actor: Actor,
        feature: str,
        reason: str | None,
        *,
        to: str | None = None,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Back to the previous phase, or to the earlier one `to`. Answers and raises as `advance`."""
        move = _to(roll_back, to)
        return self._enter(
            actor, "plan.rolled_back", feature, reason, move, based_on=based_on, dry_run=dry_run
        )

    def pause(
        self,
        actor: Actor,
        feature: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Nobody advances the plan until it is resumed; who is in stays in. Raises as `advance`."""
        return self._switch(actor, "plan.paused", feature, reason, pause, based_on=based_on, dry_run=dry_run)

    def resume(
        self,
        actor: Actor,
        feature: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Undo a pause. Raises as `advance`."""
        return self._switch(
            actor, "plan.resumed", feature, reason, resume, based_on=based_on, dry_run=dry_run
        )

    def _enter(
        self,
        actor: Actor,
        action: str,
        feature: str,
        reason: str | None,
        move: _Mover,
        *,
        based_on: int | None,
        dry_run: bool,
    ) -> dict[str, Any]:
        before, _, radius = self._foresee(actor, feature, move, based_on)
        after = self._apply(
            actor, action, feature, reason, move, based_on=before.plan.version, dry_run=dry_run
        )
        return {**plan_json(after), "tenants": dataclasses.asdict(radius)}

    def _switch(
        self,
        actor: Actor,
        action: str,
        feature: str,
        reason: str | None,
        move: Callable[[RunningPlan], Move],
        *,
        based_on: int | None,
        dry_run: bool,
    ) -> dict[str, Any]:
        def mover(running: RunningPlan, _by: str, _now: int) -> Move:
            return move(running)

        return plan_json(
            self._apply(actor, action, feature, reason, mover, based_on=based_on, dry_run=dry_run)
        )

    def _apply(
        self,
        actor: Actor,
        action: str,
        feature: str,
        reason: str | None,
        move: _Mover,
        *,
        based_on: int | None,
        dry_run: bool,
    ) -> RunningPlan:
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, feature)
            check_version(based_on, before.plan.version, plan_json(before))
            moved = move(before, actor.name, change.now)
            after = RunningPlan(dataclasses.replace(before.plan, version=before.plan.version + 1), moved.run)
            if moved.ended is not None:
                plans.put_run(change.tx, feature, moved.ended)
            plans.put_run(change.tx, feature, moved.run)
            plans.put_version(change.tx, feature, after.plan.version)
            change.record(
                action, subject=feature, tenant=None, before=_standing(before), after=_standing(after)
            )
            if moved.ended is not None:
                opened = after.plan.phases[before.position + 1 : after.position + 1] or (after.phase,)
                give_budgets(change, self._new_id, feature, opened)
            change.tell("phase.changed", None, {"feature": feature, **_standing(after)})
        return after

    def _read(self, feature: str, based_on: int | None) -> tuple[RunningPlan, int]:
        with self._database.read() as tx:
            running, now = _require(tx, feature), self._database.now(tx)
        check_version(based_on, running.plan.version, plan_json(running))
        return running, now

    def _foresee(
        self, actor: Actor, feature: str, move: _Mover, based_on: int | None
    ) -> tuple[RunningPlan, RunningPlan, Radius]:
        before, now = self._read(feature, based_on)
        after = dataclasses.replace(before, run=move(before, actor.name, now).run)
        return before, after, self._radius(before, after, now)

    def _radius(self, before: RunningPlan, after: RunningPlan, now: int) -> Radius:
        """Every tenant is asked with both flags, by the evaluator that will decide, outside of the
        change's locks."""
        feature = before.plan.feature
        was, will = _evaluator(before), _evaluator(after)
        gained = lost = examined = 0
        for tenant in self._tenants(feature, ""):
            if examined == EXAMINED_TENANTS:
                return Radius(gained, lost, examined, complete=False)
            is_in = was(feature, context_properties(tenant, before, now)) is not None
            will_be = will(feature, context_properties(tenant, after, now)) is not None
            gained, lost, examined = gained + (will_be > is_in), lost + (is_in > will_be), examined + 1
        return Radius(gained, lost, examined, complete=True)

    def _inside(self, running: RunningPlan, now: int, after: str) -> Iterator[tuple[Tenant, Reason | None]]:
        """Each active tenant with why it is in; None: it is not."""
        feature, evaluate = running.plan.feature, _evaluator(running)
        state = FeatureState(revision=0, plan=running, killed=False, fresh=True)
        for known in self._tenants(feature, after):
            decision = decide(known, feature, state, now, evaluate)
            yield known.tenant, decision.reason if decision.allowed else None

    def _tenants(self, feature: str, after: str) -> Iterator[TenantFacts]:
        while True:
            with self._database.read() as tx:
                page = facts.page(tx, feature, after=after, limit=PAGE)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].tenant.id


_Mover = Callable[[RunningPlan, str, int], Move]


def _to(move: Callable[[RunningPlan, str | None, str, int], Move], to: str | None) -> _Mover:
    return lambda running, by, now: move(running, to, by, now)


def _evaluator(running: RunningPlan) -> Evaluate:
    """The one that will decide, asked once for all tenants that the flag cannot tell apart."""
    evaluate = embedded.load(document([compile_flag(running, killed=False)]), 0).evaluate
    look, answers = what_counts(running), dict[object, str | None]()

    def ask(flag: str, properties: Mapping[str, str]) -> str | None:
        seen = look(properties)
        if seen not in answers:
            answers[seen] = evaluate(flag, properties)
        return answers[seen]

    return ask


def _require(tx: Tx, feature: str) -> RunningPlan:
    running = plans.get(tx, feature)
    if running is None:
        raise NotFound(f"There is no plan for {feature!r}.", param="feature")
    return running


def _standing(running: RunningPlan) -> dict[str, Any]:
    return {"version": running.plan.version, "run": run_json(running.run)}
