"""Templates: lists of phases to begin a plan with, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rollout.core.flags import Constraint
from rollout.core.plans import Audience, Everyone, Granted, Percentage, Phase, Segment
from rollout.errors import InvalidRequest

PARTNER_BETA = "partner_beta"
"""The template of a plan for which nobody chose one."""

SHARES = "percentage"
"""The same for the plan of a move in the catalogue."""


def default_phases(feature: str) -> tuple[Phase, ...]:
    """Our own people, partners by grant, those of a program, a share of all, everyone."""
    beta = (Constraint("program", "IN", ("beta",)),)
    return (
        _phase(feature, "internal", "Internal", Granted(("internal",)), 20),
        _phase(feature, "private_beta", "Private beta", Granted(), 100),
        _phase(feature, "wider_beta", "Wider beta", Segment(beta), 200),
        _phase(feature, "percentage", "Percentage", Percentage(1_000), 200),
        _phase(feature, "percentage_50", "Half of all", Percentage(5_000), 200),
        _phase(feature, "general_availability", "General availability", Everyone(), 500),
    )


def _shares(feature: str) -> tuple[Phase, ...]:
    """A share of all tenants that grows."""
    return (
        _phase(feature, "percentage_1", "1 % of all", Percentage(100), 200),
        _phase(feature, "percentage_10", "10 % of all", Percentage(1_000), 200),
        _phase(feature, "percentage_50", "Half of all", Percentage(5_000), 200),
        _phase(feature, "general_availability", "General availability", Everyone(), 500),
    )


def _internal_first(feature: str) -> tuple[Phase, ...]:
    """Our own people, then everyone."""
    return (
        _phase(feature, "internal", "Internal", Granted(("internal",)), 20),
        _phase(feature, "general_availability", "General availability", Everyone(), 500),
    )


TEMPLATES: Mapping[str, Callable[[str], tuple[Phase, ...]]] = {
    PARTNER_BETA: default_phases,
    SHARES: _shares,
    "internal_first": _internal_first,
}


def phases_of(template: str, feature: str) -> tuple[Phase, ...]:
    """Raises InvalidRequest, which names the templates."""
    if template not in TEMPLATES:
        raise InvalidRequest(
            f"There is no template {template!r}; there are {', '.join(TEMPLATES)}.", param="template"
        )
    return TEMPLATES[template](feature)


def _phase(feature: str, key: str, title: str, audience: Audience, a_day: int) -> Phase:
    """One whose approvals bring `a_day` pictures, twenty times that a month, and a dollar for each of a day."""
    limits: list[tuple[str, str, str, int]] = [
        ("image-day", "image", "day", a_day),
        ("image-month", "image", "month", 20 * a_day),
        ("money-month", "usd_micro", "month", a_day * 1_000_000),
        ("minute", "request", "minute", 60),
        ("concurrent", "slot", "concurrent", 4),
    ]
    return Phase(key, title, audience, tuple(_meter(feature, *limit) for limit in limits))


def _meter(feature: str, name: str, unit: str, period: str, cap: int) -> Mapping[str, Any]:
    return {
        "name": name,
        "level": "feature",
        "feature": feature,
        "unit": unit,
        "period": period,
        "cap": cap,
        "hard": True,
    }
