"""Plans: the ordered phases of a feature, where it stands among them, and what they mean as an Unleash flag.

What people write of a plan is read in `core.contents`; what can be done to one are the steps of `core.steps`.

Who is in is data (grants, attributes), what a phase means is a strategy: a plan compiles to one flag with a
strategy for each audience of the phases up to the current one. So an advance only ever adds tenants. All
constraints are positive: a context field that is missing closes the door.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rollout.core.flags import VARIANT_WEIGHT, Constraint, parse_constraints
from rollout.core.gates import Gate
from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

BASIS_POINTS = 10_000

RESERVED_PROPERTIES = ("tenantId", "grant", "phase", "halt", "cohorts", "partnerBucket")
"""Context fields that come from our rows; a tenant's attribute cannot take their place."""

RunState = Literal["running", "paused", "completed", "rolled_back"]
AdmittedBy = Literal["ga", "granted", "segment", "percentage"]

NOT_HALTED = Constraint("halt", "IN", ("0",))


@dataclass(frozen=True)
class Granted:
    """Tenants with an active grant; with `cohorts` only those whose grant names one of them."""

    cohorts: tuple[str, ...] = ()
    kind: ClassVar[str] = "granted"
    admits: ClassVar[AdmittedBy] = "granted"

    def constraints(self) -> tuple[Constraint, ...]:
        active = Constraint("grant", "IN", ("active",))
        if not self.cohorts:
            return (active,)
        return (
            active,
            Constraint("cohorts", "STR_CONTAINS", tuple(f",{cohort}," for cohort in self.cohorts)),
        )

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **({"cohorts": list(self.cohorts)} if self.cohorts else {})}


@dataclass(frozen=True)
class Segment:
    """Tenants whose attributes meet all `conditions`."""

    conditions: tuple[Constraint, ...]
    kind: ClassVar[str] = "segment"
    admits: ClassVar[AdmittedBy] = "segment"

    def constraints(self) -> tuple[Constraint, ...]:
        return self.conditions

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "constraints": [item.document() for item in self.conditions]}


@dataclass(frozen=True)
class Percentage:
    """`basis_points` of 10,000 tenants, always the same ones first; with `filter` only those that meet it."""

    basis_points: int
    filter: tuple[Constraint, ...] = ()
    kind: ClassVar[str] = "percentage"
    admits: ClassVar[AdmittedBy] = "percentage"

    def constraints(self) -> tuple[Constraint, ...]:
        return (Constraint("partnerBucket", "NUM_LT", value=str(self.basis_points)), *self.filter)

    def as_json(self) -> dict[str, Any]:
        extra = {"filter": [item.document() for item in self.filter]} if self.filter else {}
        return {"kind": self.kind, "basis_points": self.basis_points, **extra}


@dataclass(frozen=True)
class Everyone:
    """All tenants: general availability, as a strategy of its own, never as an empty list."""

    kind: ClassVar[str] = "all"
    admits: ClassVar[AdmittedBy] = "ga"

    def constraints(self) -> tuple[Constraint, ...]:
        return ()

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind}


Audience = Granted | Segment | Percentage | Everyone


@dataclass(frozen=True)
class Phase:
    """`quota` holds the meters that an approval without its own brings along, as the admin API takes them, without `tenant` and
    `reason`; those of level phase are budgets of all its members together. `vendors`: whose models its members may use (None: all).
    `moves_on`: the plan leaves it by itself once `exit` is met."""

    key: str
    title: str
    audience: Audience
    quota: tuple[Mapping[str, Any], ...] = ()
    vendors: tuple[str, ...] | None = None
    entry: Gate | None = None
    exit: Gate | None = None
    hold: Gate | None = None
    moves_on: bool = False

    @property
    def quota_of_each(self) -> tuple[Mapping[str, Any], ...]:
        """What an approval brings along: without the budgets of all members together."""
        return tuple(fields for fields in self.quota if fields.get("level") != "phase")


