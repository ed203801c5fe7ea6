"""What of a plan is due: schedules whose time has come, and phases that move on by themselves, folded into one change.

    plan at p1, moves on after a day: due on Monday      was nobody there until Thursday, then these three are one change:
    p2 moves on after a day: due on Tuesday              each step counts from when the one before it was due
    schedule for Wednesday: advance to p4

The fold ends where time alone does not lead on: at an approval, at evidence that is not there (nothing happened in a phase that was
passed in the same change), at a schedule whose plan is another one by now. What is left is looked at again the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rollout.core.approvals import approvals_needed, passed
from rollout.core.gates import Condition, Evidence, Gate, standing
from rollout.core.plans import RunningPlan
from rollout.core.schedules import Schedule
from rollout.core.steps import Advance, Pause, RollBack, Step, take
from rollout.errors import RolloutError

NOTHING, NO_GATE = Evidence(), Gate()


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
    return _Stand(running, evidence, running.run.entered_at, now).conditions(step)


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
    stand = _Stand(running, evidence, running.run.entered_at, now, killed)
    waiting = [item for item in pending if item.at <= now]
    while due := stand.next(waiting):
        stop = stand.stop(due)
        if stop is not None:
            return Fold(tuple(taken), stop)
        taken.append(due)
        stand, waiting = stand.after(due), [item for item in waiting if item is not due.schedule]
    return Fold(tuple(taken))


@dataclass(frozen=True)
class _Stand:
    """Where a fold has brought the plan so far; `entered_at`: when it would have come there, had somebody looked at each time."""

    running: RunningPlan
    evidence: Evidence
    entered_at: int
    now: int
    killed: bool = False

    def next(self, waiting: Sequence[Schedule]) -> Due | None:
        """What is due first."""
        planned = [Due(item.step, item.at, item) for item in waiting[:1]]
        return min([*planned, *self._moves_on()], key=lambda due: due.at, default=None)

    def stop(self, due: Due) -> Stop | None:
        """Why it is not taken."""
        planned, version = due.schedule, self.running.plan.version
        if planned is not None and planned.base_version != version:
            why = f"It was planned on version {planned.base_version}; the plan is at {version}."
            return Stop(due, "conflict", why)
        try:
            take(self.running, due.step, "", self.now)
        except RolloutError as error:
            return Stop(due, "conflict", error.message)
        if self.killed and not isinstance(due.step, (Pause, RollBack)):
            return Stop(due, "waits")
        if unmet(self.conditions(due.step)):
            return Stop(due, "waits")
        return Stop(due, "approval") if approvals_needed(self.running, due.step) else None

    def after(self, due: Due) -> _Stand:
        """Time in a new phase counts from when its step was due; from now, where evidence said when."""
        after = take(self.running, due.step, "", self.now).after
        if after.run.number == self.running.run.number:
            return replace(self, running=after)
        by_time = all(condition.by_time_alone for condition in self.conditions(due.step))
        entered_at = max(self.entered_at, due.at) if by_time else self.now
        return replace(self, running=after, evidence=NOTHING, entered_at=entered_at)

    def conditions(self, step: Step) -> list[Condition]:
        if not isinstance(step, Advance):
            return []
        now, found = self.now, list[Condition]()
        left, entered = passed(self.running, step)
        for phase in left[:1]:
            found += standing(phase.exit, "exit", phase.key, self.evidence, self.entered_at, now)
            found += standing(phase.hold, "hold", phase.key, self.evidence, self.entered_at, now)
        for phase in left[1:]:
            found += standing(phase.exit, "exit", phase.key, NOTHING, now, now)
        for phase in entered:
            found += standing(phase.entry, "entry", phase.key, NOTHING, now, now)
        return found

    def _moves_on(self) -> list[Due]:
        """The advance of a phase that moves on, since time and evidence allow it; none, or one."""
        phases, phase, run = self.running.plan.phases, self.running.phase, self.running.run
        later = phases[self.running.position + 1 :]
        if not phase.moves_on or run.state != "running" or self.killed or not later:
            return []
        if unmet(self.conditions(Advance())):
            return []
        exit_, entry = phase.exit or NO_GATE, later[0].entry or NO_GATE
        return [Due(Advance(), max(self.entered_at + (exit_.seconds or 0), entry.not_before or 0))]
