"""Partners' API keys at the door: `Authorization: Bearer` or `x-api-key`, on every route, whatever the SDK."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from flask import g, request

from rollout.core.tenants import Scope
from rollout.errors import InvalidApiKey, PermissionDenied
from rollout.services.state import Identity
from rollout.web.wired import services


@dataclass(frozen=True)
class KeyAuth:
    """Needs a usable key with `scope`; afterwards `identity()` tells whose it is."""

    scope: Scope
    scheme: str | None = "apiKey"

    @property
    def needs(self) -> str:
        return f"a key with scope {self.scope}"

    def __call__(self) -> None:
        state = services().state
        g.identity = found = state.whose(presented_key())
        structlog.contextvars.bind_contextvars(tenant=found.facts.tenant.id, key=found.key.id)
        state.check_usable(found)
        if self.scope not in found.key.scopes:
            raise PermissionDenied(
                f"This key lacks the scope {self.scope!r}; it has: {', '.join(found.key.scopes)}.",
                remedy=f"Use a key with the scope {self.scope!r}.",
            )


def key(scope: Scope) -> KeyAuth:
    return KeyAuth(scope)


def identity() -> Identity:
    """Who is calling, after a KeyAuth let them in."""
    found: Identity = g.identity
    return found


def presented_key() -> str:
    """The key as the caller sent it; raises InvalidApiKey when there is none."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    sent = text.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "").strip()
    if not sent:
        raise InvalidApiKey("No API key was sent.")
    return sent
