"""Plans: where a feature stands among its phases, and the moves from one to the next.

Each move is one change with its audit entry. It is based on the version that was read before it
began, whether the caller sent one or not: of two advances at the same time one is refused, never
two phases taken at once.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION, TenantFacts, context_properties
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
)
from rollout.db import facts, plans
from rollout.db.engine import Database, Tx
from rollout.errors import NotFound
from rollout.services.changes import Change, Changes
from rollout.services.tenants import check_version
from rollout.sync import embedded

EXAMINED_TENANTS = 10_000
"""How many tenants are asked who would come or go: about a second of work. Beyond that the counts say
`complete: false`."""

PAGE = 500
SHOWN_RUNS = 50


@dataclass(frozen=True)
class Radius:
    """Who comes and who goes with a move, counted over the first `examined` active tenants."""

    gained: int
    lost: int
    examined: int
    complete: bool


class Plans:
    def __init__(
        self,
        database: Database,
        changes: Changes,
        *,
        new_salt: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._database, self._changes, self._new_salt = database, changes, new_salt

    def ensure_plan(self, change: Change, feature: str = GENERATION, phase: str = "private_beta") -> None:
        """Give the feature the default plan, standing at `phase`, unless it has a plan already."""
        if plans.get(change.tx, feature) is not None:
            return
        plan = Plan(feature, self._new_salt(), default_phases(feature))
        running = RunningPlan(plan, Run(1, phase, "running", change.now, change.actor.name))
        plans.add(change.tx, running, change.now)
        change.record("plan.added", subject=feature, tenant=None, before=None, after=plan_json(running))

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
        before, now = self._read(feature, based_on)
        radius = self._radius(before, dataclasses.replace(before, run=move(before, actor.name, now).run), now)
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
        return after

    def _read(self, feature: str, based_on: int | None) -> tuple[RunningPlan, int]:
        with self._database.read() as tx:
            running, now = _require(tx, feature), self._database.now(tx)
        check_version(based_on, running.plan.version, plan_json(running))
        return running, now

    def _radius(self, before: RunningPlan, after: RunningPlan, now: int) -> Radius:
        """Every tenant is asked with both flags, by the evaluator that will decide, outside of the
        change's locks."""
        feature = before.plan.feature
        was, will = (embedded.load(document([compile_flag(it, killed=False)]), 0) for it in (before, after))
        gained = lost = examined = 0
        for tenant in self._tenants(feature):
            if examined == EXAMINED_TENANTS:
                return Radius(gained, lost, examined, complete=False)
            is_in = was.evaluate(feature, context_properties(tenant, before, now)) is not None
            will_be = will.evaluate(feature, context_properties(tenant, after, now)) is not None
            gained, lost, examined = gained + (will_be > is_in), lost + (is_in > will_be), examined + 1
        return Radius(gained, lost, examined, complete=True)

    def _tenants(self, feature: str) -> Iterator[TenantFacts]:
        page: list[TenantFacts] = []
        while True:
            after = page[-1].tenant.id if page else ""
            with self._database.read() as tx:
                page = facts.page(tx, feature, after=after, limit=PAGE)
            yield from page
            if len(page) < PAGE:
                return


_Mover = Callable[[RunningPlan, str, int], Move]


def _to(move: Callable[[RunningPlan, str | None, str, int], Move], to: str | None) -> _Mover:
    return lambda running, by, now: move(running, to, by, now)


def _require(tx: Tx, feature: str) -> RunningPlan:
    running = plans.get(tx, feature)
    if running is None:
        raise NotFound(f"There is no plan for {feature!r}.", param="feature")
    return running


def _standing(running: RunningPlan) -> dict[str, Any]:
    return {"version": running.plan.version, "run": run_json(running.run)}
