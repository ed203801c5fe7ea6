"""Tenants' API keys: added, rotated, revoked. A key's text exists once, in the answer to whoever made it."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rollout.core.audit import Actor
from rollout.core.tenants import (
    KEY_BYTES,
    MAX_OVERLAP_SECONDS,
    OVERLAP_SECONDS,
    Key,
    NewKey,
    key_json,
    key_text,
    secret_hash,
    shown_prefix,
)
from rollout.core.times import check_ahead, rfc3339
from rollout.db import keys
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InvalidApiKey, InvalidRequest, NotFound
from rollout.services.changes import Change, Changes
from rollout.services.ids import NewId
from rollout.services.tenants import check_version, require


@dataclass(frozen=True)
class IssuedKey:
    """A new key with its text, which is shown once; `secret` is None after a dry run, where no key came to be."""

    key: Key
    secret: str | None = field(repr=False)


@dataclass(frozen=True)
class RotatedKey:
    """The new key, and the old one with the moment at which it stops."""

    issued: IssuedKey
    old: Key


def issued_key_json(issued: IssuedKey) -> dict[str, Any]:
    """The key with its text in `secret`: the one answer that carries it."""
    return {**key_json(issued.key), "secret": issued.secret}


def rotated_key_json(rotated: RotatedKey) -> dict[str, Any]:
    """The new key as when it is added, and the old one in `replaces`."""
    return {**issued_key_json(rotated.issued), "replaces": key_json(rotated.old)}


class Keys:
    def __init__(
        self,
        database: Database,
        changes: Changes,
        secret: bytes,
        new_id: NewId,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database, self._changes = database, changes
        self._secret, self._new_id, self._random = secret, new_id, random

    def page(self, tenant_id: str, *, after: str | None, limit: int, usable: bool = False) -> list[Key]:
        """The tenant's keys, oldest first; the ended ones too, unless only `usable` ones are wanted. Raises NotFound."""
        with self._database.read() as tx:
            require(tx, tenant_id)
            usable_at = self._database.now(tx) if usable else None
            return keys.page(tx, tenant_id, after=after, limit=limit, usable_at=usable_at)

    def get(self, tenant_id: str, key_id: str) -> Key:
        """Raises NotFound."""
        with self._database.read() as tx:
            return _require_key(tx, tenant_id, key_id)

    def owner(self, key_id: str) -> str:
        """The id of the tenant that has this key. Raises NotFound."""
        with self._database.read() as tx:
            tenant_id = keys.owner(tx, key_id)
        if tenant_id is None:
            raise NotFound(f"There is no API key {key_id!r}.", param="key")
        return tenant_id

    def add(
        self, actor: Actor, tenant_id: str, new: NewKey, reason: str | None, *, dry_run: bool = False
    ) -> IssuedKey:
        """Raises NotFound for the tenant, InvalidRequest when it would have expired already."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            require(change.tx, tenant_id)
            issued = self._issue(change, tenant_id, new)
        return _without_secret(issued) if dry_run else issued

    def revoke(
        self,
        actor: Actor,
        tenant_id: str,
        key_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Key:
        """The key opens nothing from now on; revoking a revoked key changes nothing.

        Raises NotFound, StaleVersion.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require_key(change.tx, tenant_id, key_id)
            check_version(based_on, before.version, key_json(before))
            if before.revoked_at is not None:
                return before
            return _put(change, "key.revoked", before, revoked_at=change.now)

    def rotate(
        self,
        actor: Actor,
        tenant_id: str,
        key_id: str,
        reason: str | None,
        *,
        overlap_seconds: int = OVERLAP_SECONDS,
        expires_at: int | None = None,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> RotatedKey:
        """A new key of the same name, mode and scopes now; the old one expires after the overlap, if not before.

        `expires_at` is the new key's own end; a key that had an end is not replaced by one without. Raises
        NotFound, StaleVersion, InvalidRequest, Conflict for a key that is revoked or expired.
        """
        if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
            raise InvalidRequest(
                f"overlap_seconds is a number from 0 to {MAX_OVERLAP_SECONDS}.", param="overlap_seconds"
            )
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require_key(change.tx, tenant_id, key_id)
            check_version(based_on, before.version, key_json(before))
            _check_can_be_replaced(before, expires_at, change.now)
            issued = self._issue(
                change, tenant_id, NewKey(before.name, before.mode, before.scopes, expires_at)
            )
            end = change.now + overlap_seconds
            end = end if before.expires_at is None else min(end, before.expires_at)
            old = _put(change, "key.rotated", before, expires_at=end)
        return RotatedKey(_without_secret(issued) if dry_run else issued, old)

    def _issue(self, change: Change, tenant_id: str, new: NewKey) -> IssuedKey:
        check_ahead(new.expires_at, change.now, "expires_at")
        text = key_text(new.mode, self._random(KEY_BYTES))
        key = Key(
            id=self._new_id("key"),
            tenant_id=tenant_id,
            name=new.name.strip(),
            mode=new.mode,
            prefix=shown_prefix(text),
            hash=secret_hash(self._secret, text),
            scopes=new.scopes,
            created_at=change.now,
            expires_at=new.expires_at,
        )
        keys.add(change.tx, key)
        change.record("key.added", subject=key.id, tenant=tenant_id, before=None, after=key_json(key))
        return IssuedKey(key, text)


def _put(change: Change, action: str, before: Key, **fields: Any) -> Key:
    after = dataclasses.replace(before, **fields, version=before.version + 1)
    keys.put(change.tx, after)
    change.record(
        action, subject=after.id, tenant=after.tenant_id, before=key_json(before), after=key_json(after)
    )
    return after


def _check_can_be_replaced(old: Key, expires_at: int | None, now: int) -> None:
    try:
        old.check_usable(now)
    except InvalidApiKey as ended:
        raise Conflict(
            f"{ended.message} It cannot be rotated.", remedy="Add a new key.", key=key_json(old)
        ) from None
    if old.expires_at is not None and expires_at is None:
        raise InvalidRequest(
            f"This key ends at {rfc3339(old.expires_at)}: say when the new one shall end.",
            param="expires_at",
            remedy="Send expires_at; for a key without an end, add a new key.",
        )


def _without_secret(issued: IssuedKey) -> IssuedKey:
    return dataclasses.replace(issued, secret=None)


def _require_key(tx: Tx, tenant_id: str, key_id: str) -> Key:
    found = keys.get(tx, tenant_id, key_id)
    if found is None:
        raise NotFound(f"The tenant {tenant_id!r} has no key {key_id!r}.", param="key")
    return found
