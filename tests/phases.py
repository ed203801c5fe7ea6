"""The nouns of `doors`, with a ledger that has holds, and explanations."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from doors import switches_of, wire

from rollout.core.decisions import GENERATION
from rollout.core.holds import HoldRequest
from rollout.db.engine import Clock, Database
from rollout.services.changes import Changes
from rollout.services.explain import Explain
from rollout.services.features import Features
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger
from rollout.services.meters import Meters
from rollout.services.simulations import Simulations
from rollout.services.workers import Worker, Workers


def wire_phases(
    database: Database, clock: Clock, sleep: Callable[[float], None] | None = None
) -> SimpleNamespace:
    """Acme and globex, nobody granted; the plan of image generation at private_beta."""
    services = wire(database, clock)
    services.ledger = Ledger(database, lease_seconds=120, grace_seconds=900, new_id=new_id)
    services.workers = Workers(database, sleep or (lambda _seconds: None))
    services.switches = switches_of(database, Changes(database), services.ledger, services.workers)
    services.features = Features(database, services.state, services.switches, clock=clock)
    services.explain = Explain(database, services.state, services.features)
    services.meters = Meters(database, Changes(database), new_id)
    services.simulations = Simulations(database, services.meters)
    return services


def worker(services: SimpleNamespace, name: str, clock: Clock) -> Worker:
    """One that decides on what these services decide on."""
    state = services.state
    return Worker(services.database, name, "here", 7, lambda: state.snapshot.revision, clock)


def hold_request(tenant_id: str, feature: str = GENERATION, **changed: Any) -> HoldRequest:
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "feature": feature,
        "decision_id": "dec_1",
        "request_id": "req_1",
        "api_key_id": "key_1",
        "meters": (),
        "meter_rev": 0,
        "amounts": {"image": 1},
        "fingerprint": "f",
        "idem_key": None,
        "vendor": "sandbox",
        "model": "a-model",
        "price_id": "price_1",
    }
    return HoldRequest(**{**values, **changed})
