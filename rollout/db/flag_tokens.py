"""Rows of the tokens by which SDKs ask for flags."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from rollout.core.flag_tokens import FlagToken
from rollout.db.engine import Tx
from rollout.db.tables import flag_token


def get(tx: Tx, token_id: str) -> FlagToken | None:
    row = tx.execute(sa.select(flag_token).where(flag_token.c.id == token_id)).mappings().one_or_none()
    return _token(row) if row else None


def find(tx: Tx, hashes: Collection[str]) -> dict[str, FlagToken]:
    """By hash the tokens that have one of these, whatever has become of them."""
    rows = tx.execute(sa.select(flag_token).where(flag_token.c.hash.in_(hashes))).mappings()
    return {row["hash"]: _token(row) for row in rows}


def page(tx: Tx, *, tenant: str | None, after: str | None, limit: int) -> list[FlagToken]:
    """All, or one tenant's, in order of id, beginning after `after`."""
    query = sa.select(flag_token).order_by(flag_token.c.id).limit(limit)
    if tenant is not None:
        query = query.where(flag_token.c.tenant_id == tenant)
    if after is not None:
        query = query.where(flag_token.c.id > after)
    return [_token(row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: FlagToken) -> None:
    tx.execute(sa.insert(flag_token).values(_values(new)))


def put(tx: Tx, changed: FlagToken) -> None:
    tx.execute(sa.update(flag_token).where(flag_token.c.id == changed.id).values(_values(changed)))


def _values(value: FlagToken) -> dict[str, Any]:
    return {**asdict(value), "projects": list(value.projects)}


def _token(row: sa.RowMapping) -> FlagToken:
    return FlagToken(**{**row, "projects": tuple(row["projects"])})
