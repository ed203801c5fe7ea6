"""Times as clients see them."""

from __future__ import annotations

from datetime import UTC, datetime

from rollout.errors import InvalidRequest


def rfc3339(seconds: float | None) -> str | None:
    """UTC epoch seconds as RFC 3339: `1760000000` -> `2025-10-09T08:53:20Z`; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(text: str) -> int:
    """The UTC epoch seconds of what `rfc3339` wrote."""
    return int(datetime.fromisoformat(text).timestamp())


def check_ahead(moment: int | None, now: int, param: str) -> None:
    """Raises InvalidRequest that names `param` unless `moment` (None: never) lies after `now`."""
    if moment is not None and moment <= now:
        raise InvalidRequest(
            f"{param} must lie in the future; {rfc3339(moment)} is past.",
            param=param,
            remedy=f"Send a later {param}.",
        )
