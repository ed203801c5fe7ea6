"""Tenants and their API keys.

A key is `rk_live_` or `rk_test_`, 43 characters of base64url (256 random bits), and 6 characters of
checksum: a typo is told from an unknown key without a look-up, and secret scanners know the shape. Only its
HMAC is kept.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rollout.core.times import rfc3339
from rollout.errors import InvalidApiKey, InvalidRequest

Scope = Literal["generate", "analyze", "feedback", "read"]
Mode = Literal["live", "test"]
TenantState = Literal["active", "suspended"]
RetiredModels = Literal["follow", "strict"]
"""What a tenant's calls by an old name get: the model that stands in for it, or `model_retired` with that model's name."""
ThinkingBudgets = Literal["map", "strict"]
"""A thinking budget for a model that takes none: mapped to an effort, or refused."""

RETIRED_MODELS: tuple[RetiredModels, ...] = get_args(RetiredModels)
THINKING_BUDGETS: tuple[ThinkingBudgets, ...] = get_args(ThinkingBudgets)

SCOPES: tuple[Scope, ...] = get_args(Scope)
KEY_BYTES = 32
OVERLAP_SECONDS = 86_400
"""How long a rotated key goes on working unless told otherwise: a day to bring the new one everywhere."""
MAX_OVERLAP_SECONDS = 30 * 86_400

_TENANT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEY = re.compile(r"rk_(live|test)_([A-Za-z0-9_-]{43})([0-9a-z]{6})")
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Tenant:
    """An organisation with keys and quotas. `attributes` are targetable by phases: string to string. `vendors`: those whose models
    it may use; None: all. `retired_models`: what its calls by an old name get. `thinking_budgets`: whether a budget for a model
    that takes none is mapped, or refused."""

    id: str
    name: str
    tz: str = "UTC"
    state: TenantState = "active"
    attributes: Mapping[str, str] = field(default_factory=dict)
    vendors: Sequence[str] | None = None
    retired_models: RetiredModels = "follow"
    thinking_budgets: ThinkingBudgets = "map"
    version: int = 1
    created_at: int = 0

    def __post_init__(self) -> None:
        if not _TENANT_ID.fullmatch(self.id):
            raise InvalidRequest(
                "A tenant's id is 1-63 lower-case letters, digits and hyphens, and does not begin with a hyphen.",
                param="id",
            )
        if not self.name.strip() or len(self.name) > 200:
            raise InvalidRequest("A tenant needs a name of at most 200 characters.", param="name")
        check_tz(self.tz)
        for name, value in self.attributes.items():
            if not isinstance(value, str) or len(name) > 64 or len(value) > 100:
                raise InvalidRequest(
                    "Attributes map names (64 characters) to strings (100 characters).",
                    param=f"attributes.{name}",
                )
        if self.vendors is not None:
            object.__setattr__(self, "vendors", tuple(dict.fromkeys(self.vendors)))
            if not self.vendors:
                raise InvalidRequest(
                    "Name the vendors that the tenant may use, at least one.",
                    param="vendors",
                    remedy="Send null to allow them all; to shut the tenant out, suspend it.",
                )
        for field_name, words in (("retired_models", RETIRED_MODELS), ("thinking_budgets", THINKING_BUDGETS)):
            if getattr(self, field_name) not in words:
                raise InvalidRequest(f"{field_name} is {' or '.join(words)}.", param=field_name)


@dataclass(frozen=True)
class Key:
    """An API key as it is kept; times in UTC epoch seconds."""

    id: str
    tenant_id: str
    name: str
    mode: Mode
    prefix: str
    hash: str
    scopes: tuple[Scope, ...]
    created_at: int
    version: int = 1
    expires_at: int | None = None
    revoked_at: int | None = None

    def status(self, now: float) -> Literal["active", "expired", "revoked"]:
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def check_usable(self, now: float) -> None:
        """Raises InvalidApiKey with the reason once the key is revoked or expired."""
        status = self.status(now)
        if status != "active":
            how = "was revoked" if status == "revoked" else "has expired"
            raise InvalidApiKey(
                f"The API key {self.prefix}... {how}.", remedy="Use another key of your tenant."
            )


@dataclass(frozen=True)
class NewKey:
    """What a key shall be; `expires_at` in UTC epoch seconds, None: until it is revoked."""

    name: str
    mode: Mode = "live"
    scopes: tuple[Scope, ...] = SCOPES
    expires_at: int | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > 200:
            raise InvalidRequest("A key needs a name of at most 200 characters.", param="name")
        object.__setattr__(self, "scopes", check_scopes(self.scopes))


def check_tz(name: str) -> None:
    """Raises InvalidRequest unless `name` is an IANA time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRequest(
            f"There is no time zone {name!r}.", param="tz", remedy="Use an IANA name such as Asia/Jakarta."
        ) from None


def check_scopes(scopes: Collection[str]) -> tuple[Scope, ...]:
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise InvalidRequest(f"Scopes are one or more of {', '.join(SCOPES)}.", param="scopes")
    return tuple(scope for scope in SCOPES if scope in scopes)


def key_text(mode: Mode, random: bytes) -> str:
    """The text of a key from 32 random bytes."""
    body = base64.urlsafe_b64encode(random).decode().rstrip("=")
    return f"rk_{mode}_{body}{_checksum(body)}"


def parse_key(text: str) -> Mode:
    """The mode of a well-formed key; raises InvalidApiKey for one that cannot be ours."""
    match = _KEY.fullmatch(text)
    if match is None:
        raise InvalidApiKey("This is not a Phasegate API key: those begin with rk_live_ or rk_test_.")
    if _checksum(match[2]) != match[3]:
        raise InvalidApiKey(
            "The API key is mistyped: its checksum does not fit.", remedy="Copy the whole key again."
        )
    return "live" if match[1] == "live" else "test"


def secret_hash(secret: bytes, text: str) -> str:
    """What is stored and looked up instead of a key or token: HMAC-SHA256, hex."""
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def shown_prefix(text: str) -> str:
    """What may be shown of a key for ever: `rk_live_ab12`."""
    return text[:12]


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 36)
        digits = _BASE36[digit] + digits
    return digits


def tenant_json(tenant: Tenant) -> dict[str, Any]:
    """The shape that clients see."""
    return {
        "id": tenant.id,
        "name": tenant.name,
        "tz": tenant.tz,
        "state": tenant.state,
        "attributes": dict(tenant.attributes),
        "vendors": None if tenant.vendors is None else list(tenant.vendors),
        "retired_models": tenant.retired_models,
        "thinking_budgets": tenant.thinking_budgets,
    }


def key_json(key: Key) -> dict[str, Any]:
    """The shape that clients, logs and the audit log see: neither the secret nor its hash."""
    return {
        "id": key.id,
        "tenant": key.tenant_id,
        "name": key.name,
        "mode": key.mode,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "revoked_at": rfc3339(key.revoked_at),
    }
