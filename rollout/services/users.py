"""Operators: added, changed, disabled, given a password or a link to sign in by."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any

from rollout.core.audit import Actor
from rollout.core.sessions import LINK_SECONDS, SECRET_BYTES
from rollout.core.tenants import secret_hash
from rollout.core.times import rfc3339
from rollout.core.users import NewUser, Preferences, User, check_password, folded, user_json
from rollout.db import sessions, users
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, NotFound
from rollout.services.changes import Change, Changes
from rollout.services.ids import NewId
from rollout.services.passwords import Passwords
from rollout.services.tenants import check_version


class Users:
    def __init__(
        self, database: Database, changes: Changes, secret: bytes, new_id: NewId, passwords: Passwords
    ) -> None:
        self._database, self._changes = database, changes
        self._secret, self._new_id, self._passwords = secret, new_id, passwords

    def page(self, *, after: str | None, limit: int) -> list[User]:
        """Oldest first, the disabled ones too."""
        with self._database.read() as tx:
            return users.page(tx, after=after, limit=limit)

    def get(self, user_id: str) -> User:
        """Raises NotFound."""
        with self._database.read() as tx:
            return _required(users.get(tx, user_id), user_id)

    def by_email(self, email: str) -> User:
        """Raises NotFound."""
        with self._database.read() as tx:
            return _required(users.by_email(tx, folded(email)), email)

    def add(
        self,
        actor: Actor,
        new: NewUser,
        reason: str | None,
        *,
        password: str | None = None,
        dry_run: bool = False,
    ) -> User:
        """Without a password they first sign in by a link. Raises InvalidRequest, Conflict when the email is taken."""
        hashed = None if password is None else self._hashed(password, new.email)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            if users.by_email(change.tx, new.email):
                raise Conflict(
                    f"There is a user {new.email!r} already.",
                    param="email",
                    remedy="Use another email, or change or enable that user.",
                )
            user = User(self._new_id("usr"), new.email, new.name, new.role, change.now, hashed)
            users.add(change.tx, user)
            change.record("user.added", subject=user.id, tenant=None, before=None, after=_audited(user))
        return user

    def change(
        self,
        actor: Actor,
        user_id: str,
        fields: Mapping[str, Any],
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> User:
        """Set `fields` (name, role). Raises NotFound, StaleVersion, InvalidRequest, Conflict for the last admin."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _lock(change.tx, user_id, based_on)
            return _put(change, "user.changed", before, **fields)

    def disable(
        self,
        actor: Actor,
        user_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> User:
        """They are out from now on: sessions and links end. Disabling the disabled changes nothing.

        Raises NotFound, StaleVersion, Conflict for the last admin.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _lock(change.tx, user_id, based_on)
            if before.disabled_at is not None:
                return before
            sessions.end_all(change.tx, user_id)
            sessions.end_links(change.tx, user_id)
            return _put(change, "user.disabled", before, disabled_at=change.now)

    def enable(
        self,
        actor: Actor,
        user_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> User:
        """They may sign in again. Raises NotFound, StaleVersion."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _lock(change.tx, user_id, based_on)
            return _put(change, "user.enabled", before, disabled_at=None)

    def set_password(
        self,
        actor: Actor,
        user_id: str,
        password: str,
        reason: str | None,
        *,
        keep_session: str | None = None,
        dry_run: bool = False,
    ) -> User:
        """Their links and sessions end, except the one with the hash `keep_session`. Raises NotFound, InvalidRequest."""
        hashed = self._hashed(password, self.get(user_id).email)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _lock(change.tx, user_id)
            sessions.end_all(change.tx, user_id, but=keep_session)
            sessions.end_links(change.tx, user_id)
            return _put(change, "user.password_set", before, password_hash=hashed)

    def set_preferences(self, user_id: str, wanted: Preferences) -> User:
        """A person's own, so neither audited nor a new version. Raises NotFound."""
        with self._database.write() as tx:
            after = dataclasses.replace(_lock(tx, user_id), **dataclasses.asdict(wanted))
            users.put(tx, after)
        return after

    def link(self, actor: Actor, user_id: str, reason: str | None, *, dry_run: bool = False) -> str | None:
        """The secret of a link that lets the user in once within LINK_SECONDS; earlier ones end.

        None after a dry run. Raises NotFound, Conflict while the user is disabled.
        """
        text = secrets.token_urlsafe(SECRET_BYTES)
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            user = _lock(change.tx, user_id)
            if user.disabled_at is not None:
                raise Conflict(f"{user.email} is disabled.", remedy="Enable the user first.")
            ends = change.now + LINK_SECONDS
            sessions.end_links(change.tx, user_id)
            sessions.add_link(change.tx, secret_hash(self._secret, text), user_id, ends)
            made = {"email": user.email, "expires_at": rfc3339(ends)}
            change.record("user.link_made", subject=user_id, tenant=None, before=None, after=made)
        return None if dry_run else text

    def _hashed(self, password: str, email: str) -> str:
        """Outside of a transaction, since it takes its time."""
        check_password(password, email)
        return self._passwords.hash(password)


def _put(change: Change, action: str, before: User, **fields: Any) -> User:
    """Write and note what changed, if anything does. Raises InvalidRequest, Conflict when nobody could manage users any more."""
    after = dataclasses.replace(before, **fields)
    if after == before:
        return before
    after = dataclasses.replace(after, version=before.version + 1)
    if _is_admin(before) and not _is_admin(after):
        _check_not_last(change, before)
    users.put(change.tx, after)
    change.record(action, subject=after.id, tenant=None, before=_audited(before), after=_audited(after))
    return after


def _is_admin(user: User) -> bool:
    return user.role == "admin" and user.disabled_at is None


def _check_not_last(change: Change, user: User) -> None:
    if not users.is_another_admin(change.tx, user.id, change.now):
        raise Conflict(
            f"{user.email} is the last admin who can sign in.",
            remedy="Make somebody else an admin first, with a password or a sign-in link.",
        )


def _audited(user: User) -> dict[str, Any]:
    """With the version, so that a password set anew shows as a change."""
    return {**user_json(user), "version": user.version}


def _lock(tx: Tx, user_id: str, based_on: int | None = None) -> User:
    """Raises NotFound, StaleVersion."""
    user = _required(users.lock(tx, user_id), user_id)
    check_version(based_on, user.version, user_json(user))
    return user


def _required(user: User | None, wanted: str) -> User:
    if user is None:
        raise NotFound(f"There is no user {wanted!r}.", param="user")
    return user
