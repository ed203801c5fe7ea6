"""What would change if a plan took a step, or said something else: told from what is recorded, without a trace.

Tenants are asked as they are now. The decisions of the last days are made once more with the tenants and grants of their time; what a
kill, a halt or a stale worker refused stays refused, for no plan changes that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rollout.core.approvals import approvals_needed
from rollout.core.decisions import Evaluate, TenantFacts, context_properties
from rollout.core.folds import conditions
from rollout.core.meters import PLATFORM, Limit, limit_of, open_bucket
from rollout.core.plans import RunningPlan, plan_json
from rollout.core.quota import new_meter
from rollout.core.simulations import (
    DAY,
    MAX_DAYS,
    PERIODS,
    Asked,
    Recorded,
    Use,
    changed,
    forecast,
    head_room,
    replay,
)
from rollout.core.steps import Step
from rollout.core.times import rfc3339
from rollout.core.usage import Period
from rollout.db import plans, simulations, usage
from rollout.db.engine import Database, Tx
from rollout.errors import InvalidRequest, NotFound
from rollout.services.audiences import EXAMINED_TENANTS, active_tenants, evaluator
from rollout.services.change_requests import evidence_of
from rollout.services.history import pasts_of
from rollout.services.meters import Meters

ROWS = 200_000
"""How many seconds with decisions of tenants that changed meanwhile one replay looks at."""

SHARED_METERS = 1_000
DEFAULT_DAYS = 14


@dataclass(frozen=True)
class Simulated:
    """`answer` is all but the names; `changes` are the tenants that come and go, in order of id."""

    answer: Mapping[str, Any]
    changes: Sequence[Asked]

    def page(self, after: str | None, limit: int) -> dict[str, Any]:
        """With those of `changes` behind the tenant `after`, and the cursor to go on with."""
        behind = [one for one in self.changes if after is None or one.tenant.id > after]
        more = behind[limit - 1].tenant.id if len(behind) > limit else None
        return {**self.answer, "changes": [one.as_json() for one in behind[:limit]], "next_cursor": more}


class Simulations:
    def __init__(self, database: Database, meters: Meters) -> None:
        self._database, self._meters = database, meters

    def simulate(
        self,
        feature: str,
        *,
        step: Step | None = None,
        phases: Mapping[str, Any] | None = None,
        days: int = DEFAULT_DAYS,
    ) -> Simulated:
        """What `step` would come to, after the patch `phases` (locked or not), by what happened in the last `days`.

        Raises NotFound, InvalidRequest, Conflict for a step that is not possible.
        """
        if not 1 <= days <= MAX_DAYS:
            raise InvalidRequest(f"`days` is a whole number from 1 to {MAX_DAYS}.", param="days")
        with self._database.read() as tx:
            now, before = self._database.now(tx), plans.get(tx, feature)
            if before is None:
                raise NotFound(f"There is no plan for {feature!r}.", param="feature")
            after = changed(before, phases, step, now)
            found = conditions(before, step, evidence_of(tx, before), now) if step and phases is None else []
            people = approvals_needed(before, step) if step and phases is None else 0
        since = now - days * DAY
        was, will = evaluator(before), evaluator(after)
        known, complete = _first(active_tenants(self._database, feature))
        asked = [_asked(one, before, after, was, will, now) for one in known]
        with self._database.read() as tx:
            used = _used(tx, feature, Period(since, now + 1, "UTC"))
            again = _replayed(tx, after, will, {one.tenant.id: one for one in asked}, since, now)
        expected = forecast(asked, used)
        room = [head_room(limit, expected.then, days) for limit in self._budgets(after, now)]
        comes_and_goes = [one for one in asked if one.change is not None]
        answer = {
            "feature": feature,
            "plan": plan_json(after),
            "conditions": [one.as_json() for one in found],
            "approvals_needed": people,
            "tenants": {
                "inside": sum(one.was is not None for one in asked),
                "gained": sum(one.change == "gains" for one in comes_and_goes),
                "lost": sum(one.change == "loses" for one in comes_and_goes),
                "examined": len(asked),
                "complete": complete,
            },
            "days": days,
            "since": rfc3339(since),
            "expected": expected.as_json(),
            "head_room": room,
            "replay": {**again, "complete": again["complete"] and complete},
        }
        return Simulated(answer, comes_and_goes)

    def _budgets(self, after: RunningPlan, now: int) -> Iterator[Limit]:
        """Those that all tenants share and that would count then, the ones that the phase brings along too."""
        feature, key = after.plan.feature, after.run.phase
        shared = self._meters.limits(tenant=PLATFORM, limit=SHARED_METERS)
        there = [
            limit
            for limit in shared
            if limit.meter.feature in (None, feature) and limit.meter.subject in (None, key)
        ]
        brought = [
            new_meter("", PLATFORM, "UTC", now, {**fields, "feature": feature, "subject": key})
            for fields in after.phase.quota
            if fields.get("level") == "phase"
        ]
        names = {limit.meter.name for limit in there}
        new = (
            limit_of(meter, open_bucket(meter, now, ""), now) for meter in brought if meter.name not in names
        )
        yield from (limit for limit in (*there, *new) if limit.meter.period in PERIODS)


def _first(tenants: Iterator[TenantFacts]) -> tuple[list[TenantFacts], bool]:
    """As many as are examined; and whether these are all."""
    known = list(itertools.islice(tenants, EXAMINED_TENANTS))
    return known, len(known) < EXAMINED_TENANTS or next(tenants, None) is None


def _asked(
    one: TenantFacts, before: RunningPlan, after: RunningPlan, was: Evaluate, will: Evaluate, now: int
) -> Asked:
    feature, properties = before.plan.feature, context_properties(one, before, now)
    then = {**properties, "phase": after.run.phase}
    return Asked(one, was(feature, properties), will(feature, then))


def _used(tx: Tx, feature: str, period: Period) -> dict[str, Use]:
    """By tenant."""
    tallies = usage.tallies(tx, None, period, ("tenant", "feature"))
    return {
        tally.names["tenant"] or "": Use.of(tally.figures)
        for tally in tallies
        if tally.names["feature"] == feature
    }


def _replayed(
    tx: Tx, after: RunningPlan, will: Evaluate, asked: Mapping[str, Asked], since: int, now: int
) -> dict[str, Any]:
    """The decisions since then, made once more. Who was the same all the time was asked already; who was not is for each second."""
    feature = after.plan.feature
    pasts = pasts_of(tx, feature, {name: one.facts for name, one in asked.items()}, since, now)
    one_by_one, complete = simulations.one_by_one(tx, feature, since, pasts, ROWS)
    at_once = (
        record
        for record in simulations.recorded(tx, feature, since)
        if record.tenant_id in asked and record.tenant_id not in pasts
    )

    def admitted(known: TenantFacts, moment: int) -> str | None:
        """Without a halt: who was let in had none, and whoever had one was refused for it."""
        return will(feature, context_properties(replace(known, halts={}), after, moment))

    def lets_in(record: Recorded) -> bool:
        one = asked[record.tenant_id]
        if record.at is not None:
            then = pasts[record.tenant_id].at(record.at)
            phase = admitted(then, record.at) if then else None
        else:
            phase = admitted(one.facts, now) if feature in one.facts.halts else one.will
        return phase is not None and _allows(after, phase, record.vendor)

    return {**replay(itertools.chain(at_once, one_by_one), lets_in), "complete": complete}


def _allows(plan: RunningPlan, phase: str, vendor: str | None) -> bool:
    vendors = plan.plan.phases[plan.plan.position(phase)].vendors
    return vendor is None or vendors is None or vendor in vendors
