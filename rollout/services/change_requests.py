"""Change requests: the one door for a step of a plan. A step is taken at once, or it waits until enough people said yes.

A step that needs approvals becomes a change request; the last approval takes it, in the same change. An advance needs its gates met
when it is filed and when it is taken. Whatever else moves the plan makes what waits void, in the change that moves it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rollout.core.approvals import (
    Approval,
    ChangeRequest,
    State,
    approvals_needed,
    change_request_json,
    check_approver,
    check_waiting,
    content_hash,
)
from rollout.core.audit import Actor
from rollout.core.folds import NOTHING, asks_for_evidence, conditions, unmet
from rollout.core.gates import Evidence
from rollout.core.plans import RunningPlan, plan_json
from rollout.core.steps import Advance, Step, parse_step, step_json
from rollout.db import change_requests, plans
from rollout.db.engine import Database, Tx
from rollout.db.evidence import of_run
from rollout.errors import Conflict, NotFound, PermissionDenied, StaleVersion
from rollout.services.changes import Change, Changes
from rollout.services.ids import NewId, first_id
from rollout.services.plans import Plans
from rollout.services.tenants import check_version


@dataclass(frozen=True)
class Submitted:
    """What became of a step: the plan as it left it, with `tenants` who came and went, or (None) the change request that waits."""

    plan: dict[str, Any] | None
    change_request: dict[str, Any] | None


class ChangeRequests:
    def __init__(self, database: Database, changes: Changes, plans: Plans, new_id: NewId) -> None:
        self._database, self._changes, self._plans, self._new_id = database, changes, plans, new_id

    def page(
        self, *, feature: str | None, state: State | None, before: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """Newest first, from after the id `before` on."""
        with self._database.read() as tx:
            found = change_requests.page(tx, feature=feature, state=state, before=before, limit=limit)
            return [_shown(tx, request) for request in found]

    def get(self, request_id: str) -> dict[str, Any]:
        """Raises NotFound."""
        with self._database.read() as tx:
            return _shown(tx, _require(tx, request_id))

    def waits_for(self, feature: str) -> dict[str, Any]:
        """What must be true before the plan goes on to its next phase: `conditions` of gates (those that are met, too), people
        (`approvals_needed`), and the change requests that wait. Raises NotFound."""
        with self._database.read() as tx:
            running, now = require_plan(tx, feature), self._database.now(tx)
            is_last = running.position + 1 == len(running.plan.phases)
            found = [] if is_last else conditions(running, Advance(), evidence_of(tx, running), now)
            waiting = change_requests.waiting(tx, feature)
        return {
            "conditions": [condition.as_json() for condition in found],
            "approvals_needed": 0 if is_last else approvals_needed(running, Advance()),
            "change_requests": [
                change_request_json(request, _needed(running, request)) for request in waiting
            ],
        }

    def submit(
        self,
        actor: Actor,
        feature: str,
        step: Step,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Submitted:
        """Take a step, or file it where people must approve it.

        It rests on the version `based_on`, else on the one that stood when this began: of two people who advance at once one is refused.
        Raises NotFound, StaleVersion, InvalidRequest, and Conflict, which names conditions of gates that are `unmet`.
        """
        foreseen = self._plans.foresee(actor, feature, step, based_on=based_on)
        evidence = self._evidence(feature, step)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            running = require_plan(change.tx, feature)
            check_version(foreseen.before.plan.version, running.plan.version, plan_json(running))
            if foreseen.after != foreseen.before:
                check_gates(running, step, evidence, change.now)
                if approvals_needed(running, step):
                    return Submitted(None, self.file(change, feature, step, actor.name))
            after = self.carry_out(change, feature, step)
            return Submitted(dataclasses.replace(foreseen, after=after).as_json(), None)

    def approve(
        self,
        actor: Actor,
        request_id: str,
        reason: str | None,
        *,
        content_hash: str | None = None,
        dry_run: bool = False,
    ) -> Submitted:
        """Say yes to a change request; who is the last one needed takes its step. `content_hash`: what the approver saw.

        Raises NotFound, PermissionDenied for the author, StaleVersion for another content, and Conflict for one that has ended, that
        the same person approved before, or whose gates are not met (any more): then this approval is not kept either.
        """
        with self._database.read() as tx:
            asked = _require(tx, request_id)
        step, evidence = parse_step(asked.step), self._evidence(asked.feature, parse_step(asked.step))
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            request, running = _require(change.tx, request_id), require_plan(change.tx, asked.feature)
            check_waiting(request)
            _check_content(request, running, content_hash)
            check_approver(request, actor.name)
            given = Approval(actor.name, request.content_hash, change.reason, change.now)
            change_requests.approve(change.tx, request.id, given)
            approved = dataclasses.replace(
                request, approvals=(*request.approvals, given), version=request.version + 1
            )
            if not approved.approved_by(approvals_needed(running, step)):
                self._put(change, "change_request.approved", request, approved)
                return Submitted(None, change_request_json(approved, _needed(running, approved)))
            check_gates(running, step, evidence, change.now)
            ended = dataclasses.replace(
                approved,
                state="applied",
                ended_at=change.now,
                ended_by=actor.name,
                outcome="Approved and done.",
            )
            self._put(change, "change_request.approved", request, ended)
            return Submitted(
                plan_json(self.carry_out(change, request.feature, step)), change_request_json(ended)
            )

    def approve_waiting(
        self,
        actor: Actor,
        feature: str,
        reason: str | None,
        *,
        request_id: str | None = None,
        content_hash: str | None = None,
        dry_run: bool = False,
    ) -> Submitted:
        """Say yes to what waits for this plan; `request_id`: which, where several do. Raises as `approve`, and Conflict where none
        waits, or several."""
        with self._database.read() as tx:
            require_plan(tx, feature)
            found = [request.id for request in change_requests.waiting(tx, feature)]
        named = [one for one in found if request_id in (None, one)]
        if len(named) != 1:
            raise Conflict(
                f"Of the changes of {feature}, {len(found)} wait for approval.",
                param="change_request",
                remedy="Name in `change_request` one that waits: GET /admin/api/v1/change-requests?state=waiting lists them.",
                change_requests=found,
            )
        return self.approve(actor, named[0], reason, content_hash=content_hash, dry_run=dry_run)

    def reject(
        self, actor: Actor, request_id: str, reason: str | None, *, dry_run: bool = False
    ) -> dict[str, Any]:
        """Say no. Raises NotFound, Conflict for one that has ended."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            return self._end(change, _require(change.tx, request_id), "rejected", change.reason)

    def withdraw(
        self, actor: Actor, request_id: str, reason: str | None, *, dry_run: bool = False
    ) -> dict[str, Any]:
        """Take one's own back. Raises NotFound, PermissionDenied for another one's, Conflict for one that has ended."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            request = _require(change.tx, request_id)
            if request.created_by != actor.name:
                raise PermissionDenied(
                    "Only who filed a change withdraws it.", remedy="Reject it, if it should not be."
                )
            return self._end(change, request, "withdrawn", change.reason)

    def file(self, change: Change, feature: str, step: Step, author: str) -> dict[str, Any]:
        """Have a step of the plan wait for approvals, in an open change; the one that waits where just this waits already."""
        running = require_plan(change.tx, feature)
        filed = ChangeRequest(
            id=self._new_id("chg"),
            feature=feature,
            step=step_json(step),
            content_hash=content_hash(running, step),
            base_version=running.plan.version,
            reason=change.reason,
            created_by=author,
            created_at=change.now,
        )
        needed = approvals_needed(running, step)
        for request in change_requests.waiting(change.tx, feature):
            if request.content_hash == filed.content_hash:
                return change_request_json(request, needed)
        change_requests.add(change.tx, filed)
        shown = change_request_json(filed, needed)
        change.record("change_request.added", subject=filed.id, tenant=None, before=None, after=shown)
        told = {name: value for name, value in shown.items() if name != "reason"}
        change.tell("plan.change_requested", None, told)
        return shown

    def carry_out(self, change: Change, feature: str, step: Step) -> RunningPlan:
        """Take a step that nothing keeps, in an open change; what waits for another content of the plan is void."""
        before, after = self._plans.take(change, feature, step)
        if after != before:
            self.void(change, feature, f"The plan is another one since: {step.action}.")
        return after

    def void(self, change: Change, feature: str, why: str) -> None:
        """End all that waits for a plan, in an open change."""
        for request in change_requests.waiting(change.tx, feature):
            self._end(change, request, "void", why)

    def _evidence(self, feature: str, step: Step) -> Evidence:
        """What an advance is judged by, before the change begins: what is counted locks nobody out. A step that rests on the same run
        rests on no less."""
        if not isinstance(step, Advance):
            return NOTHING
        with self._database.read() as tx:
            return evidence_of(tx, require_plan(tx, feature))

    def _end(self, change: Change, request: ChangeRequest, state: State, why: str) -> dict[str, Any]:
        check_waiting(request)
        ended = dataclasses.replace(
            request,
            state=state,
            ended_at=change.now,
            ended_by=change.actor.name,
            outcome=why,
            version=request.version + 1,
        )
        return self._put(change, f"change_request.{state}", request, ended)

    def _put(
        self, change: Change, action: str, before: ChangeRequest, after: ChangeRequest
    ) -> dict[str, Any]:
        change_requests.put(change.tx, after)
        shown = change_request_json(after)
        change.record(action, subject=after.id, tenant=None, before=change_request_json(before), after=shown)
        return shown


def require_plan(tx: Tx, feature: str) -> RunningPlan:
    running = plans.get(tx, feature)
    if running is None:
        raise NotFound(f"There is no plan for {feature!r}.", param="feature")
    return running


def evidence_of(tx: Tx, running: RunningPlan) -> Evidence:
    """What the plan's run came to; nothing where no gate asks."""
    if not asks_for_evidence(running):
        return NOTHING
    run = running.run
    return of_run(tx, running.plan.feature, run, first_id("fb", run.entered_at))


