"""Sessions at the console: how long they live, and how often one may fail to begin one.

A session's secret and a sign-in link's are 256 random bits; only their HMAC is kept.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from rollout.core.users import User

SECRET_BYTES = 32
IDLE_SECONDS = 12 * 3600
LIFE_SECONDS = 7 * 86_400
LINK_SECONDS = 86_400
SEEN_SECONDS = 300
"""How exactly it is known when a session was last used: it is written down that seldom."""

FAILURE_SECONDS = 900
FAILURES_AN_EMAIL = 5
FAILURES_AN_ADDRESS = 20


@dataclass(frozen=True)
class Session:
    """Times in UTC epoch seconds; `user` as they are now, not as they were when they signed in."""

    hash: str
    user: User
    created_at: int
    seen_at: int
    expires_at: int

    def is_open(self, now: float) -> bool:
        return now < self.expires_at and now < self.seen_at + IDLE_SECONDS and self.user.disabled_at is None


def sign_in_url(base: str, secret: str) -> str:
    """Where a sign-in link leads; `base` is the address of the service."""
    return f"{base}/admin/sign-in/link?secret={secret}"


def network_of(address: str) -> str:
    """Whose failures an address counts as: an IPv6 host has a /64 of addresses to try from."""
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))
