"""Adjustments, as a person makes them."""

from __future__ import annotations

from ledgers import ledger_on

from rollout.core.adjustments import NewAdjustment
from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION
from rollout.db.engine import Database
from rollout.services.adjustments import Adjustments
from rollout.services.changes import Changes
from rollout.services.ids import new_id


def adjust(
    database: Database,
    amount: int,
    at: int,
    *,
    tenant: str = "acme",
    feature: str = GENERATION,
    unit: str = "usd_micro",
    reason: str = "agreed by mail",
) -> str:
    """Its id."""
    adjustments = Adjustments(database, Changes(database), ledger_on(database), new_id)
    asked = NewAdjustment(tenant, feature, unit, amount, at)
    return adjustments.add(Actor("token:alice"), asked, reason)[0].id
