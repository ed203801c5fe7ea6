"""Change requests: steps of a plan that wait until enough people said yes.

A plan with `four_eyes` takes no advance, jump, restart or edit by one person alone; a gate may ask for more people. What makes a
plan safer (pause, rollback, kill) never waits. An approval is of one content, by its hash: the plan, its run and the step. Any edit
and any other move make another content, so the request is void and is filed anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rollout.core.gates import Gate
from rollout.core.plans import Phase, Plan, RunningPlan, content_json, run_json
from rollout.core.steps import Advance, Edit, Jump, Restart, Step, step_json, take
from rollout.core.times import rfc3339
from rollout.errors import Conflict, PermissionDenied

State = Literal["waiting", "applied", "rejected", "withdrawn", "void"]


@dataclass(frozen=True)
class Approval:
    """`at` in UTC epoch seconds."""

    by: str
    content_hash: str
    reason: str
    at: int


@dataclass(frozen=True)
class ChangeRequest:
    """A step and the content it was filed for; times in UTC epoch seconds. `outcome`: why it ended as it did."""

    id: str
    feature: str
    step: Mapping[str, Any]
    content_hash: str
    base_version: int
    reason: str
    created_by: str
    created_at: int
    state: State = "waiting"
    ended_at: int | None = None
    ended_by: str | None = None
    outcome: str | None = None
    version: int = 1
    approvals: tuple[Approval, ...] = ()

    def approved_by(self, number: int) -> bool:
        """Whether so many people have approved just this content."""
        return sum(one.content_hash == self.content_hash for one in self.approvals) >= number


def content_hash(running: RunningPlan, step: Step) -> str:
    """SHA-256 over the canonical JSON of a plan's content, its run and a step, in hexadecimal."""
    plan = running.plan
    content = {
        "feature": plan.feature,
        "plan": content_json(plan),
        "run": run_json(running.run),
        "step": step_json(step),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def approvals_needed(running: RunningPlan, step: Step) -> int:
    """How many people besides its author must say yes to a step; 0: none. Raises as `take` for one that is not possible."""
    match step:
        case Advance() | Jump():
            return max(int(running.plan.four_eyes), _asked_for(running, step))
        case Restart() | Edit():
            edited = take(running, step, "", running.run.entered_at).plan
            return max(int(running.plan.four_eyes), _loosened(running.plan, edited))
        case _:
            return 0


def passed(running: RunningPlan, step: Advance | Jump) -> tuple[Sequence[Phase], Sequence[Phase]]:
    """The phases that a step leaves for later ones, and those that it enters; none when it goes back. Raises InvalidRequest."""
    phases, here = running.plan.phases, running.position
    there = here + 1 if step.to is None else running.plan.position(step.to)
    return phases[here:there], phases[here + 1 : there + 1]


def _asked_for(running: RunningPlan, step: Advance | Jump) -> int:
    left, entered = passed(running, step)
    return max([0, *(_people(phase.exit) for phase in left), *(_people(phase.entry) for phase in entered)])


def _loosened(before: Plan, after: Plan) -> int:
    """What gates ask of people cannot be edited away by fewer people."""
    kept = {phase.key: phase for phase in after.phases}
    return max(
        (
            _people(gate)
            for phase in before.phases
            for gate, now in (
                (phase.entry, kept[phase.key].entry if phase.key in kept else None),
                (phase.exit, kept[phase.key].exit if phase.key in kept else None),
            )
            if _people(now) < _people(gate)
        ),
        default=0,
    )


def _people(gate: Gate | None) -> int:
    return gate.approvals or 0 if gate is not None else 0


def check_approver(request: ChangeRequest, by: str) -> None:
    """Raises PermissionDenied for the author, Conflict for who has said yes already."""
    if by == request.created_by:
        raise PermissionDenied(
            "Nobody approves their own change.", remedy="Ask another person to approve it, or withdraw it."
        )
    if any(one.by == by for one in request.approvals):
        raise Conflict("You have approved this change already.", remedy="Another person must approve it too.")


def check_waiting(request: ChangeRequest) -> None:
    """Raises Conflict for one that has ended."""
    if request.state != "waiting":
        raise Conflict(
            f"This change request is {request.state}.",
            remedy="Make the change anew if it is still wanted.",
            state=request.state,
        )


def change_request_json(request: ChangeRequest, needed: int | None = None) -> dict[str, Any]:
    """The shape that admins and the audit log see; `needed`: of how many people, while it waits."""
    return {
        "id": request.id,
        "feature": request.feature,
        "step": dict(request.step),
        "content_hash": request.content_hash,
        "base_version": request.base_version,
        "state": request.state,
        "reason": request.reason,
        "created_by": request.created_by,
        "created_at": rfc3339(request.created_at),
        "approvals": [{**vars(one), "at": rfc3339(one.at)} for one in request.approvals],
        "approvals_needed": needed,
        "ended_at": rfc3339(request.ended_at),
        "ended_by": request.ended_by,
        "outcome": request.outcome,
        "version": request.version,
    }
