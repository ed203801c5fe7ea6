"""Lists as files to take away, sent while they are read: the memory for a long one is that of a short one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from flask import Response, request

from rollout.core.exports import Format, Row, lines
from rollout.web.operation import Shape

LINES_A_CHUNK = 500
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


class ExportQuery(Shape):
    """`format`: json or csv; without it, what Accept prefers."""

    format: Format | None = None

    def wanted_format(self) -> Format:
        if self.format is not None:
            return self.format
        prefers = request.accept_mimetypes.best_match(["application/json", "text/csv"])
        return "csv" if prefers == "text/csv" else "json"


def export(format_: Format, name: str, columns: Sequence[str], rows: Iterable[Row]) -> Response:
    """`rows` (JSON values by column) as the file `name.csv` or `name.json`.

    Failure behaviour: what fails before the first lines are there is an ordinary error; after them the connection breaks off,
    so that half a list is not taken for a whole one.
    """
    chunks = _chunks(lines(format_, columns, rows))
    first = next(chunks)
    response = Response(itertools.chain([first], chunks), content_type=MEDIA_TYPES[format_])
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{format_}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response


def _chunks(parts: Iterator[str]) -> Iterator[str]:
    while chunk := "".join(itertools.islice(parts, LINES_A_CHUNK)):
        yield chunk
