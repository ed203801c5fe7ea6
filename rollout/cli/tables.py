"""Tables for people: aligned by the columns that a terminal shows; cut only to fit one; what is not there is `-`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import orjson

NOTHING = "-"
GAP = "  "
SHORT = 24
"""Nothing is cut below so many columns; a time has 23."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)Z")
_INVISIBLE = ("Mn", "Me", "Cf")
_CONTROL = ("Cc", "Zl", "Zp")


def pairs(value: Mapping[str, Any]) -> Iterator[str]:
    """One thing, a line for each member; the members of its members by their paths, such as `acks.expected`."""
    cells = dict(_members(value))
    widest = max(map(len, cells), default=0)
    for path, cell in cells.items():
        yield f"{path:<{widest}}{GAP}{cell}"


def grid(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], room: int | None) -> Iterator[str]:
    """The head, then a line for each row. `room`: the columns of the terminal; None: nothing is cut."""
    table = [[_cell(row[name]) for name in columns] for row in rows]
    table.insert(0, [name.upper() for name in columns])
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    if room is not None:
        _narrow(widths, [_is_prose(row[name] for row in rows) for name in columns], room)
    numbers = [all(_is_number(row[name]) for row in rows) for name in columns]
    for line in table:
        cells = (_fill(*cell) for cell in zip(line, widths, numbers, strict=True))
        yield GAP.join(cells).rstrip()


def _members(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, member in value.items():
        if isinstance(member, Mapping) and member:
            yield from _members(member, f"{before}{name}.")
        else:
            yield before + name, _cell(member)


def _cell(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return _line(_TIME.sub(r"\1 \2 UTC", value) if _TIME.fullmatch(value) else value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return _line(", ".join(value))
    return orjson.dumps(value).decode()


def _line(text: str) -> str:
    """Without line ends and what else a terminal would obey: people from outside write comments."""
    return "".join(" " if unicodedata.category(char) in _CONTROL else char for char in text)


def _narrow(widths: list[int], prose: Sequence[bool], room: int) -> None:
    """Take from the widest prose until the line fits, or until no prose is longer than SHORT."""
    gaps = len(GAP) * (len(widths) - 1)
    while sum(widths) + gaps > room:
        widest = max(
            (index for index, is_prose in enumerate(prose) if is_prose), key=widths.__getitem__, default=None
        )
        if widest is None or widths[widest] <= SHORT:
            return
        widths[widest] -= 1


def _is_prose(values: Iterable[Any]) -> bool:
    """Words, or something nested. Ids and keys are copied, so they are never cut."""
    return any(
        " " in value if isinstance(value, str) else isinstance(value, (list, Mapping)) for value in values
    )


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _fill(text: str, width: int, is_number: bool) -> str:
    text = _cut(text, width)
    blank = " " * (width - _width(text))
    return blank + text if is_number else text + blank


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    ends = accumulate(map(_columns, text))
    return text[: sum(end < width for end in ends)] + "…"


def _width(text: str) -> int:
    """Columns on a terminal: Chinese, Japanese and Korean signs and most emoji take two, accents by themselves none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.category(char) in _INVISIBLE:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
