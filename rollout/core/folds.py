"""What of a plan is due: schedules whose time has come, and phases that move on by themselves, folded into one change.

    plan at p1, moves on after a day: due on Monday      was nobody there until Thursday, then these three are one change:
    p2 moves on after a day: due on Tuesday              each step counts from when the one before it was due
    schedule for Wednesday: advance to p4

The fold ends where time alone does not lead on: at an approval, at evidence that is not there (nothing happened in a phase that was
passed in the same change), at a schedule whose plan is another one by now. What is left is looked at again the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rollout.core.approvals import approvals_needed, passed
from rollout.core.gates import Condition, Evidence, standing
from rollout.core.plans import RunningPlan
from rollout.core.schedules import Schedule
from rollout.core.steps import Advance, Pause, RollBack, Step, take
from rollout.errors import RolloutError

NOTHING = Evidence()


@dataclass(frozen=True)
class Due:
    """A step whose time has come; `schedule` None: the phase moves on by itself."""

    step: Step
    at: int
    schedule: Schedule | None = None


@dataclass(frozen=True)
class Stop:
    """Where a fold ended, and what for; `why` is the sentence of a conflict."""

    due: Due
    kind: Literal["waits", "approval", "conflict"]
    why: str = ""


@dataclass(frozen=True)
class Fold:
    """`taken` in their order; `stop` None: nothing more is due."""

    taken: tuple[Due, ...] = ()
    stop: Stop | None = None


def conditions(running: RunningPlan, step: Step, evidence: Evidence, now: int) -> list[Condition]:
    """How the gates stand that a step has to pass: an advance has, no other. `evidence` is of the run.

    Of a phase that it would only run through nothing is known: its exit is met by nothing but a jump.
    Raises InvalidRequest for a phase that there is not.
    """
    return _conditions(running, step, evidence, now, running.run.entered_at)


def unmet(found: Sequence[Condition]) -> list[Condition]:
    return [condition for condition in found if condition.word != "healthy"]


def asks_for_evidence(running: RunningPlan) -> bool:
    """Whether its phase's gates look at more than the time."""
    phase, run = running.phase, running.run
    found = [
        *standing(phase.exit, "exit", phase.key, NOTHING, run.entered_at, run.entered_at),
        *standing(phase.hold, "hold", phase.key, NOTHING, run.entered_at, run.entered_at),
    ]
    return not all(condition.by_time_alone for condition in found)


def fold(
    running: RunningPlan, pending: Sequence[Schedule], evidence: Evidence, *, killed: bool, now: int
) -> Fold:
    """What is due at `now`; `pending` are the plan's schedules, in order of their time, `evidence` is of its run."""
    taken: list[Due] = []
    entered_at, waiting = running.run.entered_at, [item for item in pending if item.at <= now]
    while due := _next(running, waiting, evidence, entered_at, killed, now):
        stop = _stop(running, due, evidence, entered_at, killed, now)
        if stop is not None:
            return Fold(tuple(taken), stop)
        taken.append(due)
        after = take(running, due.step, "", now).after
        if after.run.number != running.run.number:
            by_time = all(
                one.by_time_alone for one in _conditions(running, due.step, evidence, now, entered_at)
            )
            evidence, entered_at = NOTHING, max(entered_at, due.at) if by_time else now
        running = after
        if due.schedule is not None:
            waiting.remove(due.schedule)
    return Fold(tuple(taken))


def _next(
    running: RunningPlan,
    waiting: Sequence[Schedule],
    evidence: Evidence,
    entered_at: int,
    killed: bool,
    now: int,
) -> Due | None:
    """What is due first."""
    planned = [Due(item.step, item.at, item) for item in waiting[:1]]
    by_itself = None if killed else _moves_on(running, evidence, entered_at, now)
    return min([*planned, *([by_itself] if by_itself else [])], key=lambda due: due.at, default=None)


def _moves_on(running: RunningPlan, evidence: Evidence, entered_at: int, now: int) -> Due | None:
    """The advance of a phase that moves on, once time and evidence are there; at when they allowed it."""
    phases, position = running.plan.phases, running.position
    if not running.phase.moves_on or running.run.state != "running" or position + 1 == len(phases):
        return None
    step = Advance()
    if unmet(_conditions(running, step, evidence, now, entered_at)):
        return None
    exit_, entry = running.phase.exit, phases[position + 1].entry
    stayed = entered_at + (exit_.seconds or 0 if exit_ is not None else 0)
    return Due(step, max(stayed, entry.not_before or 0 if entry is not None else 0))


def _stop(
    running: RunningPlan, due: Due, evidence: Evidence, entered_at: int, killed: bool, now: int
) -> Stop | None:
    schedule, step = due.schedule, due.step
    if schedule is not None and schedule.base_version != running.plan.version:
        why = f"It was planned on version {schedule.base_version}; the plan is at {running.plan.version}."
        return Stop(due, "conflict", why)
    try:
        take(running, step, "", now)
        needed = approvals_needed(running, step)
    except RolloutError as error:
        return Stop(due, "conflict", error.message)
    if killed and not isinstance(step, (Pause, RollBack)):
        return Stop(due, "waits")
    if unmet(_conditions(running, step, evidence, now, entered_at)):
        return Stop(due, "waits")
    return Stop(due, "approval") if needed else None


def _conditions(
    running: RunningPlan, step: Step, evidence: Evidence, now: int, entered_at: int
) -> list[Condition]:
    if not isinstance(step, Advance):
        return []
    left, entered = passed(running, step)
    found: list[Condition] = []
    for phase in left[:1]:
        found += standing(phase.exit, "exit", phase.key, evidence, entered_at, now)
        found += standing(phase.hold, "hold", phase.key, evidence, entered_at, now)
    for phase in left[1:]:
        found += standing(phase.exit, "exit", phase.key, NOTHING, now, now)
    for phase in entered:
        found += standing(phase.entry, "entry", phase.key, NOTHING, now, now)
    return found