@dataclass(frozen=True)
class Plan:
    """`salt` is drawn once for the feature's life: raising a percentage never removes a tenant. `four_eyes`: what a person does
    to it waits for another one."""

    feature: str
    salt: str
    phases: tuple[Phase, ...]
    version: int = 1
    four_eyes: bool = False

    def __post_init__(self) -> None:
        keys = [phase.key for phase in self.phases]
        if not keys or len(set(keys)) != len(keys):
            raise InvalidRequest("A plan has one or more phases, each with a key of its own.", param="phases")

    def position(self, key: str, param: str = "to") -> int:
        """Where the phase stands, from 0; raises InvalidRequest that names `param`."""
        for position, phase in enumerate(self.phases):
            if phase.key == key:
                return position
        known = ", ".join(phase.key for phase in self.phases)
        raise InvalidRequest(f"The plan of {self.feature} has no phase {key!r}; it has {known}.", param=param)


@dataclass(frozen=True)
class Run:
    """One stay in one phase; times in UTC epoch seconds. The last run of a plan is the one that counts.

    `open_to`: the furthest phase whose members stay in after a jump back; None: this one.
    """

    number: int
    phase: str
    state: RunState
    entered_at: int
    entered_by: str
    left_at: int | None = None
    open_to: str | None = None


@dataclass(frozen=True)
class RunningPlan:
    """A plan and where it stands."""

    plan: Plan
    run: Run

    @property
    def position(self) -> int:
        return self.plan.position(self.run.phase)

    @property
    def reach(self) -> int:
        """The position of the furthest phase whose audience is in."""
        return self.plan.position(self.run.open_to or self.run.phase)

    @property
    def phase(self) -> Phase:
        return self.plan.phases[self.position]

    @property
    def open_phases(self) -> tuple[Phase, ...]:
        """The phases whose audiences are in."""
        return self.plan.phases[: self.reach + 1]


# -- what a plan means ---------------------------------------------------------------------------------------


def partner_bucket(salt: str, tenant_id: str) -> int:
    """Where a tenant stands in a percentage, 0..9999, for the feature's life."""
    digest = hashlib.sha256(f"{salt}:{tenant_id}".encode()).digest()
    return int.from_bytes(digest, "big") % BASIS_POINTS


def compile_flag(running: RunningPlan, *, killed: bool) -> dict[str, Any]:
    """The plan as an Unleash feature. The variant of a strategy carries the phase that let the tenant in,
    so that one evaluation tells both; a kill is mirrored as `enabled: false`."""
    feature = running.plan.feature
    strategies = [_strategy(feature, phase.key, strategy_constraints(phase)) for phase in running.open_phases]
    return _feature(feature, not killed, strategies)


def strategy_constraints(phase: Phase) -> tuple[Constraint, ...]:
    """All that must hold for a phase's audience to let a tenant in."""
    return (*phase.audience.constraints(), NOT_HALTED)


def what_counts(running: RunningPlan) -> Callable[[Mapping[str, str]], tuple[object, ...]]:
    """What the constraints of the plan's flag see of a context: of contexts that look the same, one answer holds for all.

    Of its place in a percentage a context shows only which shares lie below.
    """
    seen = [constraint for phase in running.open_phases for constraint in strategy_constraints(phase)]
    names = sorted({constraint.context_name for constraint in seen} - {"partnerBucket"})
    shares = sorted({int(item.value) for item in seen if item.context_name == "partnerBucket" and item.value})

    def look(properties: Mapping[str, str]) -> tuple[object, ...]:
        return (*map(properties.get, names), bisect_right(shares, int(properties["partnerBucket"])))

    return look


def compile_parts(running: RunningPlan) -> dict[str, Any]:
    """A document with one flag `{phase}.{n}` for each single constraint of each phase, later ones too: the
    engine itself then tells which of them a tenant meets."""
    features = [
        _feature(f"{phase.key}.{index}", True, [_strategy(phase.key, phase.key, (constraint,))])
        for phase in running.plan.phases
        for index, constraint in enumerate(strategy_constraints(phase))
    ]
    return document(features)


def document(features: list[dict[str, Any]]) -> dict[str, Any]:
    """A client-features document."""
    return {"version": 2, "features": features}


def _strategy(feature: str, phase: str, constraints: tuple[Constraint, ...]) -> dict[str, Any]:
    return {
        "name": "flexibleRollout",
        "title": f"phase:{phase}",
        "parameters": {"rollout": "100", "stickiness": "tenantId", "groupId": feature},
        "constraints": [constraint.document() for constraint in constraints],
        "variants": [
            {"name": phase, "weight": VARIANT_WEIGHT, "weightType": "variable", "stickiness": "tenantId"}
        ],
    }


