"""A plan's flag at an Unleash server: what of it is ours, what differs, and which call comes next.

Our strategies are known by their title, `phase:<key>`; what else the flag has there is left alone. Calls share no transaction, so
their order sees to it that nobody is let in on the way who is neither in before nor after: what narrows comes first, the widest
strategy before the others, and the flag is switched on last.

Unleash gives a flag that is switched on without a strategy one that lets everybody in: ours are there by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rollout.core.times import rfc3339

OURS = "phase:"
STICKINESS = "tenantId"

State = Literal["pushed", "waiting", "drift", "failed"]

Strategy = Mapping[str, Any]
"""As Unleash writes it, in our one form of it (`strategy_json`)."""


@dataclass(frozen=True)
class Standing:
    """The flag in one environment of Unleash: `strategies` in their order, with their ids."""

    enabled: bool
    strategies: tuple[tuple[str, Strategy], ...] = ()


@dataclass(frozen=True)
class Switch:
    on: bool


@dataclass(frozen=True)
class Add:
    strategy: Strategy


@dataclass(frozen=True)
class Put:
    id: str
    strategy: Strategy


@dataclass(frozen=True)
class Remove:
    id: str


@dataclass(frozen=True)
class Sort:
    ids: tuple[str, ...]


Call = Switch | Add | Put | Remove | Sort


@dataclass(frozen=True)
class FlagPush:
    """How far a plan's flag has got: by revision what is wanted, and what was last read back as it was written.

    `drift`: what differs there and was not our doing, as `differences` tells it; `error`: why the last attempt came to nothing; `at` in
    UTC epoch seconds.
    """

    feature: str
    wanted_revision: int
    pushed_revision: int | None
    drift: tuple[Mapping[str, Any], ...]
    error: str | None
    at: int

    @property
    def is_waiting(self) -> bool:
        return self.pushed_revision is None or self.pushed_revision < self.wanted_revision

    @property
    def state(self) -> State:
        if self.error is not None:
            return "failed"
        if self.is_waiting:
            return "waiting"
        return "drift" if self.drift else "pushed"

    @property
    def was_switched_off(self) -> bool:
        """Whether somebody there switched off what is on here."""
        return any(item["what"] == "enabled" and item["wanted"] for item in self.drift)


def strategy_json(strategy: Mapping[str, Any]) -> dict[str, Any]:
    """A strategy without what Unleash adds to it (id, order), and with what it leaves out: equal ones are equal."""
    return {
        "name": strategy.get("name"),
        "title": strategy.get("title"),
        "disabled": bool(strategy.get("disabled")),
        "parameters": dict(strategy.get("parameters") or {}),
        "constraints": [_constraint_json(item) for item in strategy.get("constraints") or ()],
        "segments": list(strategy.get("segments") or ()),
        "variants": [dict(item) for item in strategy.get("variants") or ()],
    }


def wanted_strategies(flag: Mapping[str, Any]) -> tuple[Strategy, ...]:
    """Of a compiled flag, in order: narrow ones first."""
    return tuple(strategy_json(item) for item in flag["strategies"])


def context_fields(flag: Mapping[str, Any]) -> set[str]:
    """The context fields that a compiled flag looks at."""
    return {STICKINESS} | {item["contextName"] for one in flag["strategies"] for item in one["constraints"]}


def next_call(flag: Mapping[str, Any], there: Standing, *, may_open: bool = True) -> Call | None:
    """The next step on the way from what is `there` to a compiled flag; None when nothing of ours is left to do.

    `may_open=False`: it is not switched on.
    """
    wanted = {item["title"]: item for item in wanted_strategies(flag)}
    ours = [(id, item) for id, item in there.strategies if _is_ours(item)]
    if there.enabled and not flag["enabled"]:
        return Switch(on=False)
    for at, (id, item) in reversed(list(enumerate(ours))):
        if item["title"] not in wanted or any(item["title"] == other["title"] for _, other in ours[:at]):
            return Remove(id)
    for id, item in ours:
        if item != wanted[item["title"]]:
            return Put(id, wanted[item["title"]])
    known = [item["title"] for _, item in ours]
    for title, item in wanted.items():
        if title not in known:
            return Add(item)
    if known != list(wanted):
        return Sort(_in_order(list(wanted), there))
    return Switch(on=True) if flag["enabled"] and not there.enabled and may_open else None


def differences(flag: Mapping[str, Any], there: Standing | None) -> list[dict[str, Any]]:
    """What differs from a compiled flag, with what is `wanted` here and `actual` there; None: it is not there."""
    if there is None:
        return [{"what": "flag", "name": flag["name"], "wanted": True, "actual": False}]
    return [*_switch(flag, there), *_strategies(wanted_strategies(flag), there)]


def push_json(push: FlagPush) -> dict[str, Any]:
    """The shape that admins see."""
    return {
        "feature": push.feature,
        "state": push.state,
        "wanted_revision": push.wanted_revision,
        "pushed_revision": push.pushed_revision,
        "drift": [dict(item) for item in push.drift],
        "error": push.error,
        "at": rfc3339(push.at),
    }


def _switch(flag: Mapping[str, Any], there: Standing) -> Iterator[dict[str, Any]]:
    if flag["enabled"] != there.enabled:
        yield {"what": "enabled", "name": flag["name"], "wanted": flag["enabled"], "actual": there.enabled}


def _strategies(wanted: Sequence[Strategy], there: Standing) -> Iterator[dict[str, Any]]:
    left = [item for _, item in there.strategies]
    for item in wanted:
        actual = next((other for other in left if other["title"] == item["title"]), None)
        if actual is not None:
            left.remove(actual)
        if actual != item:
            yield {"what": "strategy", "name": item["title"], "wanted": item, "actual": actual}
    for item in left:
        yield {"what": "strategy", "name": item["title"] or item["name"], "wanted": None, "actual": item}
    ours = [item["title"] for _, item in there.strategies if _is_ours(item)]
    titles = [item["title"] for item in wanted]
    if ours != titles and sorted(ours) == sorted(titles):
        yield {"what": "order", "name": "strategies", "wanted": titles, "actual": ours}


def _in_order(titles: list[str], there: Standing) -> tuple[str, ...]:
    """All ids: ours as they are wanted, then the others as they are."""
    place = {title: at for at, title in enumerate(titles)}
    return tuple(
        id for id, item in sorted(there.strategies, key=lambda one: place.get(one[1]["title"], len(place)))
    )


def _is_ours(strategy: Strategy) -> bool:
    return str(strategy["title"] or "").startswith(OURS)


def _constraint_json(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "contextName": item.get("contextName"),
        "operator": item.get("operator"),
        "values": list(item.get("values") or ()),
        **({"value": item["value"]} if item.get("value") is not None else {}),
        "inverted": bool(item.get("inverted")),
        "caseInsensitive": bool(item.get("caseInsensitive")),
    }
