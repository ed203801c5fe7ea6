"""Flags and segments as people fill them in, and back: a row a strategy or variant, a line a constraint or dependency.

    region IN eu, us            not userId IN ana            version SEMVER_GTE 2.0.0

What a line or field cannot say stands there as JSON, or stays as it was: a form takes nothing away that it does not show.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from pydantic import Field

from rollout.core.authoring import STRATEGIES
from rollout.core.constraints import ALL_OPERATORS, LIST_OPERATORS
from rollout.errors import InvalidRequest
from rollout.web.operation import Shape

from .forms import ReasonForm

Fields = dict[str, str]
"""A form's fields by name, as they are typed: `strategies.0.percent`."""

_PERCENT = ("rollout", "percentage")
_LISTS = ("userIds", "IPs", "hostNames")
_CONSTRAINT = re.compile(
    r"(?P<not>not )?(?P<nocase>nocase )?(?P<field>\S+) (?P<operator>[A-Z_]+)(?: (?P<rest>.*))?"
)
_DEPENDENCY = re.compile(r"(?P<not>not )?(?P<flag>[^\s:]+)(?::(?P<variants>.*))?")


class StrategyRow(Shape):
    """`was`: the strategy that it is made from, by position; one without a name is taken out."""

    was: int | None = None
    name: str | None = None
    percent: str | None = None
    stickiness: str | None = None
    group: str | None = None
    listed: str | None = None
    segments: str | None = None
    constraints: str | None = None


class VariantRow(Shape):
    was: int | None = None
    name: str | None = None
    weight: str | None = None
    payload_type: str | None = None
    payload: str | None = None


class DocumentForm(ReasonForm):
    """A whole document, as JSON."""

    document: str
    accept_warnings: bool = False


class FlagForm(ReasonForm):
    enabled: bool = False
    type: str
    project: str
    description: str | None = None
    strategies: dict[int, StrategyRow] = Field(default_factory=dict)
    variants: dict[int, VariantRow] = Field(default_factory=dict)
    dependencies: str | None = None
    accept_warnings: bool = False


class SegmentForm(ReasonForm):
    name: str
    description: str | None = None
    constraints: str | None = None
    accept_warnings: bool = False


def pretty(document: Any) -> str:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def parse_document(text: str) -> dict[str, Any]:
    """Raises InvalidRequest."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"This is not JSON: {error}.", param="document") from None
    if not isinstance(document, dict):
        raise InvalidRequest("This is no JSON object.", param="document")
    return document


def flag_fields(document: Mapping[str, Any]) -> Fields:
    """What the form of a flag shows; one row more than there are, for another."""
    fields = {
        "enabled": "on" if document.get("enabled") else "",
        "type": str(document.get("type") or ""),
        "project": str(document.get("project") or ""),
        "description": str(document.get("description") or ""),
        "dependencies": _lines(document.get("dependencies"), dependency_line),
    }
    for at, strategy in enumerate([*_objects(document.get("strategies")), {}]):
        fields |= {f"strategies.{at}.{name}": text for name, text in _strategy_fields(at, strategy).items()}
    for at, variant in enumerate([*_objects(document.get("variants")), {}]):
        fields |= {f"variants.{at}.{name}": text for name, text in _variant_fields(at, variant).items()}
    return fields


def flag_document(form: FlagForm, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored flag with what was filled in. Raises InvalidRequest."""
    strategies, variants = _objects(stored.get("strategies")), _objects(stored.get("variants"))
    dependencies = _parsed_lines(form.dependencies, "dependencies", parse_dependency)
    named = {} if not dependencies and "dependencies" not in stored else {"dependencies": dependencies}
    return {
        **stored,
        "enabled": form.enabled,
        "type": form.type,
        "project": form.project,
        "description": form.description,
        "strategies": [
            _strategy(row, _at(strategies, row.was), f"strategies.{at}")
            for at, row in sorted(form.strategies.items())
            if row.name
        ],
        "variants": [
            _variant(row, _at(variants, row.was), f"variants.{at}")
            for at, row in sorted(form.variants.items())
            if row.name
        ],
        **named,
    }


