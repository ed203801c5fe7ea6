"""What people write of a plan: read from JSON, changed by merge patches (RFC 7396), and checked before it is stored.

    {"four_eyes": false, "phases": [{"key", "title", "audience", "quota"?, "vendors"?, "entry"?, "exit"?, "hold"?, "moves_on"?}]}

A patch names phases by their keys: `{"phases": {"wider_beta": {"audience": {"basis_points": 2500}}, "pilot": null}}`. A new phase
says behind which one it stands by `after`; null is the first place. `param` of an error points at the field, as it was sent.

A phase that is open is locked: what was found out about it was found out about what it says. Its title may change; all else by
restarting it, or after a roll back.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rollout.core.conditions import contradiction
from rollout.core.flags import Constraint
from rollout.core.gates import CONDITIONS, MINIMUMS, Gate, parse_gate
from rollout.core.plans import (
    Audience,
    Everyone,
    Granted,
    Percentage,
    Phase,
    Plan,
    RunningPlan,
    Segment,
    parse_audience,
    phase_json,
)
from rollout.core.quota import parse_quota
from rollout.core.times import rfc3339
from rollout.errors import Conflict, InvalidRequest

MAX_PHASES = 30
"""As many strategies as a flag may have."""

MAX_TITLE = 200

LOCKED = ("audience", "quota", "vendors", "entry", "exit", "hold", "moves_on")
MEMBERS = ("key", "title", *LOCKED)
SHOWN = ("position", "open")
"""Members of a phase as it is shown: sent back with it, they say nothing."""

_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


# -- in ------------------------------------------------------------------------------------------------------


def parse_phases(data: Any, feature: str, at: str = "phases") -> tuple[Phase, ...]:
    """The phases of a whole plan; raises InvalidRequest."""
    if not isinstance(data, list):
        raise InvalidRequest("The phases of a plan are a list.", param=at)
    phases = [parse_phase(item, feature, f"{at}.{index}") for index, item in enumerate(data)]
    check_phases(phases, [f"{at}.{index}" for index in range(len(phases))])
    return tuple(phases)


def parse_phase(data: Any, feature: str, at: str) -> Phase:
    """One phase; raises InvalidRequest that names the field below `at`."""
    if not isinstance(data, Mapping):
        raise InvalidRequest("A phase is an object.", param=at)
    if unknown := set(data) - {*MEMBERS, *SHOWN}:
        raise InvalidRequest(
            f"A phase has no such member; it has {', '.join(MEMBERS)}.", param=f"{at}.{min(unknown)}"
        )
    key = _key(data.get("key"), f"{at}.key")
    return Phase(
        key,
        _title(data.get("title"), f"{at}.title"),
        parse_audience(data.get("audience"), f"{at}.audience"),
        parse_quota([] if data.get("quota") is None else data["quota"], feature, key, f"{at}.quota"),
        _vendors(data.get("vendors"), f"{at}.vendors"),
        **{
            kind: None if data.get(kind) is None else parse_gate(data[kind], f"{at}.{kind}", kind)
            for kind in CONDITIONS
        },
        moves_on=_flag(data.get("moves_on"), f"{at}.moves_on"),
    )


def patched(plan: Plan, patch: Mapping[str, Any]) -> Plan:
    """The plan as `patch` changes it, its version as it was. Raises InvalidRequest."""
    if unknown := set(patch) - {"four_eyes", "phases"}:
        raise InvalidRequest(
            "Of a plan change `four_eyes` and `phases`; where it stands changes by steps.", param=min(unknown)
        )
    four_eyes = _flag(patch["four_eyes"], "four_eyes") if "four_eyes" in patch else plan.four_eyes
    changes = patch.get("phases", {})
    if not isinstance(changes, Mapping):
        raise InvalidRequest("A patch names phases by their keys.", param="phases")
    shown = {phase.key: phase_json(phase) for phase in plan.phases}
    order = list(shown)
    for key in [key for key, change in changes.items() if change is None]:
        if key not in shown:
            raise InvalidRequest(f"The plan of {plan.feature} has no phase {key!r}.", param=f"phases.{key}")
        order.remove(key)
    for key, change in changes.items():
        if change is not None:
            shown[key] = _patched_phase(key, shown.get(key), change)
            _place(order, key, change)
    places = [f"phases.{key}" for key in order]
    phases = [parse_phase(shown[key], plan.feature, at) for key, at in zip(order, places, strict=True)]
    check_phases(phases, places)
    return dataclasses.replace(plan, phases=tuple(phases), four_eyes=four_eyes)


def patch_to(plan: Plan, wanted: Plan) -> dict[str, Any]:
    """The smallest patch that gives `plan` the content of `wanted`."""
    before, after = ({phase.key: phase_json(phase) for phase in one.phases} for one in (plan, wanted))
    changes: dict[str, Any] = {key: None for key in before if key not in after}
    order, previous = [key for key in before if key in after], None
    for position, (key, phase) in enumerate(after.items()):
        change = _difference(before.get(key, {}), phase)
        if order[position : position + 1] != [key]:
            change["after"] = previous
            _place(order, key, change)
        if change:
            changes[key] = change
        previous = key
    four_eyes = {} if plan.four_eyes == wanted.four_eyes else {"four_eyes": wanted.four_eyes}
    return {**four_eyes, **({"phases": changes} if changes else {})}


def _patched_phase(key: str, before: Mapping[str, Any] | None, change: Any) -> Any:
    if not isinstance(change, Mapping):
        raise InvalidRequest("A phase is changed by an object, and removed by null.", param=f"phases.{key}")
    if before is None and "after" not in change:
        raise InvalidRequest(
            f"The new phase {key} says by `after` behind which one it stands.",
            param=f"phases.{key}.after",
            remedy="Send the key of a phase, or null for the first place.",
        )
    if change.get("key", key) != key:
        raise InvalidRequest("A phase keeps its key.", param=f"phases.{key}.key")
    fields = {name: value for name, value in change.items() if name != "after"}
    return _merged(before or {"key": key}, fields)


def _place(order: list[str], key: str, change: Mapping[str, Any]) -> None:
    if "after" not in change:
        return
    after = change["after"]
    if key in order:
        order.remove(key)
    if after is not None and after not in order:
        raise InvalidRequest(f"There is no phase {after!r} to stand behind.", param=f"phases.{key}.after")
    order.insert(0 if after is None else order.index(after) + 1, key)


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2. An audience of another kind is another audience: nothing of the former is left."""
    if not isinstance(patch, Mapping):
        return patch
    keep = isinstance(target, Mapping) and patch.get("kind", target.get("kind")) == target.get("kind")
    merged = dict(target) if keep else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What `_merged` makes `after` of `before` with."""
    changes: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            if inner := _difference(old, value):
                changes[name] = inner if old.get("kind") == value.get("kind") else value
        elif old != value:
            changes[name] = value
    return changes


def _key(data: Any, at: str) -> str:
    if not isinstance(data, str) or not _KEY.fullmatch(data):
        raise InvalidRequest(
            "The key of a phase is 1-64 lower-case letters, digits, _ and -; a letter or digit first.",
            param=at,
        )
    return data


def _title(data: Any, at: str) -> str:
    if not isinstance(data, str) or not data.strip() or len(data) > MAX_TITLE or not data.isprintable():
        raise InvalidRequest(f"The title of a phase is a text of 1 to {MAX_TITLE} characters.", param=at)
    return data.strip()


def _vendors(data: Any, at: str) -> tuple[str, ...] | None:
    if data is None:
        return None
    if not isinstance(data, list) or not data or not all(isinstance(name, str) and name for name in data):
        raise InvalidRequest(
            "`vendors` are names of vendors, at least one.", param=at, remedy="Send null to allow them all."
        )
    return tuple(dict.fromkeys(data))


def _flag(data: Any, at: str) -> bool:
    if data is None or isinstance(data, bool):
        return bool(data)
    raise InvalidRequest("Say true or false.", param=at)


# -- what makes sense ----------------------------------------------------------------------------------------


def check_phases(phases: Sequence[Phase], places: Sequence[str]) -> None:
    """Raises InvalidRequest for phases that cannot be walked through one after another; `places` name them in errors."""
    if not 1 <= len(phases) <= MAX_PHASES:
        raise InvalidRequest(f"A plan has 1 to {MAX_PHASES} phases.", param="phases")
    for position, (phase, at) in enumerate(zip(phases, places, strict=True)):
        earlier = phases[:position]
        if any(phase.key == other.key for other in earlier):
            raise InvalidRequest(f"Two phases have the key {phase.key!r}.", param=f"{at}.key")
        _check_audience(phase.audience, earlier, f"{at}.audience")
        _check_entry(phase, earlier, f"{at}.entry")
        _check_exit(phase, position == len(phases) - 1, at)


def _check_audience(audience: Audience, earlier: Sequence[Phase], at: str) -> None:
    if any(isinstance(other.audience, Everyone) for other in earlier):
        raise InvalidRequest("A phase before it lets in everyone: nobody is left to enter it.", param=at)
    match audience:
        case Segment(conditions):
            _check_conditions(conditions, f"{at}.constraints")
        case Percentage(_, conditions):
            _check_conditions(conditions, f"{at}.filter")
            _check_share(audience, earlier, f"{at}.basis_points")


def _check_conditions(conditions: Sequence[Constraint], at: str) -> None:
    if (field := contradiction(conditions)) is not None:
        raise InvalidRequest(f"Nobody can enter: no value of {field} meets all of its conditions.", param=at)


def _check_share(audience: Percentage, earlier: Sequence[Phase], at: str) -> None:
    if audience.basis_points == 0 and earlier:
        raise InvalidRequest("Nobody can enter: the share is 0.", param=at)
    for other in earlier:
        before = other.audience
        if (
            isinstance(before, Percentage)
            and set(before.filter) == set(audience.filter)
            and audience.basis_points < before.basis_points
        ):
            raise InvalidRequest(
                f"A share only grows from phase to phase: {other.key} has {before.basis_points} already.",
                param=at,
                remedy="To let in fewer, roll back when it is time.",
            )


def _check_entry(phase: Phase, earlier: Sequence[Phase], at: str) -> None:
    opens = _opens(phase.entry)
    for other in earlier:
        sooner = _opens(other.entry)
        if opens is not None and sooner is not None and opens < sooner:
            raise InvalidRequest(
                f"{other.key}, which comes first, opens at {rfc3339(sooner)}, not before.",
                param=f"{at}.not_before",
            )


def _check_exit(phase: Phase, is_last: bool, at: str) -> None:
    if phase.exit is None and phase.moves_on:
        raise InvalidRequest("A phase that moves on by itself says by `exit` when.", param=f"{at}.moves_on")
    if phase.exit is not None and is_last:
        raise InvalidRequest("Nothing follows the last phase, so it has no exit.", param=f"{at}.exit")
    if isinstance(phase.audience, Percentage) and phase.audience.basis_points == 0:
        for name in MINIMUMS:
            if phase.exit is not None and getattr(phase.exit, name) is not None:
                raise InvalidRequest(
                    "Nobody is in, so nothing can ever be counted: the plan could not leave this phase.",
                    param=f"{at}.exit.{name}",
                )


def _opens(gate: Gate | None) -> int | None:
    return gate.not_before if gate is not None else None


# -- what may change while it is open ------------------------------------------------------------------------


def check_lock(running: RunningPlan, wanted: Plan, *, but: str | None = None) -> None:
    """Raises Conflict unless the phases that are open stay what and where they are; of the phase `but`, the place alone counts."""
    for broken in _broken(running.open_phases, wanted.phases, but):
        raise Conflict(
            broken.message,
            **broken.members,
            remedy="Restart the phase with the change, roll back to before it, or say it in a later phase.",
        )


def _broken(open_phases: Sequence[Phase], wanted: Sequence[Phase], but: str | None) -> Iterator[Conflict]:
    kept = {phase.key for phase in wanted}
    for old, new in itertools.zip_longest(open_phases, wanted[: len(open_phases)]):
        if old.key not in kept:
            yield Conflict(f"{old.key} is open: it cannot be removed.", param=f"phases.{old.key}")
        elif old.key != new.key:
            place = f"phases.{new.key}.after"
            yield Conflict(f"{new.key} would stand before {old.key}, which is open.", param=place)
        for name in LOCKED:
            if old.key != but and getattr(old, name) != getattr(new, name):
                place = f"phases.{old.key}.{name}"
                yield Conflict(f"{old.key} is open: its {name} cannot change.", param=place)


def check_widened(old: Phase, new: Phase) -> None:
    """Raises Conflict for an audience that could lose somebody."""
    if not _widens(old.audience, new.audience):
        raise Conflict(
            f"The audience of {old.key} can only grow while it is open.",
            param=f"phases.{old.key}.audience",
            remedy="Roll back, which says how many lose access, and change it then.",
        )


def _widens(old: Audience, new: Audience) -> bool:
    match old, new:
        case _, Everyone():
            return True
        case Percentage(), Percentage():
            return old.basis_points <= new.basis_points and set(new.filter) <= set(old.filter)
        case Granted(), Granted():
            return not new.cohorts or (bool(old.cohorts) and set(old.cohorts) <= set(new.cohorts))
        case Segment(), Segment():
            return set(new.conditions) <= set(old.conditions)
    return False
