"""What a person may save as a flag: strict, with a pointer to each field, because the engine takes anything in silence.

What it does not understand is off, except where it is **on**: no strategies, `NOT_IN` or `inverted` on a field that was not sent. Imports
do not come through here: they are faithful.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rollout.core.constraints import (
    Doubt,
    Fault,
    Findings,
    Surroundings,
    examine_constraints,
    examine_members,
    examine_texts,
    is_network,
)
from rollout.core.flags import MAX_STRATEGIES, NAME, VARIANT_WEIGHT

PAYLOADS = ("string", "json", "csv", "number")
WEIGHT_TYPES = ("variable", "fix")
NEVER_MISSING = ("default", "random")
"""What may be stuck to whatever a caller sends."""

RESERVED = ("import", "export", "upstream")
"""Names that the routes beside the flags have."""

MAX_TEXT = 1000

_MEMBERS = (
    "name", "type", "enabled", "project", "stale", "impressionData", "description", "strategies", "variants", "dependencies",
)  # fmt: skip
_STRATEGY_MEMBERS = ("id", "name", "title", "sortOrder", "parameters", "constraints", "segments", "variants")
_VARIANT_MEMBERS = ("name", "weight", "weightType", "stickiness", "payload", "overrides")
_PERCENT = re.compile(r"0|[1-9][0-9]?|100")

STRATEGIES: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "flexibleRollout": ("rollout", "stickiness", "groupId"),
    "userWithId": ("userIds",),
    "gradualRolloutUserId": ("percentage", "groupId"),
    "gradualRolloutSessionId": ("percentage", "groupId"),
    "gradualRolloutRandom": ("percentage",),
    "remoteAddress": ("IPs",),
    "applicationHostname": ("hostNames",),
}
"""Unleash's own strategies, each with its parameters, all of which it needs."""


def completed(document: Mapping[str, Any]) -> dict[str, Any]:
    """A flag with what may be left out: as it is stored and served. What is not a flag comes back as it is, to be found."""
    strategies = document.get("strategies", [])
    if isinstance(strategies, list):
        strategies = [_completed_strategy(one, document.get("name")) for one in strategies]
    return {
        "type": "release",
        "enabled": False,
        "project": "default",
        "stale": False,
        "impressionData": False,
        "description": None,
        "variants": [],
        **document,
        "strategies": strategies,
    }


def _completed_strategy(strategy: Any, flag: Any) -> Any:
    if not isinstance(strategy, Mapping):
        return strategy
    parameters = strategy.get("parameters", {})
    if strategy.get("name") == "flexibleRollout" and isinstance(parameters, Mapping):
        parameters = {"stickiness": "default", "groupId": flag, **parameters}
    return {"constraints": [], "variants": [], **strategy, "parameters": parameters}


