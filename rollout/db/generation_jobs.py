"""Rows of generations that jobs make, and generations with all that tells how far they have come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from rollout.core.generation_jobs import Generated, GenerationJob, Status
from rollout.core.holds import ANSWERED
from rollout.core.uses import Generation, StoredImage
from rollout.db import holds, images
from rollout.db.engine import Tx
from rollout.db.tables import generation, generation_job, hold

_IMAGES = hold.c.usage["images"].as_integer()
_ANSWERED = sa.or_(hold.c.resolution.is_(None), hold.c.resolution == ANSWERED)
_SETTLED = sa.and_(hold.c.state == "settled", _ANSWERED)
_KEPT_ON = generation_job.c.cancelled_at.is_(None)
_OPEN = sa.and_(_KEPT_ON, hold.c.lease_until.is_not(None))  # these are few, and have an index of their own

STATUS: Mapping[Status, sa.ColumnElement[bool]] = {
    "cancelled": generation_job.c.cancelled_at.is_not(None),
    "queued": sa.and_(_OPEN, hold.c.state == "held"),
    "dispatched": sa.and_(_OPEN, hold.c.state == "dispatched", generation_job.c.task_id.is_(None)),
    "running": sa.and_(_OPEN, hold.c.state == "dispatched", generation_job.c.task_id.is_not(None)),
    "unknown": sa.and_(_OPEN, hold.c.state == "unknown"),
    "refused": sa.and_(_KEPT_ON, _SETTLED, _IMAGES == 0),
    "succeeded": sa.and_(_KEPT_ON, _SETTLED, _IMAGES > 0, generation_job.c.error.is_(None)),
    "failed": sa.and_(
        _KEPT_ON,
        sa.or_(
            hold.c.state == "void",
            sa.and_(hold.c.state == "settled", sa.not_(_ANSWERED)),
            sa.and_(_SETTLED, _IMAGES > 0, generation_job.c.error.is_not(None)),
        ),
    ),
}
"""What `core.generation_jobs.status_of` says, as conditions on the rows."""

_JOINED = generation.join(
    hold, sa.and_(hold.c.tenant_id == generation.c.tenant_id, hold.c.id == generation.c.hold_id)
).outerjoin(
    generation_job,
    sa.and_(
        generation_job.c.tenant_id == generation.c.tenant_id,
        generation_job.c.generation_id == generation.c.id,
    ),
)


def add(tx: Tx, new: GenerationJob) -> None:
    tx.execute(sa.insert(generation_job).values(**vars(new)))


def change(tx: Tx, tenant_id: str, generation_id: str, **values: Any) -> None:
    this = (generation_job.c.tenant_id == tenant_id, generation_job.c.generation_id == generation_id)
    tx.execute(sa.update(generation_job).where(*this).values(**values))


def find(tx: Tx, generation_id: str, *, tenant: str | None) -> Generated | None:
    """Of that tenant, or (None) of any, for admins."""
    found = page(tx, tenant=tenant, id=generation_id, before=None, limit=1)
    return found[0] if found else None


def page(
    tx: Tx,
    *,
    tenant: str | None,
    id: str | None = None,
    status: Status | None = None,
    before: str | None,
    limit: int,
) -> list[Generated]:
    """Newest first, from before the id `before`."""
    query = sa.select(generation, hold, generation_job).select_from(_JOINED)
    if tenant is not None:
        query = query.where(generation.c.tenant_id == tenant)
    if id is not None:
        query = query.where(generation.c.id == id)
    if status is not None:
        query = query.where(STATUS[status])
    if before is not None:
        query = query.where(generation.c.id < before)
    rows = tx.execute(query.order_by(generation.c.id.desc()).limit(limit)).mappings().all()
    kept = images.of_generations(tx, [(row[generation.c.tenant_id], row[generation.c.id]) for row in rows])
    return [_generated(row, kept) for row in rows]


def _generated(row: sa.RowMapping, kept: Mapping[tuple[str, str], Sequence[StoredImage]]) -> Generated:
    made, left = Generation(**_of(row, generation)), _of(row, generation_job)
    return Generated(
        made,
        holds.of_row(_of(row, hold)),
        GenerationJob(**left) if left["generation_id"] else None,
        kept.get((made.tenant_id, made.id), ()),
    )


def _of(row: sa.RowMapping, table: sa.Table) -> dict[str, Any]:
    return {column.name: row[column] for column in table.columns}
