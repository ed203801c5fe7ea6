"""What a flag answers to whom: the context that a caller sends, what each flag reads of it, and the answer as Unleash's frontends read it.

Unleash's own words: a context has named fields (`userId`, ...) and `properties`; all are texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from rollout.core.decisions import Decision
from rollout.core.plans import RESERVED_PROPERTIES
from rollout.errors import InvalidRequest

NAMED_FIELDS = ("userId", "sessionId", "remoteAddress", "appName", "currentTime", "environment")
"""What a context holds beside its properties."""

SURE = frozenset({"tenantId", "environment"})
"""What is the same for all callers of one tenant, beside its attributes."""

NEVER_SURE = frozenset({*NAMED_FIELDS, *RESERVED_PROPERTIES, "default", "random"}) - SURE
"""What differs between two callers of one tenant, or between two moments, whatever a tenant's attributes are called."""

PASSING = frozenset({"currentTime", "random"})
"""What differs between two moments for the same caller."""

_STICKY = {
    "userWithId": "userId",
    "gradualRolloutUserId": "userId",
    "gradualRolloutSessionId": "sessionId",
    "gradualRolloutRandom": "random",
    "remoteAddress": "remoteAddress",
}
"""Strategies of old that read one field."""


@dataclass(frozen=True)
class FlagTraits:
    """What a flag's document tells without being asked. `reads`: the context fields that its answer may hang on, those of its parents and
    segments too; `valued`: a variant carries a payload; `fractional`: one of those is a number that is not whole."""

    name: str
    project: str = "default"
    enabled: bool = True
    impression_data: bool = False
    reads: frozenset[str] = frozenset()
    valued: bool = False
    fractional: bool = False


@dataclass(frozen=True)
class FlagAnswer:
    """`variant` is what the engine drew: `{"name", "enabled", "payload"?: {"type", "value"}}`. A gate's answer is its `decision`,
    with `detail` in a partner's words."""

    flag: FlagTraits
    enabled: bool
    variant: Mapping[str, Any] = field(default_factory=lambda: NO_VARIANT)
    decision: Decision | None = None
    detail: str = ""

    @cached_property
    def toggle(self) -> orjson.Fragment:
        """An enabled flag as Unleash's frontend API tells it, which tells no others; written once."""
        names = [name for name in ("name", "enabled", "payload") if name in self.variant]
        drawn = {name: self.variant[name] for name in names}
        told = {
            "name": self.flag.name,
            "enabled": True,
            "variant": {**drawn, "feature_enabled": True, "featureEnabled": True},
            "impressionData": self.flag.impression_data,
        }
        return orjson.Fragment(orjson.dumps(told))


NO_VARIANT: Mapping[str, Any] = {"name": "disabled", "enabled": False}


def parse_context(said: Any) -> dict[str, Any]:
    """The context as engines take it, from a caller's JSON object.

    Members that are no named field are properties. What is no text, number or truth value cannot be aimed at, and is left out.
    Raises InvalidRequest.
    """
    if not isinstance(said, Mapping):
        raise InvalidRequest("A context is an object.", param="context")
    properties = said.get("properties") or {}
    if not isinstance(properties, Mapping):
        raise InvalidRequest("`properties` of a context is an object.", param="context.properties")
    named = {name: text for name in NAMED_FIELDS if (text := _text(said.get(name))) is not None}
    loose = {name: value for name, value in said.items() if name not in (*NAMED_FIELDS, "properties")}
    texts = {name: _text(value) for name, value in {**loose, **properties}.items()}
    return {**named, "properties": {name: text for name, text in texts.items() if text is not None}}


def as_tenant(context: Mapping[str, Any], ours: Mapping[str, str]) -> dict[str, Any]:
    """The context with our properties in place of those that the caller claims, and without a time of its own."""
    claimed = context["properties"].items()
    properties = {name: text for name, text in claimed if name not in RESERVED_PROPERTIES}
    named = {name: text for name, text in context.items() if name not in ("currentTime", "properties")}
    return {**named, "properties": {**properties, **ours}}


def flags_of(document: Mapping[str, Any]) -> dict[str, FlagTraits]:
    """The flags of a client-features document, in its order, by name."""
    segments = {
        segment.get("id"): _constrained(segment.get("constraints"))
        for segment in _objects(document, "segments")
    }
    features = {feature["name"]: feature for feature in document["features"]}
    own = {name: frozenset(_reads(feature, segments)) for name, feature in features.items()}
    parents = {
        name: [parent.get("feature") for parent in _objects(feature, "dependencies")]
        for name, feature in features.items()
    }
    return {name: _flag(feature, _with_parents(name, own, parents)) for name, feature in features.items()}


def _flag(feature: Mapping[str, Any], reads: frozenset[str]) -> FlagTraits:
    payloads = [
        payload for variant in _variants(feature) if isinstance(payload := variant.get("payload"), Mapping)
    ]
    numbers = [str(payload.get("value")) for payload in payloads if payload.get("type") == "number"]
    return FlagTraits(
        name=feature["name"],
        project=str(feature.get("project") or "default"),
        enabled=feature.get("enabled") is True,
        impression_data=feature.get("impressionData") is True,
        reads=reads,
        valued=bool(payloads),
        fractional=not all(text.lstrip("+-").isdecimal() for text in numbers),
    )


def _with_parents(
    name: str, own: Mapping[str, frozenset[str]], parents: Mapping[str, list[Any]]
) -> frozenset[str]:
    """What a flag and all flags above it read; an imported circle ends where it began."""
    seen, waiting, found = set[str](), [name], set[str]()
    while waiting:
        one = waiting.pop()
        if one in own and one not in seen:
            seen.add(one)
            found |= own[one]
            waiting += parents[one]
    return frozenset(found)


def _reads(feature: Mapping[str, Any], segments: Mapping[Any, set[str]]) -> Iterator[str]:
    yield from _drawn_by(_objects(feature, "variants"))
    for strategy in _objects(feature, "strategies"):
        name, parameters = strategy.get("name"), strategy.get("parameters")
        if name == "flexibleRollout":
            yield str((isinstance(parameters, Mapping) and parameters.get("stickiness")) or "default")
        elif name in _STICKY:
            yield _STICKY[name]
        yield from _constrained(strategy.get("constraints"))
        for segment_id in strategy.get("segments") or ():
            yield from segments.get(segment_id, ())
        yield from _drawn_by(_objects(strategy, "variants"))


def _drawn_by(variants: list[Mapping[str, Any]]) -> Iterator[str]:
    """What the drawing among variants reads: nothing where there is but one."""
    for variant in variants:
        yield from (str(override.get("contextName")) for override in _objects(variant, "overrides"))
        if len(variants) > 1:
            yield str(variant.get("stickiness") or "default")


def _constrained(constraints: Any) -> set[str]:
    return {str(one.get("contextName")) for one in constraints or () if isinstance(one, Mapping)}


def _variants(feature: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from _objects(feature, "variants")
    for strategy in _objects(feature, "strategies"):
        yield from _objects(strategy, "variants")


def _objects(owner: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects in a list of an imported document, which may be absent or null."""
    return [item for item in owner.get(name) or () if isinstance(item, Mapping)]


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, (bool, int, float)) else None
