"""The immutable state that a worker decides on: built aside, swapped by one assignment, never changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.core.catalogue import Catalogue
from rollout.core.decisions import Decision, TenantFacts
from rollout.core.flags import PRODUCTION
from rollout.core.kills import Kill
from rollout.core.plans import RunningPlan
from rollout.sync.lru import LRU

MEMOISED_DECISIONS = 20_000


Answer = Callable[[str], Mapping[str, Any]]
"""flag -> {"name", "enabled", "feature_enabled", "payload"?}: the variant, and whether the flag is on."""

Ask = Callable[[Mapping[str, Any]], Answer]
"""What an Unleash context is answered; the context is made ready once for all flags."""


@dataclass(frozen=True)
class FlagState:
    """Flags as an engine has them loaded. `revision` is the one they were rendered from; `document` the client-features document that
    was, `names` those of its flags. `ask` the engine of those alone: it counts, without a bound, what else it is asked for."""

    revision: int
    document: Mapping[str, Any]
    names: frozenset[str]
    ask: Ask

    def answer(self, flag: str, context: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the engine says of the flag in an Unleash context (`userId`, `properties`, ...); None for one that is not there."""
        return self.ask(context)(flag) if flag in self.names else None

    def evaluate(self, flag: str, properties: Mapping[str, str]) -> str | None:
        """The name of the variant, where the flag is on; None where it is off."""
        answer = self.answer(flag, {"properties": properties})
        return answer["name"] if answer is not None and answer["feature_enabled"] else None


def _nothing(_context: Mapping[str, Any]) -> Answer:
    return lambda _flag: {"name": "disabled", "enabled": False, "feature_enabled": False}


NO_FLAGS = FlagState(0, {"version": 2, "features": [], "segments": []}, frozenset(), _nothing)


NO_MODELS = Catalogue(())


@dataclass(frozen=True)
class Snapshot:
    """`flags` by environment, `own` the plans' where an Unleash server has those of PRODUCTION; `stored` the stamp of the rows that they
    were rendered from beside the plans; `plans` by feature; `kills` by feature, for those killed for everyone; `rows` the stamp of those
    that `catalogue` was made from. `decisions` is the memo of this revision alone: (tenant, feature) -> the facts that were decided on,
    and the decision."""

    revision: int
    flags: Mapping[str, FlagState]
    plans: Mapping[str, RunningPlan]
    kills: Mapping[str, Kill]
    stored: object = None
    own: FlagState | None = None
    catalogue: Catalogue = NO_MODELS
    rows: object = None
    decisions: LRU[tuple[str, str], tuple[TenantFacts, Decision]] = field(
        default_factory=lambda: LRU(MEMOISED_DECISIONS)
    )

    @property
    def gates(self) -> FlagState:
        """The flags that say which phase lets a tenant in: where the plans' are."""
        return self.own or self.flags[PRODUCTION]

    @property
    def upstream(self) -> FlagState | None:
        """The flags of an Unleash server that must agree, where there is one."""
        return self.flags[PRODUCTION] if self.own else None


EMPTY = Snapshot(0, {PRODUCTION: NO_FLAGS}, {}, {})
"""Before the first look: generation is denied, analysis allowed."""
