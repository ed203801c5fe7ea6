"""Ids: a prefix that says what it is, then 26 characters that sort by time of making (Crockford base32 of 48 bits ms + 80 random bits)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

NewId = Callable[[str], str]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """`new_id("hold")` -> `hold_01k...`."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
