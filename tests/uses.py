"""Generations and analyses as the ledger and the rows of uses keep them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rollout.core.catalogue import Cost, SettledFrom
from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.holds import Actual, HoldRequest
from rollout.core.uses import Analysis, Generation, Use
from rollout.db import analyses, generations
from rollout.db.engine import Database, Tx
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger

FACTS: Mapping[str, Any] = {
    "tenant_id": "acme",
    "hold_id": "hold_1",
    "request_id": "req_1",
    "decision_id": "dec_1",
    "api_key_id": "key_1",
    "end_user": None,
    "phase": "private_beta",
    "run": 2,
    "vendor": "openai",
    "mode": "live",
    "created_at": 1_795_348_800,
}


def generation(id_: str = "gen_1", **changed: Any) -> Generation:
    own = {
        "feature": GENERATION,
        "model": "gpt-image-2",
        "requested_model": "gpt-image-2",
        "operation": "generate",
        "prompt": "a red fox",
        "images_asked": 1,
    }
    return Generation(**{**FACTS, **own, "id": id_, **changed})


def analysis(id_: str = "anl_1", **changed: Any) -> Analysis:
    own = {
        "feature": ANALYSIS,
        "model": "claude-haiku-5-5",
        "requested_model": "claude-haiku-5-5",
        "vendor": "anthropic",
    }
    return Analysis(**{**FACTS, **own, "id": id_, **changed})


def add_generation(database: Database, id_: str = "gen_1", **changed: Any) -> None:
    """A generation as if it had been made; its hold is not there."""
    with database.write() as tx:
        generations.add(tx, generation(id_, **changed))


class Uses:
    """Calls of partners through a real ledger, without vendors."""

    def __init__(self, database: Database) -> None:
        self._ledger = Ledger(database, lease_seconds=120, grace_seconds=900, new_id=new_id)

    def settled(
        self,
        use: Use,
        cost: int,
        images: int = 0,
        usage: Mapping[str, int] | None = None,
        source: SettledFrom = "usage",
    ) -> None:
        with self.held(use, cost) as held:
            held.settle(Actual(Cost(cost, source, "price_1"), images, usage), None)

    def void(self, use: Use, cost: int) -> None:
        with self.held(use, cost) as held:
            held.void("never sent")

    def unknown(self, use: Use, cost: int) -> None:
        with self.held(use, cost) as held:
            held.unknown("no answer")

    def held(self, use: Use, cost: int) -> Any:
        """`with uses.held(...) as held`: a call in hand that may cost so much."""
        request = HoldRequest(
            tenant_id=use.tenant_id,
            feature=use.feature,
            decision_id=use.decision_id,
            request_id=use.request_id,
            api_key_id=use.api_key_id,
            meters=(),
            meter_rev=0,
            amounts={"usd_micro": cost},
            fingerprint="v1:aa",
            idem_key=None,
            vendor=use.vendor,
            model=use.model,
            price_id="price_1",
        )
        return self._ledger.hold(request, also=lambda tx, hold_id, now: _add(tx, use, hold_id, now))


def _add(tx: Tx, use: Use, hold_id: str, now: int) -> None:
    written = dataclasses.replace(use, hold_id=hold_id, created_at=now)
    if isinstance(written, Generation):
        generations.add(tx, written)
    elif isinstance(written, Analysis):
        analyses.add(tx, written)
