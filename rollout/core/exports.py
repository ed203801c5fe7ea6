"""Lists as files: CSV for spreadsheets, JSON for programs; line by line, so that a long one needs no memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

Format = Literal["csv", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)

Row = Mapping[str, Any]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def lines(format_: Format, columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """The file's lines with their ends, from rows of JSON values.

    JSON is one array with an object on each line. In CSV a list is its items between spaces, nothing is empty, and a text
    that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, "CSV Injection").
    """
    return _csv(columns, rows) if format_ == "csv" else _json(rows)


def _csv(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    writer = csv.writer(_Returned())
    yield writer.writerow(columns)
    for row in rows:
        yield writer.writerow([_cell(row[name]) for name in columns])


def _json(rows: Iterable[Row]) -> Iterator[str]:
    before = "[\n"
    for row in rows:
        yield before + json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = " ".join(map(str, value))
    elif isinstance(value, (bool, Mapping)):
        value = json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


class _Returned:
    """What `csv.writer` writes to: the line comes back from `writerow`."""

    def write(self, line: str) -> str:
        return line
