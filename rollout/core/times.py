"""Times as clients see them."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(seconds: float | None) -> str | None:
    """UTC epoch seconds as RFC 3339: `1760000000` -> `2025-10-09T08:53:20Z`; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
