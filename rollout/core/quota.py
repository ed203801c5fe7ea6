"""A meter from what somebody said of it: alone, or as a part of the quota of a phase."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from rollout.core.decisions import FEATURES
from rollout.core.meters import PLATFORM, Meter, default_name
from rollout.core.schedule import overlaps
from rollout.errors import InvalidRequest

MAX_METERS = 20
"""Of one phase."""

_TYPES: Mapping[str, type] = {
    "name": str, "level": str, "feature": str, "unit": str, "period": str, "cap": int, "hard": bool,
}  # fmt: skip


def new_meter(meter_id: str, tenant_id: str, tz: str, now: int, fields: Mapping[str, Any]) -> Meter:
    """A meter from what was said of it, with the defaults that `Meters.add` promises. Raises InvalidRequest."""
    given = {name: value for name, value in fields.items() if value is not None}
    for name in ("unit", "period", "cap"):
        if name not in given:
            raise InvalidRequest(f"A meter needs a {name}.", param=name)
    feature = given.get("feature")
    if feature is not None and feature not in FEATURES:
        raise InvalidRequest(
            f"There is no feature {feature!r}; there are {', '.join(FEATURES)}.", param="feature"
        )
    if tenant_id == PLATFORM:
        level, words = (
            "platform",
            [feature, given.get("subject"), default_name(given["unit"], given["period"])],
        )
    else:
        level, words = (
            "tenant" if feature is None else "feature",
            [default_name(given["unit"], given["period"])],
        )
    stated = {
        "name": "-".join(word for word in words if word).replace("_", "-"),
        "level": level,
        "feature": None,
        "tz": tz,
        "hard": feature is not None,
        **given,
    }
    return Meter(id=meter_id, tenant_id=tenant_id, created_at=now, **stated)


def parse_quota(data: Any, feature: str, phase: str, at: str) -> tuple[Mapping[str, Any], ...]:
    """The quota of a phase from JSON, as the admin API takes meters, each with its defaults.

    Raises InvalidRequest that names the field below `at`.
    """
    if not isinstance(data, list) or len(data) > MAX_METERS:
        raise InvalidRequest(f"A quota is a list of at most {MAX_METERS} meters.", param=at)
    meters = [_meter(item, feature, phase, f"{at}.{index}") for index, item in enumerate(data)]
    for (_, one), (index, other) in itertools.combinations(enumerate(meters), 2):
        if overlaps(one, other) or one.name == other.name:
            raise InvalidRequest(
                f"The meter {one.name!r} is there already, or counts the same.", param=f"{at}.{index}"
            )
    return tuple({name: getattr(meter, name) for name in _TYPES} for meter in meters)


def _meter(data: Any, feature: str, phase: str, at: str) -> Meter:
    """As it will be when somebody gets it."""
    if not isinstance(data, Mapping):
        raise InvalidRequest("A meter is an object.", param=at)
    for name, value in data.items():
        if name not in _TYPES:
            raise InvalidRequest("A phase's meter has no such member.", param=f"{at}.{name}")
        if type(value) is not _TYPES[name]:
            raise InvalidRequest(f"A meter's {name} is a JSON value of another type.", param=f"{at}.{name}")
    if data.get("feature", feature) != feature:
        raise InvalidRequest(f"A phase of {feature} gives quota of {feature}.", param=f"{at}.feature")
    shared = data.get("level") == "phase"
    place = {"feature": feature, **({"subject": phase} if shared else {})}
    try:
        return new_meter("", PLATFORM if shared else "", "UTC", 0, {**data, **place})
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param=f"{at}.{error.members['param']}") from None
