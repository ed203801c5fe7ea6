"""What Unleash's SDKs ask for, and what they are given: client-features documents, and the hydrations of deltas and streams.

Shapes as Unleash's server answers them, proven by the SDKs that take them. Whatever a document holds beside what is known here is handed
on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from rollout.core.flag_tokens import ALL_PROJECTS
from rollout.errors import InvalidRequest

Spec = tuple[int, int, int]
Document = Mapping[str, Any]

KNOWS_SEGMENTS: Spec = (4, 2, 0)
"""From this version of the client specification on an SDK resolves segments by itself."""

KNOWS_DELTAS: Spec = (5, 2, 0)

_SPEC = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:[-+][0-9A-Za-z.+-]{1,100})?")
_NEVER = {"contextName": "userId", "operator": "IN", "values": []}
"""Stands for a segment that is not there: as in the engine, nobody is in it."""


def parse_spec(text: str | None) -> Spec:
    """The version in `Unleash-Client-Spec`; 0.0.0 for who sends none. Raises InvalidRequest."""
    if text is None:
        return 0, 0, 0
    found = _SPEC.fullmatch(text.strip())
    if found is None:
        raise InvalidRequest(
            "Unleash-Client-Spec is a version such as 5.2.0.",
            param="Unleash-Client-Spec",
            remedy="Send the version of the client specification that your SDK implements, or leave it out.",
        )
    return int(found[1]), int(found[2]), int(found[3])


@dataclass(frozen=True)
class Query:
    """Which flags are wanted, all that hold. `projects`: ALL_PROJECTS, or names (none: no flag); `tags` as `type:value`.

    `inline`: with the segments' constraints in the strategies, in place of segments by id.
    """

    environment: str
    projects: tuple[str, ...] = ALL_PROJECTS
    prefix: str = ""
    tags: tuple[str, ...] = ()
    inline: bool = False

    @property
    def wants_all(self) -> bool:
        return self.projects == ALL_PROJECTS and not self.prefix and not self.tags

    def wants(self, feature: Mapping[str, Any]) -> bool:
        return (
            (self.projects == ALL_PROJECTS or feature.get("project", "default") in self.projects)
            and feature["name"].startswith(self.prefix)
            and set(self.tags) <= set(_tags(feature))
        )

    def as_json(self) -> dict[str, Any]:
        """As documents tell it."""
        filters = {
            "project": [] if self.projects == ALL_PROJECTS else list(self.projects),
            "namePrefix": self.prefix,
            "tag": list(self.tags),
        }
        narrowed = self.projects != ALL_PROJECTS
        return {
            "environment": self.environment,
            "inlineSegmentConstraints": self.inline,
            **{name: value for name, value in filters.items() if value or (name == "project" and narrowed)},
        }

    def hash(self) -> str:
        """8 hex digits that tell this query from others."""
        return hashlib.sha256(orjson.dumps(self.as_json(), option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]


def within(reach: tuple[str, ...], asked: Collection[str]) -> tuple[str, ...]:
    """The projects that a caller gets who may have `reach` and asks for some; who asks for none gets all that it may have."""
    if not asked:
        return reach
    return tuple(sorted({name for name in asked if reach == ALL_PROJECTS or name in reach}))


def client_features(document: Document, query: Query, revision: int) -> dict[str, Any]:
    """The answer of `/api/client/features`."""
    answer = {
        **document,
        "features": features(document, query),
        "segments": segments(document, query),
        "query": query.as_json(),
        "meta": {"revisionId": revision, "etag": etag(query, revision), "queryHash": query.hash()},
    }
    if query.inline:
        del answer["segments"]
    return answer


def hydration(document: Document, query: Query, revision: int) -> dict[str, Any]:
    """The one event of our deltas and streams: everything anew. Replays are where upstream's bugs are (unleash #11861, #11767)."""
    event = {
        "type": "hydration",
        "eventId": revision,
        "features": features(document, query),
        "segments": segments(document, query),
    }
    return {"events": [event]}


def etag(query: Query, revision: int) -> str:
    return f'"{query.hash()}:{revision}:v1"'


def features(document: Document, query: Query) -> list[Any]:
    """The flags that are wanted, as they stand in the document or, if asked so, with their segments in place."""
    wanted = [feature for feature in document["features"] if query.wants(feature)]
    if not query.inline:
        return wanted
    by_id = {segment.get("id"): segment.get("constraints", []) for segment in document.get("segments", [])}
    return [with_segments(feature, by_id) for feature in wanted]


def segments(document: Document, query: Query) -> list[Any]:
    """All, or those that the wanted flags use."""
    found: list[Any] = document.get("segments", [])
    if query.wants_all:
        return found
    used = {
        number
        for feature in document["features"]
        if query.wants(feature)
        for strategy in feature.get("strategies") or ()
        for number in strategy.get("segments") or ()
    }
    return [segment for segment in found if segment.get("id") in used]


def with_segments(feature: Mapping[str, Any], by_id: Mapping[Any, Iterable[Any]]) -> dict[str, Any]:
    """The flag with the constraints of its segments in its strategies; `by_id` are those of each segment."""
    strategies = [_inlined(strategy, by_id) for strategy in feature.get("strategies") or ()]
    return {**feature, "strategies": strategies}


def _inlined(strategy: Mapping[str, Any], by_id: Mapping[Any, Iterable[Any]]) -> Mapping[str, Any]:
    if not strategy.get("segments"):
        return strategy
    rest = {name: value for name, value in strategy.items() if name != "segments"}
    added = [constraint for number in strategy["segments"] for constraint in by_id.get(number, [_NEVER])]
    return {**rest, "constraints": [*(strategy.get("constraints") or ()), *added]}


def _tags(feature: Mapping[str, Any]) -> list[str]:
    tags = feature.get("tags")
    found = (tag for tag in (tags if isinstance(tags, list) else ()) if isinstance(tag, Mapping))
    return [f"{tag.get('type')}:{tag.get('value')}" for tag in found]
