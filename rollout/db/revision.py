"""The one row whose number says which state is current, and whose lock orders all changes."""

from __future__ import annotations

import sqlalchemy as sa

from rollout.core.audit import GENESIS
from rollout.db.engine import Tx
from rollout.db.tables import revision

CHANNEL = "rollout"


def current(tx: Tx) -> int:
    return int(tx.execute(sa.select(revision.c.number)).scalar_one())


def lock(tx: Tx) -> tuple[int, str]:
    """(number, end of the audit chain), locked until the transaction ends."""
    row = tx.execute(sa.select(revision.c.number, revision.c.audit_hash).with_for_update()).one()
    return int(row.number), str(row.audit_hash)


def set_to(tx: Tx, number: int, audit_hash: str) -> None:
    tx.execute(sa.update(revision).values(number=number, audit_hash=audit_hash))
    if tx.dialect.name == "postgresql":
        tx.execute(sa.select(sa.func.pg_notify(CHANNEL, str(number))))


def audit_end(tx: Tx) -> str:
    return str(tx.execute(sa.select(revision.c.audit_hash)).scalar_one())


FIRST_ROW = {"id": 1, "number": 1, "audit_hash": GENESIS}
"""What the first migration inserts."""
