"""What a change of a plan would come to: who comes and goes, what that is expected to use, whether it fits, and how the decisions
of the last days would have gone under it. All of it is worked out on values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rollout.core.contents import patched
from rollout.core.decisions import TenantFacts
from rollout.core.meters import Limit
from rollout.core.plans import RunningPlan
from rollout.core.steps import Step, take
from rollout.core.tenants import Tenant
from rollout.core.usage import Figures
from rollout.errors import InvalidRequest

DAY = 86_400
PERIODS = {"day": DAY, "month": 30 * DAY}
"""Seconds of those that a forecast is made for."""

MAX_DAYS = 90

OTHER_GROUNDS = frozenset({"killed", "tenant_halted", "flags_stale", "model"})
"""Why a call was refused that no audience would have let in."""


def changed(
    running: RunningPlan, patch: Mapping[str, Any] | None, step: Step | None, now: int
) -> RunningPlan:
    """The plan as `patch` of its phases edits it, locked or not, and after `step`. Raises InvalidRequest, Conflict."""
    if patch is None and step is None:
        raise InvalidRequest(
            "A simulation says a `step`, `phases` that are other ones, or both.", param="step"
        )
    if patch is not None:
        plan = patched(running.plan, {"phases": patch})
        for key in filter(None, (running.run.phase, running.run.open_to)):
            if all(phase.key != key for phase in plan.phases):
                raise InvalidRequest(
                    f"The plan stands at {key}: what would be without it cannot be told.",
                    param=f"phases.{key}",
                )
        running = RunningPlan(plan, running.run)
    return running if step is None else take(running, step, "simulation", now).after


# -- who comes and goes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """One tenant: the phase by which it is in, and by which it would be; None: it is, or would be, out."""

    facts: TenantFacts
    was: str | None
    will: str | None

    @property
    def tenant(self) -> Tenant:
        return self.facts.tenant

    @property
    def change(self) -> Literal["gains", "loses"] | None:
        if (self.was is None) == (self.will is None):
            return None
        return "loses" if self.will is None else "gains"

    def as_json(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant.id,
            "name": self.tenant.name,
            "change": self.change,
            "phase": self.will or self.was,
        }


# -- what it is expected to use ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """What was, or is expected to be, used in a number of days."""

    requests: int = 0
    images: int = 0
    cost_usd_micro: int = 0

    @classmethod
    def of(cls, figures: Figures) -> Use:
        return cls(figures.requests, figures.images, figures.cost_usd_micro)

    def __add__(self, other: Use) -> Use:
        return Use(*(mine + its for mine, its in zip(self.amounts, other.amounts, strict=True)))

    def times(self, number: int, of: int) -> Use:
        """`number` parts of `of`, rounded up."""
        return Use(*(-(-amount * number // of) for amount in self.amounts)) if of else Use()

    @property
    def amounts(self) -> tuple[int, ...]:
        return self.requests, self.images, self.cost_usd_micro

    def unit(self, name: str) -> int:
        return {"request": self.requests, "image": self.images, "usd_micro": self.cost_usd_micro}[name]


@dataclass(frozen=True)
class Forecast:
    """`now` is what those who are in used in these days, `then` what those who will be in are expected to: who stays, as before;
    who comes, like one of those who are in."""

    now: Use
    then: Use

    def as_json(self) -> dict[str, Any]:
        return {"now": asdict(self.now), "then": asdict(self.then)}


def forecast(asked: Iterable[Asked], used: Mapping[str, Use]) -> Forecast:
    """`used` by tenant."""
    now, stays, inside, comes = Use(), Use(), 0, 0
    for one in asked:
        its = used.get(one.tenant.id, Use())
        if one.was is not None:
            now, inside = now + its, inside + 1
            stays = stays + its if one.will is not None else stays
        elif one.will is not None:
            comes += 1
    return Forecast(now, stays + now.times(comes, inside))


def head_room(limit: Limit, then: Use, days: int) -> dict[str, Any]:
    """A budget beside what of it is expected to be used in one period. `fits`: all of that finds room in a new window."""
    meter = limit.meter
    expected = -(-then.unit(meter.unit) * PERIODS[meter.period] // (days * DAY))
    return {
        "meter": meter.id or None,
        "name": meter.name,
        "level": meter.level,
        "subject": meter.subject,
        "unit": meter.unit,
        "period": meter.period,
        "cap": limit.cap,
        "used": limit.used,
        "held": limit.held,
        "expected": expected,
        "fits": expected <= limit.cap,
    }


# -- recorded decisions, once more ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """Decisions of one tenant that went the same way. `at`: when, UTC epoch seconds; None: at any time of these days.

    `ground`: why it was refused; None: it was let in, to a model of `vendor`.
    """

    tenant_id: str
    count: int
    at: int | None = None
    ground: str | None = None
    vendor: str | None = None


def replay(records: Iterable[Recorded], lets_in: Callable[[Recorded], bool]) -> dict[str, Any]:
    """How they went, and how they would have gone: `lets_in` is asked where an audience decided."""
    counts, who = Counter[str](), {"newly_allowed": set[str](), "newly_denied": set[str]()}
    for record in records:
        was = record.ground is None
        counts["allowed" if was else "denied"] += record.count
        if record.ground not in OTHER_GROUNDS and lets_in(record) is not was:
            kind = "newly_denied" if was else "newly_allowed"
            counts[kind] += record.count
            who[kind].add(record.tenant_id)
    turned = {kind: {"decisions": counts[kind], "tenants": len(tenants)} for kind, tenants in who.items()}
    allowed, denied = counts["allowed"], counts["denied"]
    return {"decisions": allowed + denied, "allowed": allowed, "denied": denied, **turned}
