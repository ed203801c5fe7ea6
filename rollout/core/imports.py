"""What an import would change, and what there is to say about it: pure, so that a look at it and the change itself are the same.

Nothing is refused here that can be kept; what a person could not have written is told as a notice. Segments are shared by all
environments, so none goes because a document lacks it, and a number that means another segment here becomes a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from rollout.core.authoring import completed, examine_flag
from rollout.core.constraints import Surroundings
from rollout.core.documents import Document, Reading
from rollout.core.flags import NAME, Flag
from rollout.core.segments import Segment, examine_segment, name_of, new_number, parents_of, segments_of
from rollout.errors import InvalidRequest

Mode = Literal["merge", "replace"]

MAX_NOTICES = 1_000


@dataclass(frozen=True)
class Standing:
    """What there is before: the environment's flags and those of all others, archived ones too, segments, and members beside them.

    `gates`: names of the plans' flags, wherever; `revision`: new segments are numbered from it.
    """

    flags: Mapping[str, Flag]
    others: Sequence[Flag]
    segments: Mapping[int, Segment]
    extras: Document
    gates: Collection[str]
    revision: int


@dataclass(frozen=True)
class Notice:
    """Something to know of an import; `flag`: the one that it is about, in which `param` stands, or None: the document."""

    message: str
    param: str
    flag: str | None = None


@dataclass(frozen=True)
class Import:
    """What is written: (before, document) of flags and segments, in their order. `document`: the environment's afterwards, but gates."""

    flags: Sequence[tuple[Flag | None, Document]]
    archived: Sequence[Flag]
    segments: Sequence[tuple[Segment | None, Document]]
    removed: Sequence[Segment]
    unchanged: int
    document: Document
    extras: Document
    notices: list[Notice]

    def as_json(self) -> dict[str, Any]:
        """The shape that operators see."""
        warnings = [vars(notice) for notice in self.notices]
        return {"changes": self.changes(), "unchanged": self.unchanged, "warnings": warnings}

    def changes(self) -> list[dict[str, str]]:
        """Each as `{"kind", "name", "change"}`; a segment's name is its number."""
        written = [_change("flag", str(document["name"]), _word(before)) for before, document in self.flags]
        segments = [
            _change("segment", str(document["id"]), "changed" if before else "added")
            for before, document in self.segments
        ]
        archived = [_change("flag", flag.name, "archived") for flag in self.archived]
        removed = [_change("segment", str(segment.id), "removed") for segment in self.removed]
        return [*written, *archived, *segments, *removed]


def plan_import(
    reading: Reading, standing: Standing, mode: Mode, now: int, compiles: Callable[[str], bool]
) -> Import:
    """Raises InvalidRequest when it cannot be done in this mode. `now` and `compiles` as in Surroundings."""
    if mode == "replace" and not reading.whole:
        raise InvalidRequest(
            "These events say only what changed, so they cannot replace what there is.",
            param="mode",
            remedy="Merge them, or send events that begin with a hydration.",
        )
    numbers = _numbers(reading, standing)
    incoming = {
        name: _renumbered(feature, numbers)
        for name, feature in reading.features.items()
        if name not in standing.gates
    }
    live = {name: flag for name, flag in standing.flags.items() if flag.archived_at is None}
    archived = [
        flag
        for name, flag in live.items()
        if name not in incoming and (mode == "replace" or name in reading.gone)
    ]
    going = {flag.name for flag in archived}
    after = {name: flag.document for name, flag in live.items() if name not in going} | incoming
    written = [
        (standing.flags.get(name), feature)
        for name, feature in incoming.items()
        if name not in live or live[name].document != feature
    ]
    shared = {
        number: {**segment, "id": number}
        for number, segment in ((numbers.get(was, was), one) for was, one in reading.segments.items())
    }
    users = _users(standing, after)
    removed = [
        one for number in reading.gone_segments - users.keys() if (one := standing.segments.get(number))
    ]
    kept = {number: one.document for number, one in standing.segments.items() if one not in removed} | shared
    segments = [
        (before, segment)
        for before, segment in ((standing.segments.get(number), one) for number, one in shared.items())
        if before is None or before.document != segment
    ]
    extras = {**(standing.extras if mode == "merge" else {}), **reading.extras}
    notices = [
        *_of_document(reading, standing, numbers, users),
        *_of_others(incoming, after, going, [before.id for before, _ in segments if before], users),
    ]
    roots: dict[str, list[str]] = {name: [] for name in standing.gates}
    parents = roots | {name: parents_of(one) for name, one in after.items()}
    around = Surroundings(now, compiles, kept.keys(), parents)
    examined = _examined(incoming, shared, around)
    return Import(
        written,
        archived,
        segments,
        removed,
        len(incoming) - len(written),
        {
            "version": 2,
            **extras,
            "features": [after[name] for name in sorted(after)],
            "segments": [kept[number] for number in sorted(kept)],
        },
        extras,
        _bounded([*notices, *islice(examined, MAX_NOTICES + 1)]),
    )


