"""Ids: a prefix that says what it is, then 26 characters that sort by time of making (Crockford base32 of 48 bits ms + 80 random bits)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

NewId = Callable[[str], str]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """`new_id("hold")` -> `hold_01k...`."""
    return _id(prefix, time.time_ns() // 1_000_000, secrets.randbits(80))


def ids_by(clock: Callable[[], float]) -> NewId:
    """Ids whose time of making is `clock`'s, in UTC epoch seconds."""
    return lambda prefix: _id(prefix, int(clock() * 1000), secrets.randbits(80))


def first_id(prefix: str, at: int) -> str:
    """The id below all that are made from `at` on, in UTC epoch seconds."""
    return _id(prefix, at * 1000, 0)


def _id(prefix: str, ms: int, noise: int) -> str:
    number = ms << 80 | noise
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
