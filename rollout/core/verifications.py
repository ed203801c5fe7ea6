"""How the books were found when they were added up, and when that is due again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rollout.core.times import rfc3339

DAY, HOUR = 86_400, 3600
NIGHT = 3 * HOUR
"""03:00 UTC: the books are added up then, or as soon as somebody is there to do it."""


@dataclass(frozen=True)
class Verification:
    """`at` in UTC epoch seconds; it took `seconds`. `wrong`: a sentence for each difference, [] when the books are right."""

    id: str
    at: int
    seconds: int
    wrong: tuple[str, ...]
    actor: str

    @property
    def is_clean(self) -> bool:
        return not self.wrong


def is_due(last_at: int | None, now: int) -> bool:
    """Whether the books were not added up since the last 03:00 UTC."""
    last_night = now - (now - NIGHT) % DAY
    return last_at is None or last_at < last_night


def verification_json(one: Verification) -> dict[str, Any]:
    return {
        "id": one.id,
        "at": rfc3339(one.at),
        "seconds": one.seconds,
        "clean": one.is_clean,
        "differences": list(one.wrong),
        "actor": one.actor,
    }
