"""Whether this worker can take requests, and what it does without.

Failure behaviour: a database that is away leaves a started worker ready, but degraded: analysis goes on, and generation
is refused with a clear error by those who need the books.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable
from rollout.services.breakers import Breakers
from rollout.services.state import State
from rollout.services.workers import standing

Status = Literal["ready", "degraded", "starting", "draining"]


@dataclass(frozen=True)
class Readiness:
    """`degraded` names what is missing: `database` (away), `flags` (not confirmed for too long: generation is denied), `unleash`
    (silent for a while, where it decides with us: nobody is stopped yet), `workers` (some are gone, or behind), `vendors` (some
    fail or refuse our account, as this process has seen: their `troubles`). `workers` counts them by state; None while the database
    is away."""

    status: Status
    degraded: tuple[str, ...]
    flags_age_seconds: float
    revision: int
    workers: Mapping[str, int] | None
    troubles: Mapping[str, Any]

    @property
    def takes_requests(self) -> bool:
        return self.status in ("ready", "degraded")


def readiness(database: Database, state: State, breakers: Breakers, *, draining: bool) -> Readiness:
    """How this worker stands now."""
    age, workers, troubles = state.age(), _workers(database), breakers.troubles()
    missing = {
        "database": workers is None,
        "flags": not state.is_fresh(),
        "unleash": state.is_upstream_away(),
        "workers": workers is not None and bool(workers["behind"] + workers["gone"]),
        "vendors": bool(troubles),
    }
    degraded = tuple(name for name, is_missing in missing.items() if is_missing)
    status: Status = "degraded" if degraded else "ready"
    if math.isinf(age):
        status = "starting"
    if draining:
        status = "draining"
    return Readiness(status, degraded, state.flags_age(), state.snapshot.revision, workers, troubles)


def readiness_json(now: Readiness) -> dict[str, Any]:
    """The shape that probes see; the age is null before the flags were first confirmed."""
    return {
        "status": now.status,
        "degraded": list(now.degraded),
        "flags_age_seconds": None if math.isinf(now.flags_age_seconds) else round(now.flags_age_seconds, 1),
        "revision": now.revision,
        "workers": now.workers,
        "vendors": {vendor: trouble["state"] for vendor, trouble in now.troubles.items()},
    }


def _workers(database: Database) -> dict[str, int] | None:
    """How many there are in each state; None while the database is away."""
    try:
        with database.read() as tx:
            states = Counter(worker["state"] for worker in standing(database, tx))
    except LedgerUnavailable:
        return None
    return {state: states[state] for state in ("running", "behind", "gone")}
