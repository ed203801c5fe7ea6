"""Gates: what must be true before a plan enters a phase (`entry`), leaves it (`exit`), or goes on at all (`hold`).

    entry   not_before, approvals
    exit    seconds in the phase, approvals, evidence: at least so many requests, tenants, ratings, raters, evaluations
    hold    ceilings: refused, failed, negative, poor, cost of a picture; judged from so many requests, ratings and evaluations on

Time and evidence are judged here, by what one run of one phase came to; approvals are counted by `core.approvals`. Ceilings are
plain shares of what happened. A word says how a condition stands; each but *healthy* keeps the plan where it is:

    not_yet      its time has not come
    no_data      nothing happened yet: never counted as bad
    not_enough   fewer than the gate asks for
    failing      a ceiling is exceeded
    healthy      met
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

Kind = Literal["entry", "exit", "hold"]
Word = Literal["not_yet", "no_data", "not_enough", "failing", "healthy"]

MINIMUMS = ("requests", "tenants", "ratings", "raters", "evaluations")

SHARES: Mapping[str, tuple[str, str, int]] = {
    "refused_percent": ("refused", "requests", 100),
    "failed_percent": ("failed", "requests", 100),
    "negative_percent": ("negative", "ratings", 100),
    "poor_percent": ("poor", "evaluations", 100),
    "usd_micro_per_image": ("cost_usd_micro", "images", 1),
}
"""Ceilings: (part, whole, times), names of what `Evidence` counts."""

CONDITIONS: Mapping[Kind, tuple[str, ...]] = {
    "entry": ("not_before", "approvals"),
    "exit": ("seconds", "approvals", *MINIMUMS),
    "hold": ("requests", "ratings", "evaluations", *SHARES),
}
"""What a gate of each kind may say."""

MAX_APPROVALS = 10
MAX_MINIMUM = 10_000
"""Evidence looks at a bounded number of calls: `db.evidence.COUNTED`."""
MAX_NUMBER = 1_000_000_000


@dataclass(frozen=True)
class Gate:
    """What is None does not count. `not_before` in UTC epoch seconds; `seconds` since the phase was entered; percentages, 0 to 100, of
    the requests, or (negative) of the ratings, or (poor) of the evaluations."""

    not_before: int | None = None
    seconds: int | None = None
    approvals: int | None = None
    requests: int | None = None
    tenants: int | None = None
    ratings: int | None = None
    raters: int | None = None
    evaluations: int | None = None
    refused_percent: float | None = None
    failed_percent: float | None = None
    negative_percent: float | None = None
    poor_percent: float | None = None
    usd_micro_per_image: int | None = None

    def as_json(self) -> dict[str, Any]:
        said = {name: value for name, value in vars(self).items() if value is not None}
        return said if self.not_before is None else {**said, "not_before": rfc3339(self.not_before)}


@dataclass(frozen=True)
class Evidence:
    """What one run came to, by live keys. `requests` are those that ended; of them `refused` for their content, and `failed`: nothing
    was made, or nobody knows. `raters` are end users; `negative` counts ratings. `cost_usd_micro` was charged for `images`. Of the
    `evaluations` that told a score, `poor` told less than `core.evaluations.POOR`."""

    requests: int = 0
    tenants: int = 0
    refused: int = 0
    failed: int = 0
    images: int = 0
    cost_usd_micro: int = 0
    ratings: int = 0
    negative: int = 0
    raters: int = 0
    evaluations: int = 0
    poor: int = 0


@dataclass(frozen=True)
class Condition:
    """How one condition of a phase's gate stands. `wanted` and `actual` in its own unit: a count, seconds, percent, micro-dollars, or
    UTC epoch seconds; `actual` None: there is nothing to measure. `missing`: so many more before it is met, or can be told."""

    gate: Kind
    phase: str
    name: str
    word: Word
    wanted: float
    actual: float | None = None
    missing: int = 0

    @property
    def by_time_alone(self) -> bool:
        return self.name in ("not_before", "seconds")

    @property
    def sentence(self) -> str:
        match self.name, self.word:
            case _, "healthy":
                return f"{self.phase}: {self.name} is met."
            case "not_before", _:
                return f"{self.phase} opens at {rfc3339(self.wanted)}, not before."
            case "seconds", _:
                return f"{self.phase} must be open for {self.missing} seconds more."
            case "usd_micro_per_image", "failing":
                return f"A picture in {self.phase} costs {self.actual:g} micro-dollars, more than {self.wanted:g}."
            case _, "failing":
                part, whole, _ = SHARES[self.name]
                return f"{self.actual:g} percent of the {whole} in {self.phase} count as {part}, more than {self.wanted:g}."
            case name, _ if name in MINIMUMS:
                return f"{self.phase} needs {self.missing} more {name}."
            case _:
                return f"{self.phase} needs {self.missing} more {_counted(self.name)} before {self.name} can be told."

    def as_json(self) -> dict[str, Any]:
        moment = self.name == "not_before"
        wanted, actual = (rfc3339(value) if moment else value for value in (self.wanted, self.actual))
        return {**vars(self), "wanted": wanted, "actual": actual, "sentence": self.sentence}


def standing(
    gate: Gate | None, kind: Kind, phase: str, evidence: Evidence, entered_at: int, now: int
) -> list[Condition]:
    """How each condition of a phase's gate stands at `now` (UTC epoch seconds), but for approvals.

    `evidence` is of the run that entered the phase at `entered_at`.
    """
    return list(_standing(gate, kind, phase, evidence, entered_at, now)) if gate else []


def parse_gate(data: Any, at: str, kind: Kind) -> Gate:
    """A gate from JSON. Raises InvalidRequest that names the field below `at`."""
    if not isinstance(data, Mapping) or not data:
        raise InvalidRequest(
            "A gate is an object with conditions.",
            param=at,
            remedy=f"Conditions of `{kind}` are {', '.join(CONDITIONS[kind])}; without any, leave it out or send null.",
        )
    for name in data:
        if name not in CONDITIONS[kind]:
            raise InvalidRequest(
                f"A gate at {kind} has no such condition; it has {', '.join(CONDITIONS[kind])}.",
                param=f"{at}.{name}",
            )
    if kind == "hold" and not any(name in SHARES for name in data):
        raise InvalidRequest("A hold has at least one ceiling, such as `failed_percent`.", param=at)
    return Gate(**{name: _value(name, value, f"{at}.{name}") for name, value in data.items()})


def _standing(
    gate: Gate, kind: Kind, phase: str, evidence: Evidence, entered_at: int, now: int
) -> Iterator[Condition]:
    if gate.not_before is not None:
        word: Word = "healthy" if now >= gate.not_before else "not_yet"
        yield Condition(kind, phase, "not_before", word, gate.not_before, now, max(0, gate.not_before - now))
    if gate.seconds is not None:
        missing = max(0, entered_at + gate.seconds - now)
        word = "not_yet" if missing else "healthy"
        yield Condition(kind, phase, "seconds", word, gate.seconds, now - entered_at, missing)
    if kind == "exit":
        for name in MINIMUMS:
            wanted, actual = getattr(gate, name), getattr(evidence, name)
            if wanted is not None:
                yield Condition(
                    kind, phase, name, _enough(actual, wanted), wanted, actual, max(0, wanted - actual)
                )
    for name in SHARES:
        if getattr(gate, name) is not None:
            yield _ceiling(gate, phase, name, evidence)


def _ceiling(gate: Gate, phase: str, name: str, evidence: Evidence) -> Condition:
    limit, (part, whole, times) = getattr(gate, name), SHARES[name]
    amount, total, counted = getattr(evidence, part), getattr(evidence, whole), _counted(name)
    minimum, seen = getattr(gate, counted) or 1, getattr(evidence, counted)
    share = amount * times / total if total else None
    if share is None or seen < minimum:
        word: Word = "not_enough" if seen else "no_data"
        return Condition("hold", phase, name, word, limit, share, max(1, minimum - seen))
    return Condition("hold", phase, name, "failing" if share > limit else "healthy", limit, share)


def _enough(actual: int, wanted: int) -> Word:
    if actual >= wanted:
        return "healthy"
    return "not_enough" if actual else "no_data"


def _counted(name: str) -> str:
    """What must happen for a condition to be met, or to be told."""
    if name in MINIMUMS:
        return name
    whole = SHARES[name][1]
    return whole if whole in MINIMUMS else "requests"


def _value(name: str, value: Any, at: str) -> Any:
    if name == "not_before":
        return _moment(value, at)
    if name.endswith("_percent"):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
            raise InvalidRequest("A percentage is a number from 0 to 100.", param=at)
        return value
    most = MAX_APPROVALS if name == "approvals" else MAX_MINIMUM if name in MINIMUMS else MAX_NUMBER
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidRequest(f"A gate's {name} is a whole number from 1 to {most}.", param=at)
    return value


def _moment(value: Any, at: str) -> int:
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None and 2000 <= moment.year <= 2200:
            return math.floor(moment.timestamp())
    except (TypeError, ValueError):
        pass
    raise InvalidRequest(
        "`not_before` is a time with a zone, such as 2026-12-01T09:00:00Z.",
        param=at,
    )