def _feature(name: str, enabled: bool, strategies: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "type": "release",
        "enabled": enabled,
        "project": "default",
        "stale": False,
        "impressionData": False,
        "description": "",
        "strategies": strategies,
        "variants": [],
    }


# -- in and out ----------------------------------------------------------------------------------------------


def parse_audience(data: Any, at: str = "audience") -> Audience:
    """An audience from JSON; raises InvalidRequest that names the field below `at`."""
    if not isinstance(data, Mapping):
        raise InvalidRequest("An audience is an object with a `kind`.", param=at)
    parse = _AUDIENCES.get(data.get("kind", ""))
    if parse is None:
        raise InvalidRequest(
            f"The kind of an audience is one of {', '.join(_AUDIENCES)}.", param=f"{at}.kind"
        )
    members, parser = parse
    if unknown := set(data) - {"kind", *members}:
        raise InvalidRequest(
            f"An audience {data['kind']!r} has no such member.", param=f"{at}.{min(unknown)}"
        )
    return parser(data, at)


def _granted(data: Mapping[str, Any], at: str) -> Audience:
    cohorts = data.get("cohorts", [])
    if not isinstance(cohorts, list) or not all(
        isinstance(name, str) and name and "," not in name for name in cohorts
    ):
        raise InvalidRequest("`cohorts` is a list of names without commas.", param=f"{at}.cohorts")
    return Granted(tuple(cohorts))


def _segment(data: Mapping[str, Any], at: str) -> Audience:
    conditions = _on_attributes(data.get("constraints"), f"{at}.constraints")
    if not conditions:
        raise InvalidRequest(
            "A segment has at least one constraint.",
            param=f"{at}.constraints",
            remedy="For everyone, use the kind `all`.",
        )
    return Segment(conditions)


def _percentage(data: Mapping[str, Any], at: str) -> Audience:
    points = data.get("basis_points")
    if not isinstance(points, int) or isinstance(points, bool) or not 0 <= points <= BASIS_POINTS:
        raise InvalidRequest(
            "`basis_points` is a whole number from 0 to 10000: 100 are one percent.",
            param=f"{at}.basis_points",
        )
    return Percentage(points, _on_attributes(data.get("filter", []), f"{at}.filter"))


def _everyone(_data: Mapping[str, Any], _at: str) -> Audience:
    return Everyone()


_AUDIENCES = {
    "granted": (("cohorts",), _granted),
    "segment": (("constraints",), _segment),
    "percentage": (("basis_points", "filter"), _percentage),
    "all": ((), _everyone),
}


def _on_attributes(data: Any, at: str) -> tuple[Constraint, ...]:
    conditions = parse_constraints(data, at)
    for index, condition in enumerate(conditions):
        if condition.context_name in RESERVED_PROPERTIES:
            raise InvalidRequest(
                f"{condition.context_name} is not a tenant's attribute.", param=f"{at}.{index}.contextName"
            )
    return conditions


def plan_json(running: RunningPlan) -> dict[str, Any]:
    """The shape that admins see, and that the audit log keeps."""
    plan, run = running.plan, running.run
    phases = [
        {"position": position, "open": position <= running.reach, **phase_json(phase)}
        for position, phase in enumerate(plan.phases)
    ]
    return {
        "feature": plan.feature,
        "version": plan.version,
        "four_eyes": plan.four_eyes,
        "run": run_json(run),
        "phases": phases,
    }


def content_json(plan: Plan) -> dict[str, Any]:
    """What people decide of a plan, wherever it stands."""
    return {"four_eyes": plan.four_eyes, "phases": [phase_json(phase) for phase in plan.phases]}


def phase_json(phase: Phase) -> dict[str, Any]:
    return {
        "key": phase.key,
        "title": phase.title,
        "audience": phase.audience.as_json(),
        "quota": [dict(item) for item in phase.quota],
        "vendors": None if phase.vendors is None else list(phase.vendors),
        "entry": phase.entry and phase.entry.as_json(),
        "exit": phase.exit and phase.exit.as_json(),
        "hold": phase.hold and phase.hold.as_json(),
        "moves_on": phase.moves_on,
    }


def run_json(run: Run) -> dict[str, Any]:
    return {
        "run": run.number,
        "phase": run.phase,
        "state": run.state,
        "entered_at": rfc3339(run.entered_at),
        "entered_by": run.entered_by,
        "left_at": rfc3339(run.left_at),
        "open_to": run.open_to,
    }
