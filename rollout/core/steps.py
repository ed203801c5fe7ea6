"""Steps: all that can be done to a plan, as values that can wait for a time or for a second person.

    {"do": "advance", "to"?}      on to the next phase or a later one: only adds tenants
    {"do": "rollback", "to"?}     back to the previous phase or an earlier one: the step that removes tenants
    {"do": "jump", "to"}          to any phase, past time and evidence; back, too, with everybody who is in
    {"do": "restart", "patch"?}   the same phase anew, as changed, with everybody who is in: figures begin at nothing
    {"do": "pause"}               nobody advances it; who is in stays in
    {"do": "resume"}
    {"do": "edit", "patch"}       other contents: `core.contents.patched`

`take` knows which steps are possible. Gates and approvals, which say whether they may be taken now, are their caller's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any, ClassVar

from rollout.core.contents import check_lock, check_widened, patched
from rollout.core.plans import Plan, Run, RunningPlan, RunState
from rollout.errors import Conflict, InvalidRequest


@dataclass(frozen=True)
class Advance:
    to: str | None = None
    do: ClassVar = "advance"
    action: ClassVar = "plan.advanced"


@dataclass(frozen=True)
class RollBack:
    to: str | None = None
    do: ClassVar = "rollback"
    action: ClassVar = "plan.rolled_back"


@dataclass(frozen=True)
class Jump:
    to: str
    do: ClassVar = "jump"
    action: ClassVar = "plan.jumped"


@dataclass(frozen=True)
class Restart:
    """`patch` (RFC 7396) of the members of the phase, which is then entered as it is changed."""

    patch: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    do: ClassVar = "restart"
    action: ClassVar = "plan.restarted"


@dataclass(frozen=True)
class Pause:
    do: ClassVar = "pause"
    action: ClassVar = "plan.paused"


@dataclass(frozen=True)
class Resume:
    do: ClassVar = "resume"
    action: ClassVar = "plan.resumed"


@dataclass(frozen=True)
class Edit:
    patch: Mapping[str, Any]
    do: ClassVar = "edit"
    action: ClassVar = "plan.edited"


Step = Advance | RollBack | Jump | Restart | Pause | Resume | Edit

STEPS: Mapping[str, type[Step]] = {
    kind.do: kind for kind in (Advance, RollBack, Jump, Restart, Pause, Resume, Edit)
}


@dataclass(frozen=True)
class Taken:
    """What a step leaves behind: the plan, the run that ends (None: none does) and the run that counts from now on."""

    plan: Plan
    ended: Run | None
    run: Run

    @property
    def after(self) -> RunningPlan:
        return RunningPlan(self.plan, self.run)


def parse_step(data: Any, at: str = "") -> Step:
    """A step from JSON; raises InvalidRequest that names the field below `at`."""
    place = f"{at}." if at else ""
    if not isinstance(data, Mapping):
        raise InvalidRequest("A step is an object with a member `do`.", param=at or "do")
    kind = STEPS.get(data["do"]) if isinstance(data.get("do"), str) else None
    if kind is None:
        raise InvalidRequest(f"`do` is one of {', '.join(STEPS)}.", param=f"{place}do")
    given = {name: value for name, value in data.items() if name != "do" and value is not None}
    members = {item.name: item for item in dataclasses.fields(kind)}
    if unknown := set(given) - set(members):
        raise InvalidRequest(f"A step {kind.do!r} has no such member.", param=f"{place}{min(unknown)}")
    for name in set(members) - set(given):
        if members[name].default is MISSING and members[name].default_factory is MISSING:
            raise InvalidRequest(f"A step {kind.do!r} needs `{name}`.", param=f"{place}{name}")
    if not isinstance(given.get("to", ""), str):
        raise InvalidRequest("`to` is the key of a phase.", param=f"{place}to")
    if not isinstance(given.get("patch", {}), Mapping):
        raise InvalidRequest("`patch` is an object.", param=f"{place}patch")
    return kind(**given)


def step_json(step: Step) -> dict[str, Any]:
    """What `parse_step` reads."""
    return {"do": step.do, **{name: value for name, value in vars(step).items() if value is not None}}


def take(running: RunningPlan, step: Step, by: str, now: int) -> Taken:
    """The plan after the step, at `now` (UTC epoch seconds). Raises Conflict, InvalidRequest.

    An edit that changes nothing leaves the version as it is.
    """
    match step:
        case Advance(to):
            return _advance(running, to, by, now)
        case RollBack(to):
            return _roll_back(running, to, by, now)
        case Jump(to):
            return _jump(running, to, by, now)
        case Restart(patch):
            return _restart(running, patch, by, now)
        case Pause():
            return _switch(running, "running", "paused")
        case Resume():
            return _switch(running, "paused", "running")
        case Edit(patch):
            return _edit(running, patch)


def _advance(running: RunningPlan, to: str | None, by: str, now: int) -> Taken:
    _check_runs(running)
    target = running.position + 1 if to is None else running.plan.position(to)
    if target == len(running.plan.phases):
        raise Conflict(f"{running.run.phase} is the last phase.", remedy="There is nothing to advance to.")
    if target <= running.position:
        raise InvalidRequest(
            f"{to} is not a later phase than {running.run.phase}.",
            param="to",
            remedy="To go back, roll back.",
        )
    return _enter(running, target, by, now)


def _roll_back(running: RunningPlan, to: str | None, by: str, now: int) -> Taken:
    """From a paused phase too; from the first one only where members of later ones were kept."""
    target = max(running.position - 1, 0) if to is None else running.plan.position(to)
    if running.reach == 0:
        raise Conflict(
            f"{running.run.phase} is the first phase.", remedy="To stop the feature altogether, kill it."
        )
    if target >= running.reach or target > running.position:
        raise InvalidRequest(
            f"{to} is not an earlier phase than {running.run.phase}.", param="to", remedy="To go on, advance."
        )
    ended = dataclasses.replace(running.run, state="rolled_back", left_at=now)
    return _entered(
        running.plan, ended, Run(running.run.number + 1, running.plan.phases[target].key, "running", now, by)
    )


def _jump(running: RunningPlan, to: str, by: str, now: int) -> Taken:
    _check_runs(running)
    target = running.plan.position(to)
    if target == running.position:
        raise InvalidRequest(
            f"It stands at {to} already.", param="to", remedy="To begin it anew, restart it."
        )
    return _enter(running, target, by, now)


def _restart(running: RunningPlan, patch: Mapping[str, Any], by: str, now: int) -> Taken:
    _check_runs(running)
    phase = running.phase
    plan = patched(running.plan, {"phases": {phase.key: dict(patch)}}) if patch else running.plan
    check_lock(running, plan, but=phase.key)
    check_widened(phase, plan.phases[running.position])
    return _enter(dataclasses.replace(running, plan=plan), running.position, by, now)


def _edit(running: RunningPlan, patch: Mapping[str, Any]) -> Taken:
    plan = patched(running.plan, patch)
    check_lock(running, plan)
    if plan == running.plan:
        return Taken(plan, None, running.run)
    return _entered(plan, None, running.run)


def _switch(running: RunningPlan, before: RunState, after: RunState) -> Taken:
    run = running.run
    if run.state != before:
        raise Conflict(f"The phase {run.phase} is {run.state}, not {before}.", state=run.state)
    return _entered(running.plan, None, dataclasses.replace(run, state=after))


def _enter(running: RunningPlan, target: int, by: str, now: int) -> Taken:
    """Whoever is in stays in, wherever the target stands."""
    phases, left = running.plan.phases, running.run
    ended = dataclasses.replace(left, state="completed", left_at=now)
    open_to = phases[running.reach].key if running.reach > target else None
    run = Run(left.number + 1, phases[target].key, "running", now, by, open_to=open_to)
    return _entered(running.plan, ended, run)


def _entered(plan: Plan, ended: Run | None, run: Run) -> Taken:
    return Taken(dataclasses.replace(plan, version=plan.version + 1), ended, run)


def _check_runs(running: RunningPlan) -> None:
    if running.run.state == "paused":
        raise Conflict(
            f"The phase {running.run.phase} is paused.",
            remedy="Resume the plan first, or roll it back.",
            state="paused",
        )
