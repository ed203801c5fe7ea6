"""Schedules: steps of a plan that the controller takes at a time, by the same path as a person."""

from __future__ import annotations

import dataclasses
from typing import Any

from rollout.core.audit import Actor
from rollout.core.plans import plan_json
from rollout.core.schedules import OPEN, Schedule, State, foreseen, schedule_json, stale
from rollout.core.steps import Step
from rollout.db import plans, schedules
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, NotFound
from rollout.services.change_requests import require_plan
from rollout.services.changes import Change, Changes
from rollout.services.ids import NewId
from rollout.services.plans import Plans
from rollout.services.tenants import check_version


class Schedules:
    def __init__(self, database: Database, changes: Changes, plans: Plans, new_id: NewId) -> None:
        self._database, self._changes, self._plans, self._new_id = database, changes, plans, new_id

    def page(
        self, *, feature: str | None, state: State | None, before: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """The newest written first, from after the id `before` on."""
        with self._database.read() as tx:
            found = schedules.page(tx, feature=feature, state=state, before=before, limit=limit)
            outdated = {name for one in {item.feature for item in found} for name in _stale(tx, one)}
        return [schedule_json(item, stale=item.id in outdated) for item in found]

    def open_of(self, feature: str) -> list[dict[str, Any]]:
        """What is to come for a plan, and what a person must decide on, in order of time."""
        with self._database.read() as tx:
            found, outdated = schedules.open_(tx, feature), _stale(tx, feature)
        return [schedule_json(item, stale=item.id in outdated) for item in found]

    def get(self, schedule_id: str) -> dict[str, Any]:
        """Raises NotFound."""
        with self._database.read() as tx:
            found = _require(tx, schedule_id)
            return schedule_json(found, stale=found.id in _stale(tx, found.feature))

    def add(
        self,
        actor: Actor,
        feature: str,
        at: int,
        step: Step,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Have a step taken at `at` (UTC epoch seconds), after the plan's other schedules up to then.

        Gates and approvals are looked at when its time has come. Raises NotFound, StaleVersion, InvalidRequest for a time that is past,
        and as `take` for a step that is not possible then.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            running = require_plan(change.tx, feature)
            check_version(based_on, running.plan.version, plan_json(running))
            pending = schedules.pending(change.tx, feature)
            before = foreseen(running, pending, at, change.now)
            self._plans.taken(before, step, actor.name, at)
            added = Schedule(
                id=self._new_id("sch"),
                feature=feature,
                at=at,
                step=step,
                base_version=before.plan.version,
                reason=change.reason,
                created_by=actor.name,
                created_at=change.now,
            )
            schedules.add(change.tx, added)
            shown = schedule_json(added)
            change.record("schedule.added", subject=added.id, tenant=None, before=None, after=shown)
        return shown

    def cancel(
        self,
        actor: Actor,
        schedule_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """It is not taken, or the conflict that it is in is settled. Raises NotFound, StaleVersion, Conflict for one that was taken."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, schedule_id)
            check_version(based_on, before.version, schedule_json(before))
            if before.state not in OPEN:
                raise Conflict(
                    f"This schedule is {before.state}.",
                    remedy="There is nothing left of it to cancel.",
                    state=before.state,
                )
            return end(change, before, change.reason)


def end(change: Change, before: Schedule, why: str) -> dict[str, Any]:
    """Cancel a schedule, in an open change."""
    after = dataclasses.replace(
        before, state="cancelled", ended_at=change.now, outcome=why, version=before.version + 1
    )
    schedules.put(change.tx, after)
    shown = schedule_json(after)
    change.record(
        "schedule.cancelled", subject=after.id, tenant=None, before=schedule_json(before), after=shown
    )
    return shown


def _stale(tx: Tx, feature: str) -> set[str]:
    running = plans.get(tx, feature)
    return stale(running, schedules.pending(tx, feature)) if running else set()


def _require(tx: Tx, schedule_id: str) -> Schedule:
    found = schedules.get(tx, schedule_id)
    if found is None:
        raise NotFound(f"There is no schedule {schedule_id!r}.", param="schedule")
    return found
