"""Flags in Unleash's client-features format: strict checks before an engine sees them.

The engine never warns. What it does not understand is silently off, except where it is silently **on**: a
flag without the key `strategies` or with an empty list, and `NOT_IN` or `inverted` on a field that the
caller does not send. So everything that we write is checked here, and only constraints that fail closed
exist. `param` of an error points at the field: `features.0.strategies.1.constraints`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

PRODUCTION = "production"
"""The environment whose flags decide here. The plans' flags are in it alone."""

STRING_OPERATORS = ("IN", "STR_CONTAINS", "STR_STARTS_WITH", "STR_ENDS_WITH")
NUMBER_OPERATORS = ("NUM_EQ", "NUM_GT", "NUM_GTE", "NUM_LT", "NUM_LTE")
OPERATORS = STRING_OPERATORS + NUMBER_OPERATORS
"""Positive ones only: each is false when the context lacks the field."""

MAX_VALUES = 250
MAX_VALUE_LENGTH = 100
MAX_STRATEGIES = 30
VARIANT_WEIGHT = 1000

STALE_SECONDS = 30 * 86_400
"""A flag that nobody asked for so long is stale."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")
"""OFREP's clients put it into an address as it is."""
_CONTEXT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_WHOLE_PERCENT = re.compile(r"0|[1-9][0-9]?|100")


@dataclass(frozen=True)
class Constraint:
    """`values` for string operators (any of them), `value` for numbers."""

    context_name: str
    operator: str
    values: tuple[str, ...] = ()
    value: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.context_name, str) or not _CONTEXT_NAME.fullmatch(self.context_name):
            raise _refused("A constraint names a context field: letters, digits, _ and -.", "contextName")
        if self.operator in STRING_OPERATORS:
            self._check_values()
        elif self.operator in NUMBER_OPERATORS:
            self._check_value()
        else:
            allowed = ", ".join(OPERATORS)
            raise _refused(
                f"The operator is one of {allowed}: others let in callers that lack the field.", "operator"
            )

    def _check_values(self) -> None:
        if self.value is not None:
            raise _refused(f"{self.operator} compares with `values`, not `value`.", "value")
        if not 1 <= len(self.values) <= MAX_VALUES:
            raise _refused(f"{self.operator} needs 1 to {MAX_VALUES} values.", "values")
        for value in self.values:
            if not isinstance(value, str) or not 1 <= len(value) <= MAX_VALUE_LENGTH:
                raise _refused(f"Each value is a text of 1 to {MAX_VALUE_LENGTH} characters.", "values")

    def _check_value(self) -> None:
        if self.values:
            raise _refused(f"{self.operator} compares with `value`, not `values`.", "values")
        try:
            finite = (
                isinstance(self.value, str)
                and len(self.value) <= MAX_VALUE_LENGTH
                and Decimal(self.value).is_finite()
            )
        except InvalidOperation:
            finite = False
        if not finite:
            raise _refused(f"{self.operator} needs a number, written as a text.", "value")

    def document(self) -> dict[str, Any]:
        """As Unleash writes it."""
        number = {} if self.value is None else {"value": self.value}
        return {
            "contextName": self.context_name,
            "operator": self.operator,
            "values": list(self.values),
            **number,
        }


@dataclass(frozen=True)
class Flag:
    """A flag beyond plans as it is kept. `document` is a feature in Unleash's format; times in UTC epoch seconds, `asked_at` the hour in
    which an SDK last said that it had asked for it."""

    environment: str
    name: str
    project: str
    document: Mapping[str, Any]
    created_at: int
    updated_at: int
    version: int = 1
    archived_at: int | None = None
    asked_at: int | None = None

    def is_stale(self, now: int) -> bool:
        return self.archived_at is None and (self.asked_at or self.created_at) <= now - STALE_SECONDS


def flag_json(flag: Flag) -> dict[str, Any]:
    """The shape that operators and the audit log see."""
    return {
        "environment": flag.environment,
        "name": flag.name,
        "project": flag.project,
        "document": flag.document,
        "version": flag.version,
        "created_at": rfc3339(flag.created_at),
        "updated_at": rfc3339(flag.updated_at),
        "archived_at": rfc3339(flag.archived_at),
    }


