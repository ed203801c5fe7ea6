"""Rows of what vendors' lists say otherwise than the catalogue, and who used a model."""

from __future__ import annotations

import sqlalchemy as sa

from rollout.core.catalogue_checks import Proposal
from rollout.db.engine import Tx
from rollout.db.tables import analysis, catalogue_proposal, generation


def add(tx: Tx, new: Proposal) -> None:
    tx.execute(sa.insert(catalogue_proposal).values(vars(new)))


def put(tx: Tx, changed: Proposal) -> None:
    tx.execute(
        sa.update(catalogue_proposal).where(catalogue_proposal.c.id == changed.id).values(vars(changed))
    )


def get(tx: Tx, proposal_id: str) -> Proposal | None:
    rows = tx.execute(sa.select(catalogue_proposal).where(catalogue_proposal.c.id == proposal_id))
    return next((Proposal(**row) for row in rows.mappings()), None)


def last(tx: Tx, model: str, kind: str) -> Proposal | None:
    """The latest of that kind."""
    query = (
        sa.select(catalogue_proposal)
        .where(catalogue_proposal.c.model == model, catalogue_proposal.c.kind == kind)
        .order_by(catalogue_proposal.c.id.desc())
        .limit(1)
    )
    return next((Proposal(**row) for row in tx.execute(query).mappings()), None)


def open_(tx: Tx) -> list[Proposal]:
    """All that are open, in order of their making."""
    query = sa.select(catalogue_proposal).where(catalogue_proposal.c.state == "open")
    return [Proposal(**row) for row in tx.execute(query.order_by(catalogue_proposal.c.id)).mappings()]


def count_open(tx: Tx) -> int:
    query = sa.select(sa.func.count()).where(catalogue_proposal.c.state == "open")
    return tx.execute(query).scalar_one()


def page(tx: Tx, *, state: str | None, before: str | None, limit: int) -> list[Proposal]:
    """Newest first, from before the id `before`."""
    query = sa.select(catalogue_proposal).order_by(catalogue_proposal.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(catalogue_proposal.c.state == state)
    if before is not None:
        query = query.where(catalogue_proposal.c.id < before)
    return [Proposal(**row) for row in tx.execute(query).mappings()]


def who_used(tx: Tx, model: str, generations_from: str, analyses_from: str, limit: int) -> list[str]:
    """Tenants with live uses of the model from these ids on, in order: ids rise with time, so nothing older is read."""
    uses = [
        sa.select(table.c.tenant_id).where(
            table.c.id >= first, table.c.model == model, table.c.mode == "live"
        )
        for table, first in ((generation, generations_from), (analysis, analyses_from))
    ]
    found = sa.union(*uses).subquery()
    return list(tx.execute(sa.select(found.c.tenant_id).order_by(found.c.tenant_id).limit(limit)).scalars())
