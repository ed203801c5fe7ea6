"""Documents of flags as Unleash writes them, read into one form: client features, deltas, and exports of `features-batch/export`.

Faithful: what is not known is kept where it stands. Only what nobody could keep or tell apart is refused, with where it stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollout.core.constraints import Doubt
from rollout.errors import InvalidRequest

Document = Mapping[str, Any]

MAX_BYTES = 50_000_000
MAX_DEPTH = 100
MAX_NAME = 500
VERSION = 2
"""The newest version of client features that the engine is known to read."""

_CONTENT = ("features", "segments")
_ENVELOPE = ("version", "query", "meta")
_EXPORTED = (*_CONTENT, "featureStrategies", "featureEnvironments", "featureTags", "dependencies", "links")
_BESIDE = ("version", "contextFields", "tagTypes")


@dataclass
class Reading:
    """What a document says: flags by name and segments by number, in its order.

    `whole`: it says all that there is, so what it lacks is not there; else it speaks of ours. `segment_names`: segments that it only
    names. `gone`, `gone_segments`: what its events removed. `extras`: members beside flags and segments.
    """

    features: dict[str, Document] = field(default_factory=dict)
    segments: dict[int, Document] = field(default_factory=dict)
    segment_names: dict[int, str] = field(default_factory=dict)
    whole: bool = True
    knows_segments: bool = False
    gone: set[str] = field(default_factory=set)
    gone_segments: set[int] = field(default_factory=set)
    extras: dict[str, Any] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)

    def add_all(self, document: Document, at: str = "") -> None:
        """Its `features` and `segments`, none of which may be there twice."""
        for feature, here in _objects(document, "features", at):
            if (name := _name(feature, "name", here)) in self.features:
                raise InvalidRequest(f"Two flags have the name {name[:100]!r}.", param=f"{here}.name")
            self.features[name] = feature
        for segment, here in _objects(document, "segments", at):
            if (number := _number(segment, "id", here)) in {*self.segments, *self.segment_names}:
                raise InvalidRequest(f"Two segments have the number {number}.", param=f"{here}.id")
            self.put_segment(number, segment, here)
        self.knows_segments = "segments" in document

    def put_segment(self, number: int, segment: Document, at: str) -> None:
        """The engine takes no segment without constraints: Unleash's exports only name it."""
        if "constraints" in segment:
            self.segments[number] = segment
        else:
            self.segment_names[number] = _name(segment, "name", at)


def read_document(document: Any) -> Reading:
    """Raises InvalidRequest."""
    _check_keepable(document)
    if not isinstance(document, Mapping):
        raise InvalidRequest("A document is an object.", param="document")
    if "events" in document:
        return _delta(document)
    if "featureStrategies" in document:
        return _export(document)
    if "features" in document:
        return _client_features(document)
    raise InvalidRequest(
        "This is no document of flags: it has neither `features` nor `events`.",
        param="document",
        remedy="Send what /api/client/features, /api/client/delta or features-batch/export of Unleash answered.",
    )


def _client_features(document: Document) -> Reading:
    reading = Reading()
    reading.add_all(document)
    _keep_extras(reading, document, "", _CONTENT)
    return reading


def _delta(document: Document) -> Reading:
    """Events in their order; what came before a hydration is void."""
    reading = Reading(whole=False)
    for event, at in _objects(document, "events", ""):
        match event.get("type"):
            case "hydration":
                reading = Reading(doubts=reading.doubts)
                reading.add_all(event, f"{at}.")
                _keep_extras(reading, event, f"{at}.", (*_CONTENT, "type", "eventId"))
            case "feature-updated":
                feature = _object(event.get("feature"), f"{at}.feature")
                name = _name(feature, "name", f"{at}.feature")
                reading.features[name] = feature
                reading.gone.discard(name)
            case "feature-removed":
                name = _name(event, "featureName", at)
                reading.features.pop(name, None)
                reading.gone.add(name)
            case "segment-updated":
                segment = _object(event.get("segment"), f"{at}.segment")
                number = _number(segment, "id", f"{at}.segment")
                reading.put_segment(number, segment, f"{at}.segment")
                reading.gone_segments.discard(number)
            case "segment-removed":
                number = _number(event, "segmentId", at)
                reading.segments.pop(number, None)
                reading.gone_segments.add(number)
            case _:
                reading.doubts.append(Doubt("Nobody knows such an event: it was passed over.", f"{at}.type"))
    _keep_extras(reading, document, "", ("events",))
    return reading


