"""Operators at the console: who they are, what they prefer, and what a password must be. Roles are those of admin tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rollout.core.tenants import check_tz
from rollout.core.times import rfc3339
from rollout.core.tokens import ROLES, Role
from rollout.errors import InvalidRequest

Language = Literal["en", "id"]
Theme = Literal["system", "light", "dark"]

LANGUAGES: tuple[Language, ...] = get_args(Language)
THEMES: tuple[Theme, ...] = get_args(Theme)
MAX_EMAIL = 190
"""`user:<email>` stands in the audit log, whose actors have at most 200 characters."""
MIN_PASSWORD, MAX_PASSWORD = 12, 200

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_EMAIL = re.compile(rf"[a-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
"""A valid email address by the HTML standard (what `<input type="email">` takes), in lower case."""


@dataclass(frozen=True)
class Preferences:
    """A person's own; `language` and `tz` None: the browser's. `shortcuts`: single keys act."""

    language: Language | None = None
    tz: str | None = None
    theme: Theme = "system"
    shortcuts: bool = True

    def __post_init__(self) -> None:
        if self.language is not None and self.language not in LANGUAGES:
            raise InvalidRequest(f"A language is one of {', '.join(LANGUAGES)}.", param="language")
        if self.tz is not None:
            check_tz(self.tz)
        if self.theme not in THEMES:
            raise InvalidRequest(f"A theme is one of {', '.join(THEMES)}.", param="theme")


@dataclass(frozen=True)
class NewUser:
    """What a user shall be; the email is kept in lower case, so that it is one person's however it is typed."""

    email: str
    name: str
    role: Role

    def __post_init__(self) -> None:
        email = folded(self.email)
        if len(email) > MAX_EMAIL or not _EMAIL.fullmatch(email):
            raise InvalidRequest(
                "An email looks like ana@example.com and has at most 190 characters.", param="email"
            )
        object.__setattr__(self, "email", email)
        _check_person(self.name, self.role)


@dataclass(frozen=True)
class User:
    """Times in UTC epoch seconds; without a password they sign in by link only."""

    id: str
    email: str
    name: str
    role: Role
    created_at: int
    password_hash: str | None = field(default=None, repr=False)
    language: Language | None = None
    tz: str | None = None
    theme: Theme = "system"
    shortcuts: bool = True
    version: int = 1
    disabled_at: int | None = None

    def __post_init__(self) -> None:
        _check_person(self.name, self.role)


def folded(email: str) -> str:
    """An email as it is kept and looked up."""
    return email.strip().lower()


def check_password(password: str, email: str) -> None:
    """Raises InvalidRequest that says what a password must be."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidRequest("A password has 12 to 200 characters.", param="password")
    if folded(password) == email:
        raise InvalidRequest("The password must not be the email.", param="password")


def user_json(user: User) -> dict[str, Any]:
    """The shape that admins, logs and the audit log see: neither the password's hash nor what is the person's own."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "has_password": user.password_hash is not None,
        "created_at": rfc3339(user.created_at),
        "disabled_at": rfc3339(user.disabled_at),
    }


def _check_person(name: str, role: str) -> None:
    if not name.strip() or len(name) > 200:
        raise InvalidRequest("A user needs a name of at most 200 characters.", param="name")
    if role not in ROLES:
        raise InvalidRequest(f"A role is one of {', '.join(ROLES)}.", param="role")
