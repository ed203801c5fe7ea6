"""Admin tokens and roles.

A viewer reads; an editor does the day's work and everything that stops; an admin also revives, and manages
the keys of the house (tokens).
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from flask import g

from rollout.core.audit import Actor
from rollout.core.tokens import Role, includes
from rollout.errors import PermissionDenied
from rollout.web.auth import presented_key
from rollout.web.wired import services


@dataclass(frozen=True)
class TokenAuth:
    """Needs an admin token whose role includes `role`; afterwards `actor()` tells who it is."""

    role: Role
    scheme: str | None = "adminToken"

    @property
    def needs(self) -> str:
        return f"an admin token with role {self.role}"

    def __call__(self) -> None:
        found = services().tokens.identify(presented_key())
        structlog.contextvars.bind_contextvars(actor=found.name)
        if not includes(found.role, self.role):
            raise PermissionDenied(f"This needs the role {self.role!r}; the token has {found.role!r}.")
        g.actor = Actor(f"token:{found.name}", found.role, g.request_id)


viewer, editor, admin = TokenAuth("viewer"), TokenAuth("editor"), TokenAuth("admin")


def actor() -> Actor:
    """Who is acting, after a TokenAuth let them in."""
    found: Actor = g.actor
    return found