def _export(document: Document) -> Reading:
    """One environment of Unleash's own export, whose parts lie beside each other, as the flags that Unleash would serve."""
    reading = Reading()
    reading.add_all(document)
    strategies = _by_flag(reading, document, "featureStrategies", "featureName")
    environments = _by_flag(reading, document, "featureEnvironments", "featureName")
    tags = _by_flag(reading, document, "featureTags", "featureName")
    parents = _by_flag(reading, document, "dependencies", "feature")
    links = _by_flag(reading, document, "links", "feature")
    for name, feature in reading.features.items():
        if len(environments[name]) > 1:
            raise InvalidRequest(
                f"The flag {name[:100]!r} is there in more than one environment.",
                param="featureEnvironments",
                remedy="Export one environment at a time.",
            )
        reading.features[name] = {
            **feature,
            **_environment(environments[name], feature),
            **_strategies(strategies[name]),
            **_joined("tags", [{"type": tag.pop("tagType", None), "value": tag.pop("tagValue", None), **tag} for tag in tags[name]]),
            **_joined("dependencies", [one for group in parents[name] for one, _ in _objects(group, "dependencies", "dependencies.")]),
            **_joined("links", [one for group in links[name] for one, _ in _objects(group, "links", "links.")]),
        }  # fmt: skip
    _keep_extras(reading, document, "", _EXPORTED, _BESIDE)
    return reading


def _environment(found: list[dict[str, Any]], feature: Document) -> dict[str, Any]:
    """Whether the flag is on, and its variants; the rest of what was said of its environment is kept beside."""
    said = found[0] if found else {}
    on = said.pop("enabled", False) is True and feature.get("archived") is not True
    variants = said.pop("variants", None) or feature.get("variants") or []
    said.pop("name", None)
    return {"enabled": on, "variants": variants, **({"featureEnvironment": said} if said else {})}


def _strategies(found: list[dict[str, Any]]) -> dict[str, Any]:
    """In their order. One that is switched off is no strategy for the engine, which would take it: it is kept beside."""
    ordered = sorted(found, key=_order)
    off = [one for one in ordered if one.get("disabled") is True]
    on = [one for one in ordered if one.get("disabled") is not True]
    return {"strategies": on, **_joined("disabledStrategies", off)}


def _order(strategy: Document) -> float:
    order = strategy.get("sortOrder")
    return order if isinstance(order, int | float) else 9999


def _joined(member: str, found: list[Any]) -> dict[str, Any]:
    return {member: found} if found else {}


def _by_flag(reading: Reading, document: Document, part: str, key: str) -> dict[str, list[dict[str, Any]]]:
    """The objects of a part by the flag that they belong to, without its name."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one, at in _objects(document, part, ""):
        name = _name(one, key, at)
        if name not in reading.features:
            raise InvalidRequest(f"There is no flag {name[:100]!r} among `features`.", param=f"{at}.{key}")
        found[name].append({member: value for member, value in one.items() if member != key})
    return found


def _keep_extras(
    reading: Reading, document: Document, at: str, read: tuple[str, ...], known: tuple[str, ...] = _ENVELOPE
) -> None:
    """Members beside those that were `read`; of those that are not `known`, a word."""
    version = document.get("version", VERSION)
    if isinstance(version, int) and version > VERSION:
        newer = f"Version {version} is newer than {VERSION}: it may say what nobody here knows."
        reading.doubts.append(Doubt(newer, f"{at}version"))
    for name, value in document.items():
        if name not in read:
            reading.extras[name] = value
            if name not in known:
                reading.doubts.append(Doubt("No engine reads this member; it is kept.", f"{at}{name}"))


def _objects(document: Document, member: str, at: str) -> Iterator[tuple[Document, str]]:
    """The objects of a list, each with where it stands."""
    found = document.get(member, [])
    if not isinstance(found, list):
        raise InvalidRequest("This is a list.", param=f"{at}{member}")
    places = (f"{at}{member}.{index}" for index in range(len(found)))
    return ((_object(one, place), place) for one, place in zip(found, places, strict=True))


def _object(data: Any, at: str) -> Document:
    if not isinstance(data, Mapping):
        raise InvalidRequest("This is an object.", param=at)
    return data


def _name(data: Document, member: str, at: str) -> str:
    name = data.get(member)
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise InvalidRequest(f"A name is a text of 1 to {MAX_NAME} characters.", param=f"{at}.{member}")
    return name


def _number(data: Document, member: str, at: str) -> int:
    number = data.get(member)
    if type(number) is not int or not -(2**31) <= number < 2**31:
        raise InvalidRequest("The number of a segment is a whole number of 32 bits.", param=f"{at}.{member}")
    return number


def _check_keepable(document: Any) -> None:
    """PostgreSQL keeps no NUL, and nobody what is nested without end. A loop, because it may be deep."""
    waiting = [(document, "", 0)]
    while waiting:
        item, at, depth = waiting.pop()
        if isinstance(item, str) and "\x00" in item:
            raise InvalidRequest(
                "A text holds the character NUL, which cannot be kept.",
                param=at[1 : 1 + MAX_NAME] or "document",
            )
        if depth > MAX_DEPTH:
            raise InvalidRequest(f"This is nested more than {MAX_DEPTH} deep.", param=at[1 : 1 + MAX_NAME])
        if isinstance(item, Mapping):
            waiting += [(name, f"{at}.{name}", depth) for name in item if "\x00" in name]
            waiting += [(value, f"{at}.{name}", depth + 1) for name, value in item.items()]
        elif isinstance(item, list):
            waiting += [(value, f"{at}.{index}", depth + 1) for index, value in enumerate(item)]
