"""Rows of what named tasks were answered."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from rollout.core.tasks import AnalysisResult
from rollout.db.engine import Tx
from rollout.db.tables import analysis_result, tenant


def add(tx: Tx, new: AnalysisResult) -> None:
    tx.execute(sa.insert(analysis_result).values(dataclasses.asdict(new)))


def get(tx: Tx, tenant_id: str, analysis_id: str) -> AnalysisResult | None:
    return _one(tx, analysis_result.c.tenant_id == tenant_id, analysis_result.c.analysis_id == analysis_id)


def find(tx: Tx, analysis_id: str) -> AnalysisResult | None:
    """Of any tenant, for admins: looked up at each tenant, because results are in order of theirs."""
    of_any = analysis_result.c.tenant_id.in_(sa.select(tenant.c.id))
    return _one(tx, of_any, analysis_result.c.analysis_id == analysis_id)


def page(
    tx: Tx, tenant_id: str, *, task: str | None, before: str | None, now: int, limit: int
) -> list[AnalysisResult]:
    """Newest first, those that are kept; `before` is the id to continue from."""
    query = (
        sa.select(analysis_result)
        .where(analysis_result.c.tenant_id == tenant_id, analysis_result.c.expires_at > now)
        .order_by(analysis_result.c.analysis_id.desc())
        .limit(limit)
    )
    if task is not None:
        query = query.where(analysis_result.c.task == task)
    if before is not None:
        query = query.where(analysis_result.c.analysis_id < before)
    return [AnalysisResult(**row) for row in tx.execute(query).mappings()]


def forget(tx: Tx, now: int, limit: int) -> int:
    """Remove at most `limit` whose time is over; how many it were."""
    key = (analysis_result.c.tenant_id, analysis_result.c.analysis_id)
    over = sa.select(*key).where(analysis_result.c.expires_at <= now).order_by(analysis_result.c.expires_at)
    return tx.execute(sa.delete(analysis_result).where(sa.tuple_(*key).in_(over.limit(limit)))).rowcount


def _one(tx: Tx, *which: sa.ColumnElement[bool]) -> AnalysisResult | None:
    row = tx.execute(sa.select(analysis_result).where(*which)).mappings().one_or_none()
    return AnalysisResult(**row) if row else None