def check_gates(running: RunningPlan, step: Step, evidence: Evidence, now: int) -> None:
    """Raises Conflict, which names what is `unmet`, for an advance whose time or evidence is not there."""
    found = unmet(conditions(running, step, evidence, now))
    if found:
        raise Conflict(
            "The plan cannot go on yet. " + " ".join(condition.sentence for condition in found),
            remedy="Wait until the conditions in `unmet` are met, or jump: that passes time and evidence, never approvals.",
            unmet=[condition.as_json() for condition in found],
        )


def _shown(tx: Tx, request: ChangeRequest) -> dict[str, Any]:
    running = plans.get(tx, request.feature) if request.state == "waiting" else None
    return change_request_json(request, _needed(running, request) if running else None)


def _needed(running: RunningPlan, request: ChangeRequest) -> int:
    return approvals_needed(running, parse_step(request.step))


def _check_content(request: ChangeRequest, running: RunningPlan, seen: str | None) -> None:
    now = content_hash(running, parse_step(request.step))
    if now != request.content_hash or seen not in (None, now):
        raise StaleVersion(
            "What you approve is not what waits.",
            remedy="Read the change request again; its `content_hash` is what an approval is for.",
            current=change_request_json(request),
        )


def _require(tx: Tx, request_id: str) -> ChangeRequest:
    request = change_requests.get(tx, request_id)
    if request is None:
        raise NotFound(f"There is no change request {request_id!r}.", param="change_request")
    return request
