"""Rows of admin tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from rollout.core.tokens import Token
from rollout.db.engine import Tx
from rollout.db.tables import admin_token


def get(tx: Tx, token_id: str) -> Token | None:
    return _one(tx, admin_token.c.id == token_id)


def find(tx: Tx, secret_hash: str) -> Token | None:
    """The token with this hash, whatever has become of it."""
    return _one(tx, admin_token.c.hash == secret_hash)


def named(tx: Tx, name: str) -> list[Token]:
    """All tokens that ever had this name."""
    rows = tx.execute(sa.select(admin_token).where(admin_token.c.name == name)).mappings()
    return [Token(**row) for row in rows]


def page(tx: Tx, *, after: str | None, limit: int) -> list[Token]:
    """In order of id, beginning after `after`."""
    query = sa.select(admin_token).order_by(admin_token.c.id).limit(limit)
    if after is not None:
        query = query.where(admin_token.c.id > after)
    return [Token(**row) for row in tx.execute(query).mappings()]


def add(tx: Tx, new: Token) -> None:
    tx.execute(sa.insert(admin_token).values(_values(new)))


def put(tx: Tx, changed: Token) -> None:
    tx.execute(sa.update(admin_token).where(admin_token.c.id == changed.id).values(_values(changed)))


def _one(tx: Tx, which: sa.ColumnElement[bool]) -> Token | None:
    row = tx.execute(sa.select(admin_token).where(which)).mappings().one_or_none()
    return Token(**row) if row else None


def _values(value: Token) -> Mapping[str, Any]:
    return asdict(value)
