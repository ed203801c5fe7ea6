"""Admin tokens: `ra_` + 43 characters of base64url (256 random bits); only their HMAC is kept. Roles include the ones below them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["viewer", "editor", "admin"]

ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Token:
    """Times in UTC epoch seconds."""

    id: str
    name: str
    role: Role
    hash: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

    def is_usable(self, now: float) -> bool:
        return (self.revoked_at is None or self.revoked_at > now) and (self.expires_at is None or self.expires_at > now)


def token_text(random: bytes) -> str:
    """The text of a token from 32 random bytes."""
    return "ra_" + base64.urlsafe_b64encode(random).decode().rstrip("=")


def includes(role: str, needed: Role) -> bool:
    """Whether `role` may do what `needed` may."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)  # type: ignore[arg-type]
