"""Rows of sessions, of sign-in links, and of sign-ins that failed."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from rollout.core.sessions import Session
from rollout.core.users import User
from rollout.db.engine import Tx
from rollout.db.tables import session, sign_in_failure, sign_in_link, user


def find(tx: Tx, secret_hash: str) -> Session | None:
    """The session with this hash and its user, whatever has become of them: one read by primary keys."""
    times = (session.c.created_at.label("began_at"), session.c.seen_at, session.c.expires_at)
    query = sa.select(user, *times).join(session, session.c.user_id == user.c.id)
    row = tx.execute(query.where(session.c.hash == secret_hash)).mappings().one_or_none()
    if row is None:
        return None
    owner = User(**{column.name: row[column.name] for column in user.columns})
    return Session(secret_hash, owner, row["began_at"], row["seen_at"], row["expires_at"])


def add(tx: Tx, secret_hash: str, user_id: str, now: int, expires_at: int) -> None:
    values = {"hash": secret_hash, "user_id": user_id, "created_at": now, "seen_at": now}
    tx.execute(sa.insert(session).values(**values, expires_at=expires_at))


def touch(tx: Tx, secret_hash: str, now: int) -> None:
    tx.execute(sa.update(session).where(session.c.hash == secret_hash).values(seen_at=now))


def end(tx: Tx, secret_hash: str) -> None:
    tx.execute(sa.delete(session).where(session.c.hash == secret_hash))


def end_all(tx: Tx, user_id: str, *, but: str | None = None) -> None:
    """End the user's sessions, except the one with the hash `but`."""
    tx.execute(sa.delete(session).where(session.c.user_id == user_id, session.c.hash != (but or "")))


def add_link(tx: Tx, secret_hash: str, user_id: str, expires_at: int) -> None:
    tx.execute(sa.insert(sign_in_link).values(hash=secret_hash, user_id=user_id, expires_at=expires_at))


def link_owner(tx: Tx, secret_hash: str, now: int) -> str | None:
    """The id of the user whom an unused link lets in."""
    return tx.execute(sa.select(sign_in_link.c.user_id).where(_opens(secret_hash, now))).scalar_one_or_none()


def use_link(tx: Tx, secret_hash: str, now: int) -> str | None:
    """The same, and from now on the link is used: of two at once, one gets the answer."""
    used = sa.update(sign_in_link).where(_opens(secret_hash, now)).values(used_at=now)
    return tx.execute(used.returning(sign_in_link.c.user_id)).scalar_one_or_none()


def end_links(tx: Tx, user_id: str) -> None:
    tx.execute(sa.delete(sign_in_link).where(sign_in_link.c.user_id == user_id))


def failures(tx: Tx, subjects: Collection[str], after: int) -> dict[str, tuple[int, int]]:
    """`(count, since)` of those of the subjects whose failures began after `after`."""
    which = (sign_in_failure.c.subject.in_(subjects), sign_in_failure.c.since > after)
    rows = tx.execute(sa.select(sign_in_failure).where(*which))
    return {subject: (count, since) for subject, count, since in rows}


def count_failure(tx: Tx, subject: str, now: int, after: int) -> tuple[int, int]:
    """One more, or the first of a new time where the last time began at `after` or before; gives `(count, since)`."""
    insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    over = sign_in_failure.c.since <= after
    counted = (
        insert(sign_in_failure)
        .values(subject=subject, count=1, since=now)
        .on_conflict_do_update(
            index_elements=[sign_in_failure.c.subject],
            set_={
                "count": sa.case((over, 1), else_=sign_in_failure.c.count + 1),
                "since": sa.case((over, now), else_=sign_in_failure.c.since),
            },
        )
        .returning(sign_in_failure.c.count, sign_in_failure.c.since)
    )
    row = tx.execute(counted).one()
    return row[0], row[1]


def forgive(tx: Tx, subject: str) -> None:
    """Take one failure back."""
    its = sign_in_failure.c.subject == subject
    tx.execute(sa.update(sign_in_failure).where(its).values(count=sign_in_failure.c.count - 1))
    tx.execute(sa.delete(sign_in_failure).where(its, sign_in_failure.c.count <= 0))


def forgive_all(tx: Tx, subject: str) -> None:
    tx.execute(sa.delete(sign_in_failure).where(sign_in_failure.c.subject == subject))


def forget(tx: Tx, *, now: int, idle_since: int, failed_before: int) -> None:
    """Delete what no longer opens or counts."""
    tx.execute(sa.delete(session).where((session.c.expires_at <= now) | (session.c.seen_at <= idle_since)))
    tx.execute(sa.delete(sign_in_link).where(sign_in_link.c.expires_at <= now))
    tx.execute(sa.delete(sign_in_failure).where(sign_in_failure.c.since <= failed_before))


def _opens(secret_hash: str, now: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        sign_in_link.c.hash == secret_hash, sign_in_link.c.used_at.is_(None), sign_in_link.c.expires_at > now
    )