def _numbers(reading: Reading, standing: Standing) -> dict[int, int]:
    """Which segments of the document get which other number here."""
    ours = standing.segments
    by_name: dict[str, int] = {}
    for number in sorted(ours):
        by_name.setdefault(ours[number].name, number)
    named = set().union(*(segments_of(feature) for feature in reading.features.values()))
    taken = {*ours, *reading.segments, *named}
    for flag in [*standing.flags.values(), *standing.others]:
        taken |= segments_of(flag.document)
    found: dict[int, int] = {}

    def renew(number: int) -> None:
        found[number] = new_number(standing.revision, taken)
        taken.add(found[number])

    for number, segment in reading.segments.items():
        there, known = ours.get(number), by_name.get(name_of(segment))
        if there is None or there.name == name_of(segment):
            continue
        if known is not None and known not in {*reading.segments, *found.values()}:
            found[number] = known
        else:
            renew(number)
    for number, name in reading.segment_names.items():
        if name in by_name:
            found[number] = by_name[name]
        elif number in ours:
            renew(number)
    if reading.knows_segments:
        for number in sorted(named & ours.keys() - reading.segments.keys() - reading.segment_names.keys()):
            renew(number)
    return {number: new for number, new in found.items() if number != new}


def _renumbered(feature: Document, numbers: Mapping[int, int]) -> Document:
    if not segments_of(feature) & numbers.keys():
        return feature
    strategies = [
        {**one, "segments": [numbers.get(number, number) for number in one["segments"]]}
        if isinstance(one, Mapping) and isinstance(one.get("segments"), list)
        else one
        for one in feature["strategies"]
    ]
    return {**feature, "strategies": strategies}


def _users(standing: Standing, after: Mapping[str, Document]) -> dict[int, list[str]]:
    """By segment the flags that use it afterwards, archived ones too; those of other environments as environment/name."""
    found: dict[int, list[str]] = {}
    elsewhere = [(f"{one.environment}/{one.name}", one.document) for one in standing.others]
    here = {**{name: flag.document for name, flag in standing.flags.items()}, **after}
    for name, document in [*here.items(), *elsewhere]:
        for number in segments_of(document):
            found.setdefault(number, []).append(name)
    return found


def _of_document(
    reading: Reading, standing: Standing, numbers: Mapping[int, int], users: Mapping[int, list[str]]
) -> Iterator[Notice]:
    """What becomes of the document's parts."""
    yield from (Notice(doubt.message, doubt.param) for doubt in reading.doubts)
    for name in sorted(reading.features.keys() & standing.gates):
        yield Notice("It belongs to the plan of the feature, which decides on it: passed over.", "name", name)
    for number, new in numbers.items():
        yield Notice(f"Here {number} is another segment: this one becomes {new}.", f"segments.{number}")
    for number, name in reading.segment_names.items():
        if numbers.get(number, number) not in standing.segments:
            yield Notice(
                f"The document only names the segment {name!r}, and there is none here: nobody is in it.",
                f"segments.{number}",
            )
    for number in sorted(reading.gone_segments & standing.segments.keys() & users.keys()):
        yield Notice(f"It stays, for flags use it: {_some(users[number])}.", f"segments.{number}")


def _of_others(
    incoming: Mapping[str, Document],
    after: Mapping[str, Document],
    going: Collection[str],
    changed: Sequence[int],
    users: Mapping[int, list[str]],
) -> Iterator[Notice]:
    """What becomes of flags that the document does not name."""
    for number in changed:
        if beyond := [name for name in users.get(number, ()) if name not in incoming]:
            yield Notice(f"Flags beyond this import use it, too: {_some(beyond)}.", f"segments.{number}")
    for name in sorted(after.keys() - incoming.keys()):
        if lost := sorted(set(parents_of(after[name])).intersection(going)):
            yield Notice(
                f"It depends on flags that go, and will be off: {_some(lost)}.", "dependencies", name
            )


def _examined(
    incoming: Mapping[str, Document], shared: Mapping[int, Document], around: Surroundings
) -> Iterator[Notice]:
    """What a person would not be let write, flag by flag."""
    for number, segment in shared.items():
        for found in examine_segment(segment, around):
            yield Notice(found.message, f"segments.{number}.{found.param}")
    for name, feature in incoming.items():
        if not NAME.fullmatch(name):
            yield Notice("By OFREP nobody can ask for a flag of this name.", "name", name)
        for found in examine_flag(completed(feature), around):
            yield Notice(found.message, found.param, name)


def _bounded(notices: list[Notice]) -> list[Notice]:
    if len(notices) <= MAX_NOTICES:
        return notices
    return [*notices[:MAX_NOTICES], Notice("There is more to say than is shown.", "document")]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _word(before: Flag | None) -> str:
    if before is None:
        return "added"
    return "changed" if before.archived_at is None else "revived"


def _change(kind: str, name: str, change: str) -> dict[str, str]:
    return {"kind": kind, "name": name, "change": change}
