"""Rows of users."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from rollout.core.users import User
from rollout.db.engine import Tx
from rollout.db.tables import sign_in_link, user


def get(tx: Tx, user_id: str) -> User | None:
    return _one(tx, sa.select(user).where(user.c.id == user_id))


def lock(tx: Tx, user_id: str) -> User | None:
    """The user, who stays as they are until the transaction ends: for whoever writes the row, or what depends on it."""
    return _one(tx, sa.select(user).where(user.c.id == user_id).with_for_update())


def by_email(tx: Tx, email: str) -> User | None:
    return _one(tx, sa.select(user).where(user.c.email == email))


def page(tx: Tx, *, after: str | None, limit: int) -> list[User]:
    """In order of id, beginning after `after`."""
    query = sa.select(user).order_by(user.c.id).limit(limit)
    if after is not None:
        query = query.where(user.c.id > after)
    return [User(**row) for row in tx.execute(query).mappings()]


def is_another_admin(tx: Tx, user_id: str, now: int) -> bool:
    """Whether an admin besides this one can sign in, by password or by a link that still opens."""
    link = sa.exists().where(
        sign_in_link.c.user_id == user.c.id, sign_in_link.c.used_at.is_(None), sign_in_link.c.expires_at > now
    )
    query = sa.exists().where(
        user.c.id != user_id,
        user.c.role == "admin",
        user.c.disabled_at.is_(None),
        user.c.password_hash.is_not(None) | link,
    )
    return bool(tx.execute(sa.select(query)).scalar_one())


def add(tx: Tx, new: User) -> None:
    tx.execute(sa.insert(user).values(asdict(new)))


def put(tx: Tx, changed: User) -> None:
    tx.execute(sa.update(user).where(user.c.id == changed.id).values(asdict(changed)))


def _one(tx: Tx, query: sa.Select[tuple[object, ...]]) -> User | None:
    row = tx.execute(query).mappings().one_or_none()
    return User(**row) if row else None
