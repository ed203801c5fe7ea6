"""Whether this worker can take requests, and what it does without.

Failure behaviour: a database that is away leaves a started worker ready, but degraded: analysis goes on, and generation
is refused with a clear error by those who need the books.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from rollout.db import revision
from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable
from rollout.services.state import State

Status = Literal["ready", "degraded", "starting", "draining"]


@dataclass(frozen=True)
class Readiness:
    """`degraded` names what is missing: `database` (away), `flags` (not confirmed for too long: generation is denied), `unleash`
    (silent for a while, where it decides with us: nobody is stopped yet)."""

    status: Status
    degraded: tuple[str, ...]
    flags_age_seconds: float
    revision: int

    @property
    def takes_requests(self) -> bool:
        return self.status in ("ready", "degraded")


def readiness(database: Database, state: State, *, draining: bool) -> Readiness:
    """How this worker stands now."""
    age = state.age()
    missing = {
        "database": not _answers(database),
        "flags": not state.is_fresh(),
        "unleash": state.is_upstream_away(),
    }
    degraded = tuple(name for name, is_missing in missing.items() if is_missing)
    status: Status = "degraded" if degraded else "ready"
    if math.isinf(age):
        status = "starting"
    if draining:
        status = "draining"
    return Readiness(status, degraded, state.flags_age(), state.snapshot.revision)


def readiness_json(now: Readiness) -> dict[str, Any]:
    """The shape that probes see; the age is null before the flags were first confirmed."""
    return {
        "status": now.status,
        "degraded": list(now.degraded),
        "flags_age_seconds": None if math.isinf(now.flags_age_seconds) else round(now.flags_age_seconds, 1),
        "revision": now.revision,
    }


def _answers(database: Database) -> bool:
    try:
        with database.read() as tx:
            revision.current(tx)
    except LedgerUnavailable:
        return False
    return True
