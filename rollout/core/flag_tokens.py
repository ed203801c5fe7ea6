"""Tokens by which SDKs ask for flags: `project:environment.secret`, as Unleash writes them; only their HMAC is kept.

A `client` token is the operator's: it gets the flags as they are, with all that they name. A `frontend` token gets answers alone, and may
be bound to a tenant, whose properties then stand in for what the caller says of itself. The text names one project, `*` for all, or `[]`
for several.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rollout.core.flags import PRODUCTION
from rollout.core.times import rfc3339
from rollout.errors import InvalidApiKey, InvalidRequest

Kind = Literal["client", "frontend"]

KINDS: tuple[Kind, ...] = get_args(Kind)
TOKEN_BYTES = 32
ALL_PROJECTS = ("*",)
MAX_PROJECTS = 100
REMEDY = "Send `Authorization: <token>` with a token of this environment (make one: rollout flag-tokens add)."

_PROJECT = re.compile(r"[A-Za-z0-9._~-]{1,100}")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9_~-]{1,64}")
_TOKEN = re.compile(r"(?:\*|\[\]|[A-Za-z0-9._~-]{1,100}):[A-Za-z0-9_~-]{1,64}\.[0-9a-f]{64}")


@dataclass(frozen=True)
class FlagToken:
    """Times in UTC epoch seconds; `projects` is ALL_PROJECTS, or names."""

    id: str
    name: str
    type: Kind
    projects: tuple[str, ...]
    environment: str
    tenant_id: str | None
    prefix: str
    hash: str
    version: int
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

    def status(self, now: float) -> Literal["active", "expired", "revoked"]:
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def check_usable(self, now: float) -> None:
        """Raises InvalidApiKey with the reason once the token is revoked or expired."""
        status = self.status(now)
        if status != "active":
            how = "was revoked" if status == "revoked" else "has expired"
            raise InvalidApiKey(f"The flag token {self.prefix}... {how}.", remedy=REMEDY)

    def sees(self, project: str) -> bool:
        """Whether flags of that project are within its reach."""
        return self.projects == ALL_PROJECTS or project in self.projects


@dataclass(frozen=True)
class NewFlagToken:
    """What a token shall be. `tenant_id`: whose properties replace those that the caller of a frontend token sends."""

    name: str
    type: Kind
    environment: str = PRODUCTION
    projects: tuple[str, ...] = ALL_PROJECTS
    tenant_id: str | None = None
    expires_at: int | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > 200:
            raise InvalidRequest("A token needs a name of at most 200 characters.", param="name")
        if self.type not in KINDS:
            raise InvalidRequest(f"The type of a flag token is one of {', '.join(KINDS)}.", param="type")
        if not _ENVIRONMENT.fullmatch(self.environment):
            raise InvalidRequest(
                "A token's environment is 1-64 letters, digits and _ ~ -: it is a part of the token.",
                param="environment",
            )
        if self.tenant_id is not None and self.type != "frontend":
            raise InvalidRequest(
                "A client token gets the flags themselves, which name other tenants' groups: it cannot be a tenant's.",
                param="tenant",
                remedy="Make a frontend token for the tenant.",
            )
        self._check_projects()

    def _check_projects(self) -> None:
        if self.projects == ALL_PROJECTS:
            return
        if not 1 <= len(self.projects) <= MAX_PROJECTS or len(set(self.projects)) < len(self.projects):
            raise InvalidRequest(
                f"A token is for all projects (*) or for 1 to {MAX_PROJECTS} different ones.",
                param="projects",
            )
        for project in self.projects:
            if not _PROJECT.fullmatch(project):
                raise InvalidRequest(
                    "A project is 1-100 letters, digits and . _ ~ -; * stands alone, for all of them.",
                    param="projects",
                )


def check_shape(text: str) -> None:
    """Raises InvalidApiKey for what cannot be a flag token."""
    if not _TOKEN.fullmatch(text):
        raise InvalidApiKey(
            "This is not a flag token: those look like project:environment.secret.", remedy=REMEDY
        )


def token_text(new: NewFlagToken, random: bytes) -> str:
    """The text of a token from 32 random bytes."""
    project = new.projects[0] if len(new.projects) == 1 else "[]"
    return f"{project}:{new.environment}.{random.hex()}"


def shown_prefix(text: str) -> str:
    """What may be shown of a token for ever: `*:production.ab12`."""
    return text[: text.rindex(".") + 5]


def flag_token_json(token: FlagToken) -> dict[str, Any]:
    """The shape that admins, logs and the audit log see: neither the secret nor its hash."""
    return {
        "id": token.id,
        "name": token.name,
        "type": token.type,
        "environment": token.environment,
        "projects": list(token.projects),
        "tenant": token.tenant_id,
        "prefix": token.prefix,
        "created_at": rfc3339(token.created_at),
        "expires_at": rfc3339(token.expires_at),
        "revoked_at": rfc3339(token.revoked_at),
    }
