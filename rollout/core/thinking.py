"""Thinking budgets, whatever the model takes.

Callers send `thinking: {"type": "enabled", "budget_tokens": N}`. A model that takes a budget gets it as it came. One that
is adaptive only is sent `adaptive` with an effort that stands for the budget (`map`), or the request is refused (`strict`),
as the tenant has it. Everything else is the vendor's to judge. Source of the least budget, and that it lies below
`max_tokens`: Anthropic's documentation of extended thinking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rollout.core.catalogue import Model
from rollout.core.members import decode_at, member
from rollout.core.tenants import ThinkingBudgets
from rollout.errors import InvalidRequest

LEAST_BUDGET = 1_024
EFFORTS = ("low", "medium", "high", "xhigh", "max")
_BELOW = ((2_000, "low"), (8_000, "medium"), (24_000, "high"), (64_000, "xhigh"))
_NULL = msgspec.Raw(b"null")

Members = Mapping[str, msgspec.Raw]


@dataclass(frozen=True)
class Thought:
    """The members to send, and what x-rollout-thinking tells: None where no budget was asked for."""

    members: Members
    told: str | None = None


def think(model: Model, members: Members, max_tokens: int | None, budgets: ThinkingBudgets) -> Thought:
    """`members` as this model takes them: at most `thinking` and `output_config.effort` change.

    Args: `max_tokens` of the request, None where it has none (a count). Raises InvalidRequest naming the field.
    """
    asked = _object(members, "thinking")
    kind = _word(asked, "type", "thinking.type")
    if kind is None:
        return Thought(members)
    budget = _budget(asked, model, max_tokens) if kind == "enabled" else None
    if kind in model.thinking or not model.thinking:
        return Thought(members, None if budget is None else f"enabled; budget={budget}")
    if budget is None or "adaptive" not in model.thinking:
        raise InvalidRequest(
            f"{model.name} does not take `thinking` of type {kind[:100]}; it takes {', '.join(model.thinking)}.",
            param="thinking.type",
        )
    if budgets == "strict":
        raise InvalidRequest(
            f"{model.name} takes no thinking budget, and your organisation does not have budgets mapped.",
            param="thinking.budget_tokens",
            remedy='Send `thinking: {"type": "adaptive"}`, with `output_config.effort` if you like.',
        )
    return _mapped(model, members, asked, budget)


def effort_for(budget: int, offered: tuple[str, ...]) -> str | None:
    """The effort that stands for a budget, or the next lower one that is offered; None where there is none."""
    wanted = next((effort for limit, effort in _BELOW if budget < limit), EFFORTS[-1])
    fitting = [effort for effort in EFFORTS[: EFFORTS.index(wanted) + 1] if effort in offered]
    return fitting[-1] if fitting else None


def _mapped(model: Model, members: Members, asked: Members, budget: int) -> Thought:
    """An effort that the caller has chosen himself stays."""
    config = _object(members, "output_config")
    chosen = _word(config, "effort", "output_config.effort")
    effort = chosen or effort_for(budget, model.efforts)
    others = {name: value for name, value in asked.items() if name not in ("type", "budget_tokens")}
    changed = {**members, "thinking": _raw({"type": "adaptive", **others})}
    if effort and not chosen:
        changed["output_config"] = _raw({**config, "effort": effort})
    told = ["adaptive", *([f"effort={effort}"] if effort else []), f"cap={budget}"]
    return Thought(changed, "; ".join(told))


def _budget(asked: Members, model: Model, max_tokens: int | None) -> int:
    digits = bytes(asked.get("budget_tokens", b"")).decode("utf-8", "replace")
    budget = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 9 else 0
    if budget < LEAST_BUDGET:
        raise _wrong(f"must be a whole number of at least {LEAST_BUDGET}")
    if model.max_tokens and budget >= model.max_tokens:
        raise _wrong(f"must be less than the {model.max_tokens} tokens that {model.name} writes at most")
    if max_tokens is not None and budget >= max_tokens:
        raise _wrong(f"must be less than `max_tokens`, which is {max_tokens}")
    return budget


def _wrong(how: str) -> InvalidRequest:
    return InvalidRequest(f"`thinking.budget_tokens` {how}.", param="thinking.budget_tokens")


def _object(members: Members, name: str) -> dict[str, msgspec.Raw]:
    """Its members as slices; none where it is left out or null."""
    return member(members, name, dict[str, msgspec.Raw] | None, "an object") or {}


def _word(members: Members, name: str, path: str) -> str | None:
    found: str | None = decode_at(members.get(name, _NULL), str | None, path, "a string")
    return found


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
