"""Rows of delivered pictures: who owns which bytes, and until when they are kept."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from rollout.core.uses import StoredImage
from rollout.db.engine import Tx
from rollout.db.tables import image, tenant


def add(tx: Tx, new: Sequence[StoredImage]) -> None:
    if new:
        tx.execute(sa.insert(image), [dataclasses.asdict(one) for one in new])


def get(tx: Tx, tenant_id: str, image_id: str) -> StoredImage | None:
    query = sa.select(image).where(image.c.tenant_id == tenant_id, image.c.id == image_id)
    row = tx.execute(query).mappings().one_or_none()
    return StoredImage(**row) if row else None


def first(tx: Tx, tenant_id: str, generation_id: str, now: int) -> StoredImage | None:
    """The first picture of a generation, while it is kept."""
    mine = (image.c.tenant_id == tenant_id, image.c.generation_id == generation_id, image.c.position == 0)
    row = tx.execute(sa.select(image).where(*mine, image.c.expires_at > now)).mappings().one_or_none()
    return StoredImage(**row) if row else None


def of_generation(tx: Tx, tenant_id: str, generation_id: str) -> list[StoredImage]:
    """In their order in the answer."""
    mine = (image.c.tenant_id == tenant_id, image.c.generation_id == generation_id)
    query = sa.select(image).where(*mine).order_by(image.c.position)
    return [StoredImage(**row) for row in tx.execute(query).mappings()]


def of_generations(tx: Tx, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[StoredImage]]:
    """By (tenant_id, generation_id)."""
    mine = (
        image.c.tenant_id.in_(sorted({tenant_id for tenant_id, _ in ids})),
        image.c.generation_id.in_(sorted(generation_id for _, generation_id in ids)),
    )
    found = defaultdict[tuple[str, str], list[StoredImage]](list)
    for row in tx.execute(sa.select(image).where(*mine).order_by(image.c.position)).mappings():
        found[row["tenant_id"], row["generation_id"]].append(StoredImage(**row))
    return found


def find(tx: Tx, image_id: str) -> StoredImage | None:
    """Of any tenant, for admins: looked up at each tenant, because pictures are in order of theirs."""
    query = sa.select(image).where(image.c.tenant_id.in_(sa.select(tenant.c.id)), image.c.id == image_id)
    row = tx.execute(query).mappings().one_or_none()
    return StoredImage(**row) if row else None


def expired(tx: Tx, now: int, limit: int) -> list[StoredImage]:
    """Pictures of all tenants whose time is over, oldest first."""
    query = sa.select(image).where(image.c.expires_at <= now).order_by(image.c.expires_at).limit(limit)
    return [StoredImage(**row) for row in tx.execute(query).mappings()]


def delete(tx: Tx, gone: StoredImage) -> None:
    tx.execute(sa.delete(image).where(image.c.tenant_id == gone.tenant_id, image.c.id == gone.id))


def still_kept(tx: Tx, digests: Sequence[str]) -> set[str]:
    """Which of these sha256 sums some row still names."""
    query = sa.select(image.c.sha256).where(image.c.sha256.in_(digests)).distinct()
    return set(tx.execute(query).scalars())
