"""Rows of analyses."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from rollout.core.uses import Analysis
from rollout.db.engine import Tx
from rollout.db.tables import analysis


def add(tx: Tx, new: Analysis) -> None:
    tx.execute(sa.insert(analysis).values(dataclasses.asdict(new)))
