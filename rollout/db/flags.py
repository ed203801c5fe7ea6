"""Rows of flags beyond plans, and of the segments that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from rollout.db.engine import Tx
from rollout.db.tables import flag, flag_extra, segment


def stamp(tx: Tx) -> object:
    """Changes whenever a live flag, a segment or an extra member does: while it stays, nothing need be loaded again."""
    flags = sa.select(sa.func.count(), sa.func.sum(flag.c.version), sa.func.max(flag.c.updated_at))
    segments = sa.select(
        sa.func.count(),
        sa.func.sum(segment.c.version),
        sa.func.sum(segment.c.id),
        sa.func.max(segment.c.updated_at),
    )
    extras = tx.execute(sa.select(flag_extra).order_by(flag_extra.c.environment)).all()
    return tuple(tx.execute(flags).one()), tuple(tx.execute(segments).one()), repr(extras)


def documents(tx: Tx) -> dict[str, Mapping[str, Any]]:
    """By environment the client-features document of its live flags, in order of name, with all segments."""
    segments = [row.document for row in tx.execute(sa.select(segment.c.document).order_by(segment.c.id))]
    extras = {row.environment: row.members for row in tx.execute(sa.select(flag_extra))}
    live = sa.select(flag.c.environment, flag.c.document).where(flag.c.archived_at.is_(None))
    features: dict[str, list[Any]] = {}
    for row in tx.execute(live.order_by(flag.c.environment, flag.c.name)):
        features.setdefault(row.environment, []).append(row.document)
    return {
        name: {"version": 2, **extras.get(name, {}), "features": found, "segments": segments}
        for name, found in features.items()
    }
