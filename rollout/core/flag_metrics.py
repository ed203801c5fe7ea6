"""What SDKs tell of themselves, and how often their flags were on and off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollout.core.times import rfc3339

HOUR = 3600
MAX_VARIANTS = 100
"""Variants that are counted for each flag, app and hour."""


@dataclass(frozen=True)
class FlagClient:
    """A process that asks for flags. Times in UTC epoch seconds, `interval` in milliseconds; `strategies` are those it knows."""

    environment: str
    app_name: str
    instance_id: str
    sdk: str | None
    strategies: tuple[str, ...]
    interval: int | None
    first_seen_at: int
    seen_at: int


@dataclass(frozen=True)
class Count:
    """How often a flag was on, off, and each of its variants chosen, at about `at` (UTC epoch seconds)."""

    flag: str
    at: int
    yes: int
    no: int
    variants: Mapping[str, int]


@dataclass(frozen=True)
class FlagMetric:
    """All counts of a flag by one app within an hour that begins at `hour`, UTC epoch seconds."""

    environment: str
    flag: str
    app_name: str
    hour: int
    yes: int
    no: int
    variants: Mapping[str, int]

    def plus(self, yes: int, no: int, variants: Mapping[str, int]) -> FlagMetric:
        summed = dict(self.variants)
        for name, count in variants.items():
            if name in summed or len(summed) < MAX_VARIANTS:
                summed[name] = summed.get(name, 0) + count
        where = self.environment, self.flag, self.app_name, self.hour
        return FlagMetric(*where, self.yes + yes, self.no + no, summed)


def flag_client_json(client: FlagClient) -> dict[str, Any]:
    return {
        "environment": client.environment,
        "app_name": client.app_name,
        "instance_id": client.instance_id,
        "sdk": client.sdk,
        "strategies": list(client.strategies),
        "interval_ms": client.interval,
        "first_seen_at": rfc3339(client.first_seen_at),
        "seen_at": rfc3339(client.seen_at),
    }


def flag_metric_json(metric: FlagMetric) -> dict[str, Any]:
    return {
        "hour": rfc3339(metric.hour),
        "environment": metric.environment,
        "flag": metric.flag,
        "app_name": metric.app_name,
        "yes": metric.yes,
        "no": metric.no,
        "variants": dict(metric.variants),
    }
