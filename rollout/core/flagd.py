"""Flags in flagd's format, of those that it can say exactly; the others with what stands in the way.

Equal for callers who send texts, as Unleash's context has them: flagd divides callers by another hash, and compares numbers, dates and
versions by rules of its own, so none of these is written. Format: https://flagd.dev/schema/v0/flags.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rollout.core.authoring import NEVER_MISSING
from rollout.core.documents import Document

SCHEMA = "https://flagd.dev/schema/v0/flags.json"

Rule = dict[str, Any] | bool
"""JsonLogic, or what it always is."""


class _Inexact(Exception):
    """flagd cannot say it; the message says what."""


def flagd_document(document: Document) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The flags of a client-features document, and `{"name", "reason"}` of each that was left out."""
    segments = {one["id"]: one["constraints"] for one in document.get("segments", ())}
    flags: dict[str, Any] = {}
    left_out: list[dict[str, str]] = []
    for feature in document["features"]:
        try:
            flags[feature["name"]] = _flag(feature, segments)
        except _Inexact as reason:
            left_out.append({"name": feature["name"], "reason": str(reason)})
    return {"$schema": SCHEMA, "flags": flags}, left_out


def _flag(feature: Document, segments: Mapping[Any, list[Any]]) -> dict[str, Any]:
    """Always ENABLED: flagd answers nothing at all of a flag that is not, and its caller takes what its code says."""
    rule = _rule(feature, segments)
    flag = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "on" if rule is True else "off",
    }
    return flag if isinstance(rule, bool) else {**flag, "targeting": {"if": [rule, "on", "off"]}}


def _rule(feature: Document, segments: Mapping[Any, list[Any]]) -> Rule:
    if not feature["enabled"]:
        return False
    if feature.get("dependencies"):
        raise _Inexact("It depends on other flags, which flagd does not know.")
    if feature.get("variants") or any(one.get("variants") for one in feature.get("strategies") or ()):
        raise _Inexact("It has variants: flagd divides callers by another hash.")
    strategies = feature.get("strategies") or [{"name": "default"}]
    return _any_of([_strategy(one, segments) for one in strategies])


def _strategy(strategy: Document, segments: Mapping[Any, list[Any]]) -> Rule:
    numbers = strategy.get("segments") or ()
    if not segments.keys() >= set(numbers):
        raise _Inexact("It names a segment that is not there, of which SDKs think differently.")
    constraints = [
        *(strategy.get("constraints") or ()),
        *(one for number in numbers for one in segments[number]),
    ]
    return _all_of([_callers(strategy), *map(_constraint, constraints)])


def _callers(strategy: Document) -> Rule:
    name, parameters = strategy["name"], strategy.get("parameters") or {}
    divides = (
        parameters.get("rollout") != "100" or parameters.get("stickiness", "default") not in NEVER_MISSING
    )
    if name == "default" or (name == "flexibleRollout" and not divides):
        return True
    if name == "userWithId":
        return _among("userId", [one.strip() for one in parameters.get("userIds", "").split(",")])
    raise _Inexact(f"It has the strategy {name}: flagd divides callers by another hash, or not at all.")


def _constraint(constraint: Document) -> Rule:
    operator = constraint["operator"]
    if operator not in ("IN", "NOT_IN"):
        raise _Inexact(f"It compares by {operator}: flagd has other rules for that.")
    rule = _among(constraint["contextName"], constraint.get("values") or [])
    return _not(rule) if (operator == "NOT_IN") != (constraint.get("inverted") is True) else rule


def _among(field: str, values: list[str]) -> Rule:
    if field in ("appName", "environment", "currentTime") or "." in field or field in ("", "targetingKey"):
        raise _Inexact(f"It asks for {field!r}, which is another thing to flagd.")
    found = {"in": [{"var": "targetingKey" if field == "userId" else field}, values]}
    return found if values else False


def _not(rule: Rule) -> Rule:
    return not rule if isinstance(rule, bool) else {"!": [rule]}


def _all_of(rules: Iterable[Rule]) -> Rule:
    return _joined("and", [one for one in rules if one is not True], whole=True)


def _any_of(rules: Iterable[Rule]) -> Rule:
    return _joined("or", [one for one in rules if one is not False], whole=False)


def _joined(word: str, rules: list[Rule], *, whole: bool) -> Rule:
    """`whole`: what no rules are; the other truth decides alone."""
    if (not whole) in rules:
        return not whole
    if len(rules) < 2:
        return rules[0] if rules else whole
    return {word: rules}
