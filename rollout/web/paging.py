"""Lists: `{"data": [...], "next_cursor": ...}` with `?cursor=&limit=`. A cursor is the last id seen; cursors, never offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import Field

from rollout.web.operation import Shape

T = TypeVar("T")


class PageQuery(Shape):
    cursor: str | None = Field(None, max_length=200)
    limit: int = Field(50, ge=1, le=500)


def walk(page: Callable[[str | None], Sequence[T]], cursor_of: Callable[[T], str]) -> Iterator[T]:
    """All of a list, page by page; `page` is given the cursor to go on from. Between two of them others may write."""
    cursor: str | None = None
    while rows := page(cursor):
        yield from rows
        cursor = cursor_of(rows[-1])


def listing(
    rows: Sequence[T], limit: int, cursor_of: Callable[[T], object], show: Callable[[T], Any]
) -> dict[str, Any]:
    """`rows` holds up to `limit + 1` items: one more than asked tells that there is a next page."""
    shown = rows[:limit]
    more = len(rows) > limit
    return {"data": [show(row) for row in shown], "next_cursor": str(cursor_of(shown[-1])) if more else None}
