"""Admin tokens: added, revoked, recognised. A token's text exists once, in the answer to whoever made it."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rollout.core.audit import Actor
from rollout.core.tenants import secret_hash
from rollout.core.times import check_ahead
from rollout.core.tokens import REMEDY, TOKEN_BYTES, NewToken, Token, check_shape, token_json, token_text
from rollout.db import tokens
from rollout.db.engine import Clock, Database, Tx
from rollout.errors import Conflict, InvalidApiKey, NotFound
from rollout.services.changes import Changes
from rollout.services.ids import NewId
from rollout.services.tenants import check_version


@dataclass(frozen=True)
class IssuedToken:
    """A new token with its text, which is shown once; `secret` is None after a dry run, where no token came to be."""

    token: Token
    secret: str | None = field(repr=False)


def issued_token_json(issued: IssuedToken) -> dict[str, Any]:
    """The token with its text in `secret`: the one answer that carries it."""
    return {**token_json(issued.token), "secret": issued.secret}


class Tokens:
    def __init__(
        self,
        database: Database,
        changes: Changes,
        secret: bytes,
        new_id: NewId,
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database, self._changes = database, changes
        self._secret, self._new_id, self._clock, self._random = secret, new_id, clock, random

    def identify(self, text: str) -> Token:
        """Whose token this is, asked of the database each time, so that a revoked one is out at once.

        Raises InvalidApiKey.
        """
        check_shape(text)
        with self._database.read() as tx:
            found = tokens.find(tx, secret_hash(self._secret, text))
        if found is None:
            raise InvalidApiKey("There is no such admin token.", remedy=REMEDY)
        if not found.is_usable(self._clock()):
            raise InvalidApiKey(f"The admin token {found.name!r} was revoked or has expired.", remedy=REMEDY)
        return found

    def page(self, *, after: str | None, limit: int) -> list[Token]:
        """Oldest first, the ended ones too."""
        with self._database.read() as tx:
            return tokens.page(tx, after=after, limit=limit)

    def get(self, token_id: str) -> Token:
        """Raises NotFound."""
        with self._database.read() as tx:
            return _require_token(tx, token_id)

    def add(self, actor: Actor, new: NewToken, reason: str | None, *, dry_run: bool = False) -> IssuedToken:
        """Raises Conflict while another usable token has that name: the audit log knows people by it."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            check_ahead(new.expires_at, change.now, "expires_at")
            if any(token.is_usable(change.now) for token in tokens.named(change.tx, new.name)):
                raise Conflict(
                    f"There is an admin token {new.name!r} already.",
                    param="name",
                    remedy="Choose another name, or revoke that token first.",
                )
            text = token_text(self._random(TOKEN_BYTES))
            hashed = secret_hash(self._secret, text)
            token = Token(self._new_id("tok"), new.name, new.role, hashed, change.now, new.expires_at)
            tokens.add(change.tx, token)
            change.record("token.added", subject=token.id, tenant=None, before=None, after=token_json(token))
        return IssuedToken(token, None if dry_run else text)

    def revoke(
        self,
        actor: Actor,
        token_id: str,
        reason: str | None,
        *,
        based_on: int | None = None,
        dry_run: bool = False,
    ) -> Token:
        """Revoking a revoked token changes nothing. Raises NotFound, StaleVersion."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require_token(change.tx, token_id)
            check_version(based_on, before.version, token_json(before))
            if before.revoked_at is not None:
                return before
            after = dataclasses.replace(before, revoked_at=change.now)
            tokens.put(change.tx, after)
            change.record(
                "token.revoked",
                subject=after.id,
                tenant=None,
                before=token_json(before),
                after=token_json(after),
            )
        return after


def _require_token(tx: Tx, token_id: str) -> Token:
    found = tokens.get(tx, token_id)
    if found is None:
        raise NotFound(f"There is no admin token {token_id!r}.", param="token")
    return found
