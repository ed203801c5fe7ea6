"""Rows of evaluations, one a generation at most."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from rollout.core.evaluations import Evaluation
from rollout.db.engine import Tx, insert_missing
from rollout.db.tables import evaluation


def add(tx: Tx, new: Evaluation) -> None:
    """Write it, unless the generation has one."""
    insert_missing(tx, evaluation, [asdict(new)])


def of_generation(tx: Tx, tenant_id: str, generation_id: str) -> Evaluation | None:
    query = sa.select(evaluation).where(
        evaluation.c.tenant_id == tenant_id, evaluation.c.generation_id == generation_id
    )
    row = tx.execute(query).mappings().one_or_none()
    return Evaluation(**row) if row else None
