"""Tokens by which SDKs ask for flags: added, revoked, recognised. A token's text exists once, in the answer to whoever made it.

A token that was seen once is known from memory until the next revision: a poll of a known SDK never asks the database.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollout.core.audit import Actor
from rollout.core.flag_tokens import (
    REMEDY,
    TOKEN_BYTES,
    FlagToken,
    Kind,
    NewFlagToken,
    check_shape,
    flag_token_json,
    shown_prefix,
    token_text,
)
from rollout.core.tenants import secret_hash
from rollout.core.times import check_ahead
from rollout.db import flag_tokens
from rollout.db.engine import Clock, Database, Tx
from rollout.errors import InvalidApiKey, NotFound, PermissionDenied
from rollout.services.changes import Changes
from rollout.services.ids import NewId
from rollout.services.state import State
from rollout.services.tenants import check_version, require
from rollout.sync.lru import LRU

CACHED = 10_000


@dataclass(frozen=True)
class IssuedFlagToken:
    """A new token with its text, which is shown once; `secret` is None after a dry run, where no token came to be."""

    token: FlagToken
    secret: str | None = field(repr=False)


def issued_flag_token_json(issued: IssuedFlagToken) -> dict[str, Any]:
    """The token with its text in `secret`: the one answer that carries it."""
    return {**flag_token_json(issued.token), "secret": issued.secret}


class FlagTokens:
    def __init__(
        self,
        database: Database,
        changes: Changes,
        state: State,
        secret: bytes,
        new_id: NewId,
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database, self._changes, self._state = database, changes, state
        self._secret, self._new_id, self._clock, self._random = secret, new_id, clock, random
        self._known: tuple[int, LRU[str, FlagToken]] = (0, LRU(CACHED))

    def identify(self, text: str, kind: Kind) -> FlagToken:
        """The usable token that this is.

        Raises InvalidApiKey for one that is unknown, has ended or, at the frontend's doors, is a client's; PermissionDenied for a
        frontend's at the client's doors and for a suspended tenant's; LedgerUnavailable.
        """
        check_shape(text)
        found = self._whose(secret_hash(self._secret, text))
        if found.type != kind:
            raise _wrong_kind(found, kind)
        self.check_usable(found)
        return found

    def check_usable(self, token: FlagToken) -> None:
        """The same for a token that was usable a moment ago: whether it still is."""
        found = self._whose(token.hash)
        found.check_usable(self._clock())
        if found.tenant_id is not None:
            self._state.check_active(self._state.facts(found.tenant_id).tenant)

    def known(self, texts: Sequence[str]) -> list[tuple[str, FlagToken]]:
        """Those of `texts` that are usable tokens, each with its token."""
        hashes = {text: secret_hash(self._secret, text) for text in texts}
        with self._database.read() as tx:
            found = flag_tokens.find(tx, hashes.values())
        now = self._clock()
        tokens = [(text, found[hash_]) for text, hash_ in hashes.items() if hash_ in found]
        return [(text, token) for text, token in tokens if token.status(now) == "active"]

    def page(self, *, tenant: str | None = None, after: str | None, limit: int) -> list[FlagToken]:
        """Oldest first, the ended ones too; all, or a tenant's own."""
        with self._database.read() as tx:
            return flag_tokens.page(tx, tenant=tenant, after=after, limit=limit)

    def get(self, token_id: str) -> FlagToken:
        """Raises NotFound."""
        with self._database.read() as tx:
            return _require(tx, token_id)

    def add(
        self, actor: Actor, new: NewFlagToken, reason: str | None, *, dry_run: bool = False
    ) -> IssuedFlagToken:
        """Raises NotFound for the tenant, InvalidRequest when it would have expired already."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            check_ahead(new.expires_at, change.now, "expires_at")
            if new.tenant_id is not None:
                require(change.tx, new.tenant_id)
            text = token_text(new, self._random(TOKEN_BYTES))
            token = FlagToken(
                id=self._new_id("ftk"),
                name=new.name.strip(),
                type=new.type,
                projects=new.projects,
                environment=new.environment,
                tenant_id=new.tenant_id,
                prefix=shown_prefix(text),
                hash=secret_hash(self._secret, text),
                version=1,
                created_at=change.now,
                expires_at=new.expires_at,
            )
            flag_tokens.add(change.tx, token)
            change.record(
                "flag_token.added",
                subject=token.id,
                tenant=token.tenant_id,
                before=None,
                after=flag_token_json(token),
            )
        return IssuedFlagToken(token, None if dry_run else text)

    def revoke(
        self,
        actor: Actor,
        token_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> FlagToken:
        """The token opens nothing from now on, and its streams end; revoking a revoked one changes nothing.

        Raises NotFound, StaleVersion.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, token_id)
            check_version(based_on, before.version, flag_token_json(before))
            if before.revoked_at is not None:
                return before
            after = dataclasses.replace(before, revoked_at=change.now, version=before.version + 1)
            flag_tokens.put(change.tx, after)
            change.record(
                "flag_token.revoked",
                subject=after.id,
                tenant=after.tenant_id,
                before=flag_token_json(before),
                after=flag_token_json(after),
            )
        return after

    def _whose(self, hash_: str) -> FlagToken:
        known = self._memory()
        return known.get(hash_) or self._load(hash_, known)

    def _memory(self) -> LRU[str, FlagToken]:
        """What is known at this revision. It is taken before the database is asked: what was read before a swap is not known after it."""
        revision = self._state.snapshot.revision
        if self._known[0] != revision:
            self._known = (revision, LRU(CACHED))
        return self._known[1]

    def _load(self, hash_: str, memory: LRU[str, FlagToken]) -> FlagToken:
        with self._database.read() as tx:
            found = flag_tokens.find(tx, [hash_]).get(hash_)
        if found is None:
            raise InvalidApiKey("There is no such flag token.", remedy=REMEDY)
        memory.put(hash_, found)
        return found


def _wrong_kind(token: FlagToken, wanted: Kind) -> Exception:
    """As Unleash answers: 403 to a frontend token at the client's doors, 401 to a client token at the frontend's."""
    remedy = f"Use a {wanted} token."
    if token.type == "frontend":
        return PermissionDenied(
            "This is a frontend token: it gets answers from /api/frontend, not the flags themselves.",
            remedy=remedy,
        )
    return InvalidApiKey(
        "This is a client token: it belongs to a server, and opens nothing for a frontend.", remedy=remedy
    )


def _require(tx: Tx, token_id: str) -> FlagToken:
    found = flag_tokens.get(tx, token_id)
    if found is None:
        raise NotFound(f"There is no flag token {token_id!r}.", param="token")
    return found
