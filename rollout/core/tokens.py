"""Admin tokens: `ra_` + 43 characters of base64url (256 random bits); only their HMAC is kept.

Roles include the ones below them.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rollout.core.times import rfc3339
from rollout.errors import InvalidApiKey, InvalidRequest

Role = Literal["viewer", "editor", "admin"]

ROLES: tuple[Role, ...] = get_args(Role)
TOKEN_BYTES = 32
REMEDY = "Send `Authorization: Bearer ra_...` with an admin token (make one: rollout tokens add)."

_TOKEN = re.compile(r"ra_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")


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

    @property
    def version(self) -> int:
        """1, and 2 once it is revoked: nothing else about a token changes."""
        return 1 if self.revoked_at is None else 2

    def is_usable(self, now: float) -> bool:
        return (self.revoked_at is None or self.revoked_at > now) and (
            self.expires_at is None or self.expires_at > now
        )


@dataclass(frozen=True)
class NewToken:
    """What a token shall be: `name` stands in the audit log as `token:<name>`."""

    name: str
    role: Role
    expires_at: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidRequest(
                "A token's name is 1-63 lower-case letters, digits and . _ @ -, and begins with a letter or"
                " digit: it stands in the audit log for whoever uses the token.",
                param="name",
            )
        if self.role not in ROLES:
            raise InvalidRequest(f"A role is one of {', '.join(ROLES)}.", param="role")


def check_shape(text: str) -> None:
    """Raises InvalidApiKey for what cannot be an admin token."""
    if not _TOKEN.fullmatch(text):
        raise InvalidApiKey("This is not an admin token: those begin with ra_.", remedy=REMEDY)


def token_text(random: bytes) -> str:
    """The text of a token from 32 random bytes."""
    return "ra_" + base64.urlsafe_b64encode(random).decode().rstrip("=")


def includes(role: str, needed: Role) -> bool:
    """Whether `role` may do what `needed` may."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def token_json(token: Token) -> dict[str, Any]:
    """The shape that admins, logs and the audit log see: neither the secret nor its hash."""
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "created_at": rfc3339(token.created_at),
        "expires_at": rfc3339(token.expires_at),
        "revoked_at": rfc3339(token.revoked_at),
    }
