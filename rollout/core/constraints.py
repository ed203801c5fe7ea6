"""Constraints as people write them, in flags and segments: what is refused, and what asks for a second look.

The engine never warns: an operator, number, date or version that it does not understand is silently off, and under `inverted` silently
on. Every operator of Unleash's engine is known here. Nothing is raised: all that is wrong is found at once, each with where it stands.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rollout.core.flags import MAX_VALUE_LENGTH, MAX_VALUES, NUMBER_OPERATORS, STRING_OPERATORS

DATE_OPERATORS = ("DATE_AFTER", "DATE_BEFORE")
SEMVER_OPERATORS = ("SEMVER_EQ", "SEMVER_GT", "SEMVER_GTE", "SEMVER_LT", "SEMVER_LTE")
LIST_OPERATORS = (*STRING_OPERATORS, "NOT_IN", "IN_CIDR")
ALL_OPERATORS = (*LIST_OPERATORS, *NUMBER_OPERATORS, *DATE_OPERATORS, *SEMVER_OPERATORS, "REGEX")

ALWAYS_SENT = frozenset({"appName", "environment", "currentTime"})
"""Context fields that each Unleash SDK fills in by itself."""

WELL_KNOWN = ALWAYS_SENT | {"userId", "sessionId", "remoteAddress", "tenantId"}
"""Those whose names every caller knows, though not each sends them."""

MAX_REGEX = 512

_MEMBERS = ("contextName", "operator", "values", "value", "inverted", "caseInsensitive")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_NUMERIC = r"(0|[1-9]\d*)"
_LABEL = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(
    rf"{_NUMERIC}\.{_NUMERIC}\.{_NUMERIC}(-{_LABEL}(\.{_LABEL})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)
"""https://semver.org, version 2.0.0"""

_REGEX_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\(\?|\{[^}]*\}|.", re.DOTALL)
"""An escape, a character class, the begin of a group, a count, or any character."""


@dataclass(frozen=True)
class Fault:
    """What is never saved; `param` is where it stands: `strategies.0.constraints.1.value`."""

    message: str
    param: str


@dataclass(frozen=True)
class Doubt:
    """What is saved if it is meant."""

    message: str
    param: str


Findings = Iterator[Fault | Doubt]


@dataclass(frozen=True)
class Surroundings:
    """What something is saved into at `now`, UTC epoch seconds.

    `segments`: ids of those that there are; `parents`: every flag of the environment, with those that it depends on; `values`: what other
    constraints compare a context field with; `compiles`: whether the engine understands a regular expression.
    """

    now: int
    compiles: Callable[[str], bool]
    segments: Collection[int] = ()
    parents: Mapping[str, Sequence[str]] = field(default_factory=dict)
    values: Mapping[str, Collection[str]] = field(default_factory=dict)


def examine_constraints(
    data: Any, at: str, around: Surroundings, *, max_values: int | None = MAX_VALUES
) -> Findings:
    """A list of constraints in Unleash's JSON; `max_values` for one, None: as many as there are."""
    if not isinstance(data, list):
        yield Fault("Constraints are a list.", at)
        return
    for index, one in enumerate(data):
        yield from _constraint(one, f"{at}.{index}", around, max_values)


def examine_members(data: Mapping[str, Any], known: Collection[str], at: str) -> Findings:
    """Members that nobody knows are kept and served, if they are meant."""
    for name in data:
        if name not in known:
            yield Doubt("No engine reads this member; is it a slip?", f"{at}.{name}" if at else name)


def examine_texts(data: Any, at: str) -> Findings:
    """A list of texts."""
    if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
        yield Fault("This is a list of texts.", at)