def segment_fields(document: Mapping[str, Any]) -> Fields:
    return {
        "name": str(document.get("name") or ""),
        "description": str(document.get("description") or ""),
        "constraints": _lines(document.get("constraints"), constraint_line),
    }


def segment_document(form: SegmentForm, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored segment with what was filled in. Raises InvalidRequest."""
    constraints = _parsed_lines(form.constraints, "constraints", parse_constraint)
    described = {"description": form.description} if form.description or "description" in stored else {}
    return {**stored, "name": form.name, **described, "constraints": constraints}


def constraint_line(constraint: Any) -> str:
    """`not region IN eu, us`; as JSON where a line cannot say it."""
    if isinstance(constraint, Mapping):
        operator, inverted = constraint.get("operator"), constraint.get("inverted")
        values, value = constraint.get("values"), constraint.get("value")
        compared = ", ".join(map(str, values or [])) if operator in LIST_OPERATORS else value
        words = [
            "not" if inverted else None,
            "nocase" if constraint.get("caseInsensitive") else None,
            constraint.get("contextName"),
            operator,
            compared,
        ]
        line = " ".join(str(word) for word in words if word is not None)
        if "\n" not in line and _same(line, constraint):
            return line
    return _json(constraint)


def parse_constraint(line: str, at: str) -> Any:
    """The constraint of a line. Raises InvalidRequest."""
    if line.startswith("{"):
        return _parsed_json(line, at)
    found = _CONSTRAINT.fullmatch(line)
    if found is None or found["operator"] not in ALL_OPERATORS:
        raise InvalidRequest(
            "A constraint is a line such as: region IN eu, us. Before it may stand: not.",
            param=at,
            remedy=f"The operators are {', '.join(ALL_OPERATORS)}.",
        )
    rest = found["rest"] or ""
    is_list = found["operator"] in LIST_OPERATORS
    return {
        "contextName": found["field"],
        "operator": found["operator"],
        **({"values": _split(rest)} if is_list else {"value": rest, "values": []}),
        **({"inverted": True} if found["not"] else {}),
        **({"caseInsensitive": True} if found["nocase"] else {}),
    }


def dependency_line(dependency: Any) -> str:
    """`parent`, `not parent` or `parent: variant, variant`; as JSON where a line cannot say it."""
    if isinstance(dependency, Mapping):
        variants = dependency.get("variants") or []
        negated = "not " if dependency.get("enabled") is False else ""
        line = f"{negated}{dependency.get('feature')}" + (
            f": {', '.join(map(str, variants))}" if variants else ""
        )
        found = _DEPENDENCY.fullmatch(line)
        if found and parse_dependency(line, "") == {
            "feature": dependency.get("feature"),
            **_meant(dependency),
        }:
            return line
    return _json(dependency)


def parse_dependency(line: str, at: str) -> Any:
    """The dependency of a line. Raises InvalidRequest."""
    if line.startswith("{"):
        return _parsed_json(line, at)
    found = _DEPENDENCY.fullmatch(line)
    if found is None:
        raise InvalidRequest(
            "A line names a flag, such as: parent, not parent, or parent: blue, green.", param=at
        )
    negated = {"enabled": False} if found["not"] else {}
    variants = {"variants": _split(found["variants"])} if found["variants"] else {}
    return {"feature": found["flag"], **negated, **variants}


def _strategy_fields(at: int, strategy: Mapping[str, Any]) -> Fields:
    parameters = strategy.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    return {
        "was": str(at) if strategy else "",
        "name": str(strategy.get("name") or ""),
        "percent": _first(parameters, _PERCENT),
        "stickiness": _first(parameters, ("stickiness",)),
        "group": _first(parameters, ("groupId",)),
        "listed": _first(parameters, _LISTS),
        "segments": ", ".join(map(str, strategy.get("segments") or [])),
        "constraints": _lines(strategy.get("constraints"), constraint_line),
    }


def _strategy(row: StrategyRow, base: Mapping[str, Any], at: str) -> dict[str, Any]:
    typed = {"stickiness": row.stickiness, "groupId": row.group}
    typed |= dict.fromkeys(_PERCENT, row.percent) | dict.fromkeys(_LISTS, row.listed)
    known = STRATEGIES.get(row.name or "", ())
    kept = base.get("parameters") if base.get("name") == row.name else {}
    unknown = {name: value for name, value in (kept or {}).items() if name not in typed}
    segments = _numbers(row.segments, f"{at}.segments")
    return {
        **base,
        "name": row.name,
        "parameters": {**unknown, **{name: typed[name] for name in known if typed[name] is not None}},
        "constraints": _parsed_lines(row.constraints, f"{at}.constraints", parse_constraint),
        **({"segments": segments} if segments or "segments" in base else {}),
    }


def _variant_fields(at: int, variant: Mapping[str, Any]) -> Fields:
    payload = variant.get("payload") or {}
    return {
        "was": str(at) if variant else "",
        "name": str(variant.get("name") or ""),
        "weight": str(variant.get("weight", "")),
        "payload_type": str(payload.get("type") or ""),
        "payload": str(payload.get("value") or ""),
    }


def _variant(row: VariantRow, base: Mapping[str, Any], at: str) -> dict[str, Any]:
    weight = row.weight or ""
    if not weight.isascii() or not weight.isdigit() or len(weight) > 4:
        raise InvalidRequest("Each weight is a whole number from 0 to 1000.", param=f"{at}.weight")
    kept = {name: value for name, value in base.items() if name != "payload"}
    payload = {**(base.get("payload") or {}), "type": row.payload_type, "value": row.payload or ""}
    return {
        "weightType": "variable",
        "stickiness": "default",
        **kept,
        "name": row.name,
        "weight": int(weight),
        **({"payload": payload} if row.payload_type else {}),
    }


def _lines(items: Any, line: Callable[[Any], str]) -> str:
    return "\n".join(map(line, items if isinstance(items, list) else ()))


def _parsed_lines(text: str | None, at: str, parse: Callable[[str, str], Any]) -> list[Any]:
    return [parse(line.strip(), at) for line in (text or "").splitlines() if line.strip()]


def _same(line: str, constraint: Mapping[str, Any]) -> bool:
    """Whether the line says all that the constraint does; what is false and empty need not be said."""
    try:
        parsed = parse_constraint(line, "")
    except InvalidRequest:
        return False
    said = {name: value for name, value in constraint.items() if value not in (False, None, [], "")}
    return said == {name: value for name, value in parsed.items() if value not in ([], "")}


def _meant(dependency: Mapping[str, Any]) -> dict[str, Any]:
    """What of a dependency is more than its name, and no default."""
    default: dict[str, Any] = {"feature": dependency.get("feature"), "enabled": True, "variants": []}
    return {name: value for name, value in dependency.items() if default.get(name, ...) != value}


def _parsed_json(line: str, at: str) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"This is not JSON: {error}.", param=at) from None


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _numbers(text: str | None, at: str) -> list[int]:
    words = _split(text or "")
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise InvalidRequest("Name segments by number, such as 3, 17.", param=at)
    return [int(word) for word in words]


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _first(parameters: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((str(parameters[name]) for name in names if name in parameters), "")


def _at(items: list[Mapping[str, Any]], position: int | None) -> Mapping[str, Any]:
    return items[position] if position is not None and 0 <= position < len(items) else {}


def _objects(items: Any) -> list[Mapping[str, Any]]:
    return [one for one in items if isinstance(one, Mapping)] if isinstance(items, list) else []
