"""The controller: takes the steps of plans whose time has come, by a person's path and with a person's audit entries.

All that is due of one plan is one change. Who looks first under the revision's lock takes it; who looks second finds nothing due. After
any time away it is the same look: `core.folds` says how far time alone leads.

Failure behaviour: a plan whose steps fail is logged and looked at again at the next tick; the other plans go on.
"""

from __future__ import annotations

import dataclasses

import structlog

from rollout.core.approvals import content_hash
from rollout.core.audit import Actor
from rollout.core.folds import NOTHING, Due, Fold, conditions, fold, unmet
from rollout.core.gates import Evidence
from rollout.core.plans import RunningPlan
from rollout.core.schedules import Schedule, State, schedule_json
from rollout.core.steps import Advance
from rollout.core.times import rfc3339
from rollout.db import change_requests, kills, plans, schedules
from rollout.db.engine import Database, Tx
from rollout.services.change_requests import ChangeRequests, evidence_of
from rollout.services.changes import MAX_REASON, Change, Changes

log = structlog.get_logger()

CONTROLLER = Actor("system:controller")


class Controller:
    def __init__(self, database: Database, changes: Changes, requests: ChangeRequests) -> None:
        self._database, self._changes, self._requests = database, changes, requests

    def tick(self) -> None:
        """Take what is due, plan by plan."""
        with self._database.read() as tx:
            planned = sorted(plans.all_(tx))
        for feature in planned:
            try:
                self._look_at(feature)
            except Exception as error:
                log.exception("steps_failed", feature=feature, error=repr(error))

    def _look_at(self, feature: str) -> None:
        with self._database.read() as tx:
            running, now = plans.get(tx, feature), self._database.now(tx)
            if running is None or not _may_be_due(tx, running, now):
                return
            evidence = evidence_of(tx, running)
            foreseen = self._due(tx, running, evidence)
        if foreseen is None:
            return
        with self._changes.begin(CONTROLLER, _reason(foreseen)) as change:
            if (
                plans.get(change.tx, feature) == running
                and self._due(change.tx, running, evidence) == foreseen
            ):
                self._carry_out(change, feature, foreseen)

    def _due(self, tx: Tx, running: RunningPlan, evidence: Evidence) -> Fold | None:
        """What is to be done of a plan now; None: nothing."""
        feature, now = running.plan.feature, self._database.now(tx)
        stopped = feature in kills.for_everyone(tx)
        found = fold(running, schedules.pending(tx, feature), evidence, killed=stopped, now=now)
        stop = found.stop
        if stop is not None and (stop.kind == "waits" or _was_filed(tx, running, found)):
            found = dataclasses.replace(found, stop=None)
        return found if found.taken or found.stop else None

    def _carry_out(self, change: Change, feature: str, due: Fold) -> None:
        for one in due.taken:
            self._requests.carry_out(change, feature, one.step)
            if one.schedule is not None:
                _end(change, one.schedule, "applied", "Done.")
        if due.stop is None:
            return
        step, schedule = due.stop.due.step, due.stop.due.schedule
        if due.stop.kind == "conflict" and schedule is not None:
            _end(change, schedule, "conflict", due.stop.why)
            return
        author = CONTROLLER.name if schedule is None else schedule.created_by
        request_id = self._requests.file(change, feature, step, author)["id"]
        if schedule is not None:
            _end(change, schedule, "applied", f"It waits for approval as {request_id}.")


def _may_be_due(tx: Tx, running: RunningPlan, now: int) -> bool:
    """Whether it is time for something; what time alone keeps needs no look at the evidence."""
    if any(item.at <= now for item in schedules.pending(tx, running.plan.feature)):
        return True
    waits = unmet(conditions(running, Advance(), NOTHING, now))
    return running.phase.moves_on and not any(condition.by_time_alone for condition in waits)


def _was_filed(tx: Tx, running: RunningPlan, due: Fold) -> bool:
    """Whether people were asked, whatever they said: a phase that moves on does not ask twice for the same."""
    stop = due.stop
    if stop is None or stop.kind != "approval" or stop.due.schedule is not None or due.taken:
        return False
    return change_requests.of_content(tx, running.plan.feature, content_hash(running, stop.due.step))


def _end(change: Change, schedule: Schedule, state: State, outcome: str) -> None:
    ended = dataclasses.replace(
        schedule, state=state, ended_at=change.now, outcome=outcome, version=schedule.version + 1
    )
    schedules.put(change.tx, ended)
    shown = schedule_json(ended)
    change.record(
        f"schedule.{state}", subject=ended.id, tenant=None, before=schedule_json(schedule), after=shown
    )
    if state == "conflict":
        told = {name: value for name, value in shown.items() if name != "reason"}
        change.tell("plan.schedule_conflict", None, told)


def _reason(due: Fold) -> str:
    """Who planned each step, and why, as far as there is room."""
    steps = [*due.taken, *([due.stop.due] if due.stop else [])]
    return " ".join(map(_why, steps))[:MAX_REASON]


def _why(due: Due) -> str:
    if due.schedule is None:
        return "Its phase moves on by itself."
    return f"Scheduled by {due.schedule.created_by} for {rfc3339(due.at)}: {due.schedule.reason}"
