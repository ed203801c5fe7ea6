"""The immutable state that a worker decides on: built aside, swapped by one assignment, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.core.decisions import Decision, Evaluate, TenantFacts
from rollout.core.kills import Kill
from rollout.core.plans import RunningPlan
from rollout.sync.lru import LRU

MEMOISED_DECISIONS = 20_000


@dataclass(frozen=True)
class FlagState:
    """Flags as an engine has them loaded. `revision` is the one they were rendered from."""

    revision: int
    document: Mapping[str, Any]
    evaluate: Evaluate


def _nothing(_flag: str, _properties: Mapping[str, str]) -> None:
    return None


NO_FLAGS = FlagState(0, {"version": 2, "features": []}, _nothing)


@dataclass(frozen=True)
class Snapshot:
    """`plans` by feature; `kills` by feature, for those killed for everyone. `decisions` is the memo of
    this revision alone: (tenant, feature) -> the facts that were decided on, and the decision."""

    revision: int
    flags: FlagState
    plans: Mapping[str, RunningPlan]
    kills: Mapping[str, Kill]
    decisions: LRU[tuple[str, str], tuple[TenantFacts, Decision]] = field(
        default_factory=lambda: LRU(MEMOISED_DECISIONS)
    )


EMPTY = Snapshot(0, NO_FLAGS, {}, {})
"""Before the first look: generation is denied, analysis allowed."""
