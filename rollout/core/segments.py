"""Segments: constraints that flags share, by number."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from rollout.core.constraints import Fault, Findings, Surroundings, examine_constraints, examine_members
from rollout.core.times import rfc3339

MAX_ID = 2**31 - 1
MAX_NAME = 100
MAX_SHOWN_NAME = 200

_MEMBERS = ("id", "name", "description", "constraints")


@dataclass(frozen=True)
class Segment:
    """`document` is a segment in Unleash's format; times in UTC epoch seconds."""

    id: int
    name: str
    document: Mapping[str, Any]
    created_at: int
    updated_at: int
    version: int = 1


def segment_json(segment: Segment) -> dict[str, Any]:
    """The shape that operators and the audit log see."""
    return {
        "id": segment.id,
        "name": segment.name,
        "document": segment.document,
        "version": segment.version,
        "created_at": rfc3339(segment.created_at),
        "updated_at": rfc3339(segment.updated_at),
    }


def examine_segment(document: Mapping[str, Any], around: Surroundings) -> Findings:
    """All that is wrong with a segment, and what asks for a second look."""
    yield from examine_members(document, _MEMBERS, "")
    name = document.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
        yield Fault(f"A segment needs a name of at most {MAX_NAME} characters.", "name")
    if not isinstance(document.get("description", ""), str | None):
        yield Fault("This is a text.", "description")
    constraints = document.get("constraints")
    if constraints == []:
        yield Fault("A segment without constraints is everybody: give it one.", "constraints")
    yield from examine_constraints(constraints, "constraints", around, max_values=None)


def name_of(document: Mapping[str, Any]) -> str:
    """As lists show it; of an imported one, which may have none, too."""
    name = document.get("name")
    return name[:MAX_SHOWN_NAME] if isinstance(name, str) else ""


def new_number(first: int, taken: Collection[int]) -> int:
    """The lowest number from `first` that is free. `taken` are those of segments and those that flags name, whether such a segment is
    there or not: nobody may come into it by chance."""
    return next(number for number in count(first) if number not in taken)


def segments_of(document: Mapping[str, Any]) -> frozenset[int]:
    """The numbers of the segments that a flag uses; of a flag as it was imported, too."""
    return frozenset(
        number
        for strategy in _objects(document.get("strategies"))
        for number in _list(strategy.get("segments"))
        if isinstance(number, int)
    )


def parents_of(document: Mapping[str, Any]) -> list[str]:
    """The names of the flags that a flag depends on, in its order; of a flag as it was imported, too."""
    return [str(one.get("feature")) for one in _objects(document.get("dependencies"))]


def values_of(documents: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """What the constraints of these flags and segments compare each context field with, exactly."""
    found: dict[str, set[str]] = {}
    for document in documents:
        holders = [document, *_objects(document.get("strategies"))]
        for one in (one for holder in holders for one in _objects(holder.get("constraints"))):
            if one.get("operator") in ("IN", "NOT_IN"):
                values = found.setdefault(str(one.get("contextName")), set())
                values.update(value for value in _list(one.get("values")) if isinstance(value, str))
    return found


def _objects(data: Any) -> Iterable[Mapping[str, Any]]:
    return (one for one in _list(data) if isinstance(one, Mapping))


def _list(data: Any) -> list[Any]:
    return data if isinstance(data, list) else []
