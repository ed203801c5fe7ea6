"""Conditions that no value can meet together, as far as that can be proven: by lists of values, and by limits of numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from rollout.core.flags import NUMBER_OPERATORS, Constraint


def contradiction(conditions: Sequence[Constraint]) -> str | None:
    """The first field for which no value meets all of its conditions; None: there is none that can be told."""
    fields = dict.fromkeys(item.context_name for item in conditions)
    return next(
        (name for name in fields if _impossible([c for c in conditions if c.context_name == name])), None
    )


def _impossible(conditions: Sequence[Constraint]) -> bool:
    """By one field's conditions. Where a list names all values that there can be, each is tried; else the limits are compared."""
    lists = [item.values for item in conditions if item.operator == "IN"]
    if lists:
        return not any(all(_meets(value, item) for item in conditions) for value in lists[0])
    numbers = [item for item in conditions if item.operator in NUMBER_OPERATORS]
    if not numbers:
        return False
    edges = sorted({_number(item.value or "") for item in numbers})
    between = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    candidates = [edges[0] - 1, *edges, *between, edges[-1] + 1]
    return not any(all(_compares(value, item) for item in numbers) for value in candidates)


def _meets(value: str, condition: Constraint) -> bool:
    match condition.operator:
        case "IN":
            return value in condition.values
        case "STR_CONTAINS":
            return any(part in value for part in condition.values)
        case "STR_STARTS_WITH":
            return value.startswith(condition.values)
        case "STR_ENDS_WITH":
            return value.endswith(condition.values)
    try:
        return _compares(_number(value), condition)
    except InvalidOperation:
        return False


def _compares(number: Decimal, condition: Constraint) -> bool:
    limit = _number(condition.value or "")
    match condition.operator:
        case "NUM_EQ":
            return number == limit
        case "NUM_GT":
            return number > limit
        case "NUM_GTE":
            return number >= limit
        case "NUM_LT":
            return number < limit
        case _:
            return number <= limit


def _number(text: str) -> Decimal:
    return Decimal(text)
