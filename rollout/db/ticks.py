"""Rows of ticks: which periodic work is due, and which worker has taken it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from rollout.db.engine import Tx
from rollout.db.tables import tick


def claim(tx: Tx, name: str, owner: str, now: int, until: int) -> bool:
    """Take the tick if it is due and nobody has it; a lease that has passed is nobody's."""
    insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    tx.execute(insert(tick).values(name=name, next_at=now).on_conflict_do_nothing())
    free = tick.c.lease_until.is_(None) | (tick.c.lease_until <= now)
    due = sa.update(tick).where(tick.c.name == name, tick.c.next_at <= now, free)
    return tx.execute(due.values(lease_owner=owner, lease_until=until)).rowcount == 1


def finish(tx: Tx, name: str, owner: str, next_at: int) -> None:
    """Give it back, unless somebody else has taken it over."""
    mine = sa.update(tick).where(tick.c.name == name, tick.c.lease_owner == owner)
    tx.execute(mine.values(next_at=next_at, lease_owner=None, lease_until=None))
