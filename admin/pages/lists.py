"""Lists: a page on the screen, the whole to take away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flask import Response

from rollout.core.exports import Row
from rollout.web.exports import export
from rollout.web.paging import listing, walk

from .queries import ListView
from .room import room

T = TypeVar("T")

EXPORT_PAGE = 500


def show_list(
    template: str,
    query: ListView,
    page: Callable[[str | None, int], Sequence[T]],
    cursor_of: Callable[[T], str],
    *,
    file: str,
    columns: Sequence[str],
    as_row: Callable[[T], Row],
    **values: Any,
) -> Response:
    """The room `template` with a page of the list as `data`; where the address says `format`, all of the list as a file.

    `page(cursor, limit)` reads; it is asked again and again after the view has returned, so it may not need the request.
    """
    if query.format is not None:
        whole = walk(lambda cursor: page(cursor, EXPORT_PAGE), cursor_of)
        return export(query.format, file, columns, map(as_row, whole))
    shown = listing(page(query.cursor, query.limit + 1), query.limit, cursor_of, lambda item: item)
    return room(template, **shown, query=query, **values)
