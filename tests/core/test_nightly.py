"""When the books are due to be added up."""

from __future__ import annotations

from datetime import datetime

import pytest

from rollout.core.verifications import is_due


def at(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}:00Z").timestamp())


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, "2026-11-22T12:00", True),
        ("2026-11-22T03:00", "2026-11-22T03:10", False),
        ("2026-11-22T03:00", "2026-11-23T02:59", False),
        ("2026-11-22T03:00", "2026-11-23T03:00", True),
        ("2026-11-22T02:59", "2026-11-22T03:00", True),
        ("2026-11-22T23:00", "2026-11-23T02:00", False),
        ("2026-11-20T12:00", "2026-11-22T02:00", True),
        ("2026-11-22T03:30", "2026-11-22T03:10", False),
    ],
    ids=[
        "never",
        "just now",
        "before the next",
        "the next",
        "at three",
        "by hand",
        "missed",
        "clock set back",
    ],
)
def test_the_books_are_added_up_at_three_utc_or_as_soon_as_somebody_is_there(
    last: str | None, now: str, due: bool
) -> None:
    assert is_due(last and at(last), at(now)) is due
