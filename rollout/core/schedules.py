"""Schedules: steps of a plan that are to be taken at a time.

Each rests on the plan as it was when it was written: on its version, counted on by the schedules that come before it. When the plan is
another one at that time (somebody moved or edited it, one before was cancelled) the schedule is in `conflict` and a person decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rollout.core.plans import RunningPlan
from rollout.core.steps import Step, step_json, take
from rollout.core.times import check_ahead, rfc3339
from rollout.errors import Conflict

State = Literal["pending", "applied", "conflict", "cancelled"]

OPEN: tuple[State, ...] = ("pending", "conflict")
"""Those that a person may cancel."""

MAX_PENDING = 20
"""Of one plan."""


@dataclass(frozen=True)
class Schedule:
    """Times in UTC epoch seconds. `outcome`: what came of it."""

    id: str
    feature: str
    at: int
    step: Step
    base_version: int
    reason: str
    created_by: str
    created_at: int
    state: State = "pending"
    ended_at: int | None = None
    outcome: str | None = None
    version: int = 1


def foreseen(running: RunningPlan, pending: Sequence[Schedule], at: int, now: int) -> RunningPlan:
    """What a new schedule for `at` rests on: the plan as those up to then leave it.

    Raises InvalidRequest for a time that is past, Conflict where there are MAX_PENDING.
    """
    check_ahead(at, now, "at")
    if len(pending) >= MAX_PENDING:
        raise Conflict(f"At most {MAX_PENDING} steps of a plan can be scheduled.", remedy="Cancel one first.")
    for schedule in pending:
        if schedule.at <= at and schedule.base_version == running.plan.version:
            running = take(running, schedule.step, schedule.created_by, schedule.at).after
    return running


def stale(running: RunningPlan, pending: Sequence[Schedule]) -> set[str]:
    """The ids of those that would be in conflict if nothing else happened."""
    found: set[str] = set()
    for schedule in pending:
        if schedule.base_version == running.plan.version:
            running = take(running, schedule.step, schedule.created_by, schedule.at).after
        else:
            found.add(schedule.id)
    return found


def schedule_json(schedule: Schedule, *, stale: bool = False) -> dict[str, Any]:
    """The shape that admins and the audit log see; `stale`: it would be in conflict if nothing else happened."""
    return {
        "id": schedule.id,
        "feature": schedule.feature,
        "at": rfc3339(schedule.at),
        "step": step_json(schedule.step),
        "base_version": schedule.base_version,
        "state": schedule.state,
        "stale": stale,
        "reason": schedule.reason,
        "created_by": schedule.created_by,
        "created_at": rfc3339(schedule.created_at),
        "ended_at": rfc3339(schedule.ended_at),
        "outcome": schedule.outcome,
        "version": schedule.version,
    }
