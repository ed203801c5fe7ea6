"""Rows of the audit chain."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from rollout.core.audit import Entry
from rollout.db.engine import Tx
from rollout.db.tables import audit


def last_seq(tx: Tx) -> int:
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(audit.c.seq), 0))).scalar_one())


def add(tx: Tx, entries: list[Entry]) -> None:
    tx.execute(sa.insert(audit), [{**asdict(entry), "hash": entry.hash()} for entry in entries])


def walk(tx: Tx, *, after: int = 0) -> Iterator[tuple[Entry, str]]:
    """Every row in order, from behind the `seq` `after`, with the hash that was stored for it."""
    query = sa.select(audit).where(audit.c.seq > after).order_by(audit.c.seq)
    with tx.execute(query, execution_options={"yield_per": 1000}) as rows:
        for row in rows.mappings():
            values: dict[str, Any] = dict(row)
            stored = values.pop("hash")
            yield Entry(**values), stored


def hash_of(tx: Tx, seq: int) -> str | None:
    return tx.execute(sa.select(audit.c.hash).where(audit.c.seq == seq)).scalar()


def page(
    tx: Tx,
    *,
    tenant: str | None,
    subject: str | None,
    before: int | None,
    limit: int,
    actor: str | None = None,
    action: str | None = None,
    floor: int = 0,
) -> list[dict[str, Any]]:
    """Newest first; `before` is the `seq` to continue from, `floor` the lowest one that is looked at."""
    equals = {
        audit.c.tenant_id: tenant,
        audit.c.subject: subject,
        audit.c.actor: actor,
        audit.c.action: action,
    }
    query = _behind(sa.select(audit), before).where(audit.c.seq >= floor).limit(limit)
    query = query.where(*(column == value for column, value in equals.items() if value is not None))
    return [dict(row) for row in tx.execute(query).mappings()]


def made_at(tx: Tx, revisions: Collection[int]) -> dict[int, int]:
    """By revision, when it was made, UTC epoch seconds."""
    query = sa.select(audit.c.revision, sa.func.min(audit.c.at)).where(audit.c.revision.in_(revisions))
    return {row[0]: row[1] for row in tx.execute(query.group_by(audit.c.revision))}


def at_revision(tx: Tx, revision: int, subject: str) -> dict[str, Any] | None:
    """What that revision changed of the subject."""
    query = sa.select(audit).where(audit.c.revision == revision, audit.c.subject == subject)
    row = tx.execute(query).mappings().first()
    return dict(row) if row else None


def reach(tx: Tx, *, tenant: str | None, before: int | None, rows: int) -> int:
    """The `seq` of the last row that a walk over so many rows, back from `before`, looks at; 0 when it comes to the beginning."""
    query = _behind(sa.select(audit.c.seq), before).offset(rows - 1).limit(1)
    if tenant is not None:
        query = query.where(audit.c.tenant_id == tenant)
    return int(tx.execute(query).scalar() or 0)


def first_since(tx: Tx, at: int) -> int:
    """The `seq` of the first row written from `at` on, UTC epoch seconds; by halving, because rows are in order of time."""
    low, high = 1, last_seq(tx) + 1
    while low < high:
        middle = (low + high) // 2
        found = sa.select(audit.c.at).where(audit.c.seq >= middle).order_by(audit.c.seq).limit(1)
        if tx.execute(found).scalar_one() < at:
            low = middle + 1
        else:
            high = middle
    return low


def about(tx: Tx, tenant: str, subjects: Collection[str], *, limit: int) -> list[dict[str, Any]]:
    """What changed these things of a tenant, oldest first."""
    query = sa.select(audit).where(audit.c.subject.in_(subjects), audit.c.tenant_id == tenant)
    return [dict(row) for row in tx.execute(query.order_by(audit.c.seq).limit(limit)).mappings()]


def _behind(query: sa.Select[Any], before: int | None) -> sa.Select[Any]:
    query = query.order_by(audit.c.seq.desc())
    return query if before is None else query.where(audit.c.seq < before)


def touched_tenants(tx: Tx, since: int) -> set[str]:
    """Tenants whose facts changed in revisions after `since`; a change that touches everyone names nobody."""
    rows = tx.execute(
        sa.select(audit.c.tenant_id)
        .where(audit.c.revision > since, audit.c.tenant_id.is_not(None))
        .distinct()
    )
    return set(rows.scalars())
