"""Rows of kill bits: one for a feature and everyone, one for a feature and each tenant that was ever halted, one for a vendor."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

import sqlalchemy as sa

from rollout.core.kills import EVERYONE, Kill
from rollout.db.engine import Tx
from rollout.db.tables import kill


def for_everyone(tx: Tx) -> dict[str, Kill]:
    """By feature or vendor's switch: what is stopped for all tenants."""
    return _by_feature(tx, EVERYONE)


def for_tenant(tx: Tx, tenant_id: str) -> dict[str, Kill]:
    """By feature: what is halted for this tenant alone."""
    return _by_feature(tx, tenant_id)


def halts(
    tx: Tx, feature: str, *, among: Collection[str] | None = None, limit: int | None = None
) -> list[Kill]:
    """The tenants for which the feature is halted, in order of id; `among`: those of interest."""
    query = sa.select(kill).where(kill.c.feature == feature, kill.c.killed == 1, kill.c.tenant_id != EVERYONE)
    if among is not None:
        query = query.where(kill.c.tenant_id.in_(among))
    return [_kill(row) for row in tx.execute(query.order_by(kill.c.tenant_id).limit(limit)).mappings()]


def get(tx: Tx, feature: str, tenant_id: str) -> Kill | None:
    """The bit as it was last set, killed or revived; None: never set."""
    query = sa.select(kill).where(kill.c.feature == feature, kill.c.tenant_id == tenant_id)
    row = tx.execute(query).mappings().one_or_none()
    return _kill(row) if row else None


def put(tx: Tx, new: Kill) -> None:
    """Set the bit; the caller holds the revision row, so nobody else sets it meanwhile."""
    tx.execute(sa.delete(kill).where(kill.c.feature == new.feature, kill.c.tenant_id == new.tenant_id))
    tx.execute(sa.insert(kill).values({**asdict(new), "killed": int(new.killed)}))


def remove(tx: Tx, feature: str) -> None:
    """Forget a feature that there is no more: its bit and its halts."""
    tx.execute(sa.delete(kill).where(kill.c.feature == feature))


def remind(tx: Tx, now: int) -> list[Kill]:
    """Stops whose reminder has come and of which nobody was reminded yet; from now on somebody was."""
    due = sa.and_(kill.c.killed == 1, kill.c.remind_at <= now, kill.c.reminded_at.is_(None))
    rows = tx.execute(sa.update(kill).where(due).values(reminded_at=now).returning(*kill.c))
    return [_kill(row) for row in rows.mappings()]


def _by_feature(tx: Tx, tenant_id: str) -> dict[str, Kill]:
    query = sa.select(kill).where(kill.c.tenant_id == tenant_id, kill.c.killed == 1)
    return {row["feature"]: _kill(row) for row in tx.execute(query).mappings()}


def _kill(row: sa.RowMapping) -> Kill:
    return Kill(**{**row, "killed": row["killed"] == 1})
