"""Meters: what is limited, over which window, by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["image", "usd_micro", "request", "slot"]
Period = Literal["minute", "day", "month", "life", "concurrent"]
Level = Literal["tenant", "feature"]


@dataclass(frozen=True)
class Meter:
    """A limit of one tenant. `feature` None (level `tenant`) counts all features and is never hard: generation must not stop analysis."""

    id: str
    tenant_id: str
    name: str
    level: Level
    feature: str | None
    unit: Unit
    period: Period
    tz: str
    cap: int
    hard: bool = True
    version: int = 1
    created_at: int = 0