def parse_constraint(data: Any, at: str) -> Constraint:
    """A constraint from Unleash's JSON; `at` is where it stands, for `param` of the InvalidRequest it
    raises."""
    if not isinstance(data, Mapping):
        raise _refused("A constraint is an object.", at)
    if unknown := set(data) - {"contextName", "operator", "values", "value", "inverted", "caseInsensitive"}:
        raise _refused("There is no such member of a constraint.", f"{at}.{min(unknown)}")
    if data.get("inverted") or data.get("caseInsensitive"):
        raise _refused("Inverted and case-insensitive constraints let in callers that were not meant.", at)
    values = data.get("values", [])
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise _refused("`values` is a list of texts.", f"{at}.values")
    try:
        return Constraint(
            data.get("contextName", ""), data.get("operator", ""), tuple(values), data.get("value")
        )
    except InvalidRequest as error:
        raise _refused(error.message, f"{at}.{error.members['param']}") from None


def parse_constraints(data: Any, at: str) -> tuple[Constraint, ...]:
    """A list of constraints, all of which must hold; raises InvalidRequest."""
    if not isinstance(data, list):
        raise _refused("Constraints are a list.", at)
    return tuple(parse_constraint(item, f"{at}.{index}") for index, item in enumerate(data))


def names_of(document: Any) -> frozenset[str]:
    """The names of all flags of a client-features document, each of which has one of its own. Raises InvalidRequest."""
    features = document.get("features") if isinstance(document, Mapping) else None
    if not isinstance(features, list):
        raise _refused("A document has a list `features`.", "features")
    names: set[str] = set()
    for index, feature in enumerate(features):
        name = feature.get("name") if isinstance(feature, Mapping) else None
        if not isinstance(name, str):
            raise _refused("A flag is an object with a `name`.", f"features.{index}.name")
        if name in names:
            raise _refused(f"Two flags have the name {name!r}.", f"features.{index}.name")
        names.add(name)
    return frozenset(names)


def check_document(document: Any) -> frozenset[str]:
    """The names of all flags of a client-features document that we wrote.

    Raises InvalidRequest at the first thing that an engine would misread.
    """
    names = names_of(document)
    for index, feature in enumerate(document["features"]):
        _check_feature(feature, f"features.{index}")
    return names


def _check_feature(feature: Mapping[str, Any], at: str) -> None:
    if not NAME.fullmatch(feature["name"]):
        raise _refused(
            "A flag's name is 1-100 letters, digits and . _ ~ -; a letter or digit first.", f"{at}.name"
        )
    if not isinstance(feature.get("enabled"), bool):
        raise _refused("A flag says `enabled` true or false.", f"{at}.enabled")
    strategies = feature.get("strategies")
    if not isinstance(strategies, list) or not 1 <= len(strategies) <= MAX_STRATEGIES:
        raise _refused(
            f"A flag needs 1 to {MAX_STRATEGIES} strategies: without any it is on for all.",
            f"{at}.strategies",
        )
    for index, strategy in enumerate(strategies):
        _check_strategy(strategy, f"{at}.strategies.{index}")


def _check_strategy(strategy: Any, at: str) -> None:
    if not isinstance(strategy, Mapping) or strategy.get("name") != "flexibleRollout":
        raise _refused("The only strategy is flexibleRollout.", f"{at}.name")
    parameters = strategy.get("parameters")
    if not isinstance(parameters, Mapping) or not all(isinstance(text, str) for text in parameters.values()):
        raise _refused("`parameters` maps names to texts.", f"{at}.parameters")
    if not _WHOLE_PERCENT.fullmatch(parameters.get("rollout", "")):
        raise _refused(
            "`rollout` is a whole percentage: with a fraction the flag is off.", f"{at}.parameters.rollout"
        )
    if not parameters.get("stickiness") or not parameters.get("groupId"):
        raise _refused("flexibleRollout needs `stickiness` and `groupId`.", f"{at}.parameters")
    parse_constraints(strategy.get("constraints"), f"{at}.constraints")
    variants = strategy.get("variants")
    if not isinstance(variants, list) or sum(_weight(variant) for variant in variants) != VARIANT_WEIGHT:
        raise _refused(f"The weights of a strategy's variants sum to {VARIANT_WEIGHT}.", f"{at}.variants")


def _weight(variant: Any) -> int:
    if not isinstance(variant, Mapping) or not isinstance(variant.get("name"), str):
        return 0
    weight = variant.get("weight")
    return weight if isinstance(weight, int) else 0


def _refused(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param)