def is_network(text: str) -> bool:
    """An IP address, or a network as CIDR."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _constraint(data: Any, at: str, around: Surroundings, max_values: int | None) -> Findings:
    if not isinstance(data, Mapping):
        yield Fault("A constraint is an object.", at)
        return
    yield from examine_members(data, _MEMBERS, at)
    name, operator = data.get("contextName"), data.get("operator")
    for flag in ("inverted", "caseInsensitive"):
        if not isinstance(data.get(flag, False), bool):
            yield Fault("This is true or false.", f"{at}.{flag}")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_VALUE_LENGTH:
        yield Fault("A constraint names a context field.", f"{at}.contextName")
    elif operator not in ALL_OPERATORS:
        yield Fault(
            f"There is no such operator; there are {', '.join(ALL_OPERATORS)}.",
            f"{at}.operator",
        )
    elif operator in LIST_OPERATORS:
        yield from _listed(data, at, around, max_values)
        yield from _sender(name, data, at)
    else:
        yield from _single(data, at, around)
        yield from _sender(name, data, at)


def _sender(name: str, data: Mapping[str, Any], at: str) -> Findings:
    """Does each caller send the field; and what about those that do not?"""
    if name in ALWAYS_SENT:
        return
    if data["operator"] == "NOT_IN" or data.get("inverted"):
        yield Doubt(f"Callers that do not send {name} are let in.", at)
    elif name not in WELL_KNOWN:
        yield Doubt(f"Callers that do not send {name} are never let in.", f"{at}.contextName")


def _listed(data: Mapping[str, Any], at: str, around: Surroundings, max_values: int | None) -> Findings:
    operator, values = data["operator"], data.get("values")
    if data.get("value"):
        yield Fault(f"{operator} compares with `values`, not `value`.", f"{at}.value")
    if not isinstance(values, list) or not values:
        yield Fault(f"{operator} needs a list of `values`.", f"{at}.values")
        return
    if max_values is not None and len(values) > max_values:
        yield Fault(
            f"A constraint has at most {max_values} values: put more into a segment.",
            f"{at}.values",
        )
    for index, value in enumerate(values):
        here = f"{at}.values.{index}"
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_VALUE_LENGTH:
            yield Fault(f"Each value is a text of 1 to {MAX_VALUE_LENGTH} characters.", here)
        elif operator == "IN_CIDR" and not is_network(value):
            yield Fault("This is no IP address and no network such as 10.0.0.0/8.", here)
        elif operator in ("IN", "NOT_IN"):
            yield from _cased(value, around.values.get(data["contextName"], ()), here)
    if data.get("caseInsensitive") and not operator.startswith("STR_"):
        yield Doubt(f"caseInsensitive has no effect on {operator}.", f"{at}.caseInsensitive")


def _cased(value: str, known: Collection[str], at: str) -> Findings:
    if value in known:
        return
    for other in known:
        if other.lower() == value.lower():
            yield Doubt(f"Elsewhere it is written {other}, and upper and lower case are told apart.", at)
            return


def _single(data: Mapping[str, Any], at: str, around: Surroundings) -> Findings:
    operator, value, at_value = data["operator"], data.get("value"), f"{at}.value"
    if data.get("values"):
        yield Fault(f"{operator} compares with `value`, not `values`.", f"{at}.values")
    if not isinstance(value, str):
        yield Fault(f"{operator} needs a `value`, written as a text.", at_value)
    elif operator == "REGEX":
        yield from _regex(value, at_value, around)
    elif len(value) > MAX_VALUE_LENGTH:
        yield Fault(f"A value has at most {MAX_VALUE_LENGTH} characters.", at_value)
    elif operator in NUMBER_OPERATORS and not _NUMBER.fullmatch(value):
        yield Fault("This is no number such as 12 or -0.5.", at_value)
    elif operator in SEMVER_OPERATORS and not _SEMVER.fullmatch(value):
        yield Fault("This is no version such as 1.20.0 or 2.0.0-rc.1.", at_value)
    elif operator in DATE_OPERATORS:
        yield from _date(value, at_value, around)


def _date(value: str, at: str, around: Surroundings) -> Findings:
    try:
        moment = datetime.fromisoformat(value) if _DATE.fullmatch(value) else None
    except ValueError:
        moment = None
    if moment is None:
        yield Fault("This is no time such as 2027-03-01T17:00:00Z.", at)
    elif moment.timestamp() <= around.now:
        yield Doubt("This time has passed.", at)


def _regex(pattern: str, at: str, around: Surroundings) -> Findings:
    if len(pattern) > MAX_REGEX:
        yield Fault(f"A regular expression has at most {MAX_REGEX} characters.", at)
    elif pattern and (trouble := _trouble(pattern, at)):
        yield trouble
    elif not around.compiles(pattern):
        yield Fault(
            "The engine does not understand this regular expression; it knows no look-around and no back-references.",
            at,
        )


def _trouble(pattern: str, where: str) -> Fault | None:
    """What an SDK whose regular expressions backtrack would never come back from, or what does not close.

    Each open group is True once it holds a repeat or alternatives; `repeats`: the item just read may not be repeated again.
    """
    groups, repeats = [False], False
    for token in _REGEX_TOKEN.findall(pattern):
        kind = token[0]
        if kind == "(":
            groups.append(False)
        elif kind == ")" and len(groups) == 1:
            return Fault("A group of this regular expression ends before it begins.", where)
        elif kind == ")":
            repeats = groups.pop()
            groups[-1] |= repeats
        elif kind in "*+{" and repeats:
            return Fault(
                "This regular expression repeats what repeats or chooses: it might never end.", where
            )
        elif kind in "*+{?|":
            groups[-1] = True
            repeats = kind in "*+{" or (kind == "?" and repeats)
        else:
            repeats = False
    if len(groups) > 1 or token == "\\":
        return Fault("A group or an escape of this regular expression does not end.", where)
    return None
