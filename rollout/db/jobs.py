"""Rows of jobs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from rollout.core.jobs import Job, State
from rollout.db.engine import Tx
from rollout.db.tables import job

_IS_OPEN = sa.text("state in ('ready', 'running')")  # written out: a partial index is found by its own words


def add(tx: Tx, new: Job) -> bool:
    """False, and nothing is written, while a job of its kind with its `dedupe` is open."""
    insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    written = insert(job).values(**vars(new)).on_conflict_do_nothing().returning(job.c.id)
    return tx.execute(written).first() is not None


def is_open(tx: Tx, tenant_id: str, kind: str, dedupe: str) -> bool:
    same = (job.c.tenant_id == tenant_id, job.c.kind == kind, job.c.dedupe == dedupe)
    return tx.execute(sa.select(job.c.id).where(*same, _IS_OPEN)).first() is not None


def any_due(tx: Tx, kinds: Collection[str], now: int) -> bool:
    return tx.execute(_due(kinds, now).with_only_columns(job.c.id).limit(1)).first() is not None


def lock_due(tx: Tx, kinds: Collection[str], now: int, limit: int, *, but: Collection[str]) -> list[Job]:
    """Those that may be claimed, longest waiting first, without those about the subjects `but`; locked.

    What another process is claiming at this moment is left out.
    """
    query = _due(kinds, now).order_by(job.c.run_at, job.c.id).limit(limit).with_for_update(skip_locked=True)
    if but:
        query = query.where(job.c.subject.is_(None) | job.c.subject.not_in(sorted(but)))
    return [Job(**row) for row in tx.execute(query).mappings()]


def get(tx: Tx, job_id: str) -> Job | None:
    row = tx.execute(sa.select(job).where(job.c.id == job_id)).mappings().one_or_none()
    return Job(**row) if row else None


def page(
    tx: Tx,
    *,
    state: State | None = None,
    kind: str | None = None,
    subject: str | None = None,
    before: str | None,
    limit: int,
) -> list[Job]:
    """Newest first; `before` is the id to continue from."""
    wanted = {"state": state, "kind": kind, "subject": subject}
    query = sa.select(job).order_by(job.c.id.desc()).limit(limit)
    query = query.where(*(job.c[name] == value for name, value in wanted.items() if value is not None))
    if before is not None:
        query = query.where(job.c.id < before)
    return [Job(**row) for row in tx.execute(query).mappings()]


def count_dead(tx: Tx, since: int, limit: int) -> int:
    """How many died since then, counted up to `limit`."""
    dead = sa.select(job.c.id).where(job.c.state == "dead", job.c.ended_at >= since).limit(limit)
    return int(tx.execute(sa.select(sa.func.count()).select_from(dead.subquery())).scalar_one())


def put(tx: Tx, changed: Job, *, lease: str | None = None) -> bool:
    """Overwrite it, if it runs by this lease still; without `lease` in any case. Whether it was."""
    this = sa.update(job).where(job.c.tenant_id == changed.tenant_id, job.c.id == changed.id)
    if lease is not None:
        this = this.where(job.c.state == "running", job.c.lease == lease)
    return tx.execute(this.values(**vars(changed))).rowcount == 1


def renew(tx: Tx, leases: Collection[str], until: int) -> None:
    mine = sa.update(job).where(_IS_OPEN, job.c.state == "running", job.c.lease.in_(sorted(leases)))
    tx.execute(mine.values(run_at=until))


def purge(tx: Tx, ended_until: int, limit: int) -> int:
    """Delete that many which ended until then; how many it were."""
    old = sa.select(job.c.tenant_id, job.c.id).where(job.c.ended_at <= ended_until).limit(limit)
    ids = tx.execute(old.with_for_update(skip_locked=True)).all()
    _delete(tx, job.c.tenant_id.in_({row.tenant_id for row in ids}), job.c.id.in_([row.id for row in ids]))
    return len(ids)


def drop(tx: Tx, kind: str, subject: str) -> None:
    """Delete all about the subject."""
    _delete(tx, job.c.kind == kind, job.c.subject == subject)


def _due(kinds: Collection[str], now: int) -> sa.Select[Any]:
    return sa.select(job).where(_IS_OPEN, job.c.run_at <= now, job.c.kind.in_(sorted(kinds)))


def _delete(tx: Tx, *which: sa.ColumnElement[bool]) -> None:
    tx.execute(sa.delete(job).where(*which))
