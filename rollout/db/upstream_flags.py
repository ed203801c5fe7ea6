"""The row of what an Unleash server said last, as text; one for each server, token and environment."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import sqlalchemy as sa

from rollout.db.engine import Tx
from rollout.db.tables import upstream_flags

_ROW = upstream_flags.c


@dataclass(frozen=True)
class Stored:
    """`revision`: the one that it came with; times in UTC epoch seconds: when it was fetched, and last confirmed."""

    source: str
    revision: int
    document: str
    etag: str
    fetched_at: int
    confirmed_at: int


def get(tx: Tx, source: str) -> Stored | None:
    row = tx.execute(sa.select(upstream_flags).where(_ROW.source == source)).mappings().one_or_none()
    return Stored(**row) if row else None


def stamp(tx: Tx, source: str) -> tuple[int, int] | None:
    """(revision, confirmed_at): while the revision stays, so does the document."""
    row = tx.execute(sa.select(_ROW.revision, _ROW.confirmed_at).where(_ROW.source == source)).one_or_none()
    return (row.revision, row.confirmed_at) if row else None


def put(tx: Tx, new: Stored) -> None:
    """Overwrite it; the caller holds the revision row. What other sources said is kept no longer."""
    tx.execute(sa.delete(upstream_flags))
    tx.execute(sa.insert(upstream_flags).values(asdict(new)))


def confirm(tx: Tx, source: str, at: int) -> None:
    """It held at that time; never goes back."""
    held = sa.update(upstream_flags).where(_ROW.source == source, _ROW.confirmed_at < at)
    tx.execute(held.values(confirmed_at=at))