def examine_name(name: Any) -> Findings:
    """A new flag's name."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield Fault("A flag's name is 1-100 letters, digits and . _ ~ -; a letter or digit first.", "name")
    elif name in RESERVED:
        yield Fault("A flag cannot have this name.", "name")


def examine_flag(document: Mapping[str, Any], around: Surroundings) -> Findings:
    """All that is wrong with a completed flag, and what asks for a second look."""
    yield from examine_members(document, _MEMBERS, "")
    for name in ("type", "project"):
        if not isinstance(document[name], str) or not NAME.fullmatch(document[name]):
            yield Fault("This is 1-100 letters, digits and . _ ~ -; a letter or digit first.", name)
    for name in ("enabled", "stale", "impressionData"):
        if not isinstance(document[name], bool):
            yield Fault("This is true or false.", name)
    description = document["description"]
    if not isinstance(description, str | None) or len(description or "") > MAX_TEXT:
        yield Fault(f"This is a text of at most {MAX_TEXT} characters.", "description")
    yield from _strategies(document, around)
    yield from _variants(document["variants"], "variants")
    yield from examine_references(document, around)


def examine_references(document: Mapping[str, Any], around: Surroundings) -> Findings:
    """Segments and parents that there are not, and flags that wait for each other."""
    for index, strategy in _items(document.get("strategies")):
        at = f"strategies.{index}.segments"
        numbers = strategy.get("segments", [])
        if not isinstance(numbers, list):
            yield Fault("Segments are a list of numbers.", at)
            continue
        for position, number in enumerate(numbers):
            if type(number) is not int or number not in around.segments:
                yield Fault(f"There is no segment {number!r}.", f"{at}.{position}")
    yield from _dependencies(document, around)


def _strategies(document: Mapping[str, Any], around: Surroundings) -> Findings:
    strategies = document["strategies"]
    if not isinstance(strategies, list) or len(strategies) > MAX_STRATEGIES:
        yield Fault(f"Strategies are a list of at most {MAX_STRATEGIES}.", "strategies")
        return
    if not strategies and document["enabled"] is True:
        yield Fault(
            "A flag without strategies is on for all: say so with the strategy default.", "strategies"
        )
    for index, strategy in enumerate(strategies):
        at = f"strategies.{index}"
        if isinstance(strategy, Mapping):
            yield from _strategy(strategy, at, around)
        else:
            yield Fault("A strategy is an object.", at)


def _strategy(strategy: Mapping[str, Any], at: str, around: Surroundings) -> Findings:
    yield from examine_members(strategy, _STRATEGY_MEMBERS, at)
    name, parameters = strategy.get("name"), strategy["parameters"]
    if not isinstance(name, str) or name not in STRATEGIES:
        yield Fault(f"There is no such strategy; there are {', '.join(STRATEGIES)}.", f"{at}.name")
    elif not isinstance(parameters, Mapping):
        yield Fault("Parameters are an object of texts.", f"{at}.parameters")
    else:
        yield from examine_members(parameters, STRATEGIES[name], f"{at}.parameters")
        for needed in STRATEGIES[name]:
            yield from _parameter(needed, parameters.get(needed), f"{at}.parameters.{needed}")
    yield from examine_constraints(strategy["constraints"], f"{at}.constraints", around)
    yield from _variants(strategy["variants"], f"{at}.variants")


def _parameter(name: str, value: Any, at: str) -> Findings:
    if not isinstance(value, str) or not value.strip():
        yield Fault("The strategy needs this, written as a text.", at)
    elif name in ("rollout", "percentage") and not _PERCENT.fullmatch(value):
        yield Fault('This is a whole percentage from "0" to "100": with a fraction the flag is off.', at)
    elif name == "stickiness":
        yield from _stickiness(value, at)
    elif name == "IPs" and not all(is_network(part.strip()) for part in value.split(",")):
        yield Fault("These are IP addresses and networks such as 10.0.0.0/8, with commas between them.", at)


def _stickiness(field: str, at: str) -> Findings:
    if field not in NEVER_MISSING:
        yield Doubt(f"Callers that do not send {field} are never let in.", at)


def _variants(data: Any, at: str) -> Findings:
    if not isinstance(data, list) or not all(isinstance(variant, Mapping) for variant in data):
        yield Fault("Variants are a list of objects.", at)
        return
    names = [variant.get("name") for variant in data]
    for index, variant in enumerate(data):
        here = f"{at}.{index}"
        yield from examine_members(variant, _VARIANT_MEMBERS, here)
        if not isinstance(variant.get("name"), str) or not NAME.fullmatch(variant["name"]):
            yield Fault("This is 1-100 letters, digits and . _ ~ -; a letter or digit first.", f"{here}.name")
        elif variant["name"] in names[:index]:
            yield Fault("Another variant has this name.", f"{here}.name")
        yield from _variant(variant, here)
    weights = [variant.get("weight") for variant in data]
    if not all(type(weight) is int and weight >= 0 for weight in weights):
        yield Fault("Each weight is a whole number from 0.", at)
    elif data and sum(weights) != VARIANT_WEIGHT:
        yield Fault(f"The weights of variants sum to {VARIANT_WEIGHT}, and not to {sum(weights)}.", at)


def _variant(variant: Mapping[str, Any], at: str) -> Findings:
    if variant.get("weightType", "variable") not in WEIGHT_TYPES:
        yield Fault(f"There are {' and '.join(WEIGHT_TYPES)}.", f"{at}.weightType")
    stickiness = variant.get("stickiness", "default")
    if isinstance(stickiness, str):
        yield from _stickiness(stickiness, f"{at}.stickiness")
    else:
        yield Fault("This is a text.", f"{at}.stickiness")
    if "payload" in variant:
        yield from _payload(variant["payload"], f"{at}.payload")
    overrides = variant.get("overrides", [])
    if not isinstance(overrides, list):
        yield Fault("Overrides are a list of objects.", f"{at}.overrides")
        return
    for index, override in enumerate(overrides):
        here = f"{at}.overrides.{index}"
        if not isinstance(override, Mapping) or not isinstance(override.get("contextName"), str):
            yield Fault("An override names a context field.", f"{here}.contextName")
        else:
            yield from examine_texts(override.get("values"), f"{here}.values")


def _payload(payload: Any, at: str) -> Findings:
    if not isinstance(payload, Mapping) or payload.get("type") not in PAYLOADS:
        yield Fault(f"A payload's type is one of {', '.join(PAYLOADS)}.", f"{at}.type")
    elif not isinstance(payload.get("value"), str):
        yield Fault("A payload's value is a text, whatever its type.", f"{at}.value")
    elif payload["type"] in ("json", "number") and not _is_json(payload["value"], payload["type"]):
        yield Fault(f"This is not {payload['type']}.", f"{at}.value")


def _is_json(text: str, type_: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return type_ == "json" or type(value) in (int, float)


def _dependencies(document: Mapping[str, Any], around: Surroundings) -> Findings:
    dependencies = document.get("dependencies", [])
    if not isinstance(dependencies, list):
        yield Fault("Dependencies are a list of objects.", "dependencies")
        return
    for index, one in enumerate(dependencies):
        at = f"dependencies.{index}"
        if not isinstance(one, Mapping):
            yield Fault("A dependency is an object that names a `feature`.", at)
            continue
        yield from examine_members(one, ("feature", "enabled", "variants"), at)
        parent = one.get("feature")
        if not isinstance(parent, str) or (parent not in around.parents and parent != document["name"]):
            yield Fault(f"There is no flag {parent!r} to depend on.", f"{at}.feature")
        elif circle := _circle(document["name"], parent, around.parents):
            yield Fault(f"These flags would wait for each other: {' -> '.join(circle)}.", f"{at}.feature")
        if not isinstance(one.get("enabled", True), bool):
            yield Fault("This is true or false.", f"{at}.enabled")
        yield from examine_texts(one.get("variants", []), f"{at}.variants")


def _circle(name: str, parent: str, parents: Mapping[str, Sequence[str]]) -> list[str] | None:
    """The way from `name` over `parent` back to itself."""
    ways, seen = [[name, parent]], {parent}
    while ways:
        way = ways.pop()
        if way[-1] == name:
            return way
        further = [one for one in parents.get(way[-1], ()) if one not in seen]
        seen.update(further)
        ways += [[*way, one] for one in further]
    return None


def _items(data: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    return (
        (index, one)
        for index, one in enumerate(data if isinstance(data, list) else ())
        if isinstance(one, Mapping)
    )
