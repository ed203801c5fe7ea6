"""What the tests of the ledger share: meters, requests, and a calendar that owes nothing to `core.meters.window`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rollout.core.catalogue import Cost, SettledFrom
from rollout.core.decisions import GENERATION
from rollout.core.holds import Actual, HoldRequest, StoredResult
from rollout.core.meters import Meter, Period, Unit
from rollout.db import meters
from rollout.db.engine import Database
from rollout.services.ids import NewId
from rollout.services.ledger import Emit, Ledger

NOON = 1_795_348_800  # 2026-11-22 12:00:00 UTC
LEASE, GRACE = 120, 900
RESULT = StoredResult(200, {"x-rollout-model": "gpt-image"}, {"data": [{"sha256": "ab"}]})


def meter(unit: Unit, period: Period, cap: int, **changes: Any) -> Meter:
    """A hard meter of acme's image generation; its id and name say what it counts."""
    made = Meter(
        id=f"mtr_{unit}_{period}".replace("usd_micro", "money"),
        tenant_id="acme",
        name=f"{unit}-{period}".replace("usd_micro", "money"),
        level="feature",
        feature=GENERATION,
        unit=unit,
        period=period,
        tz="UTC",
        cap=cap,
    )
    return replace(made, **changes)


def request(*meters: Meter, images: int = 1, money: int = 40_000, **changes: Any) -> HoldRequest:
    """A generation of acme that may cost `money` micro-dollars."""
    made = HoldRequest(
        tenant_id="acme",
        feature=GENERATION,
        decision_id="dec_1",
        request_id="req_1",
        api_key_id="key_1",
        meters=meters,
        meter_rev=0,
        amounts={"image": images, "usd_micro": money, "request": 1, "slot": 1},
        fingerprint="v1:aa",
        idem_key=None,
        vendor="openai",
        model="gpt-image",
        price_id="price_1",
    )
    return replace(made, **changes)


def actual(images: int = 1, money: int = 40_000, source: SettledFrom = "usage") -> Actual:
    return Actual(Cost(money, source, "price_2"), images, {"output": 10}, "upstream_1")


def open_ledger(database: Database, *limits: Meter, new_id: NewId | None = None) -> Ledger:
    """A ledger on a database that has these meters."""
    with database.write() as tx:
        for one in limits:
            meters.add(tx, one)
    return ledger_on(database, new_id=new_id)


def ledger_on(
    database: Database,
    *,
    lease: int = LEASE,
    grace: int = GRACE,
    new_id: NewId | None = None,
    sleep: Callable[[float], None] = lambda _: None,
    emit: Emit = lambda *_: None,
) -> Ledger:
    return Ledger(
        database,
        lease_seconds=lease,
        grace_seconds=grace,
        new_id=new_id or counting_ids(),
        emit=emit,
        sleep=sleep,
    )


def counting_ids() -> NewId:
    """Ids in the order of their making, even within a millisecond."""
    count = itertools.count(1)
    return lambda prefix: f"{prefix}_{next(count):06}"


def calendar_window(period: str, tz: str, now: int) -> tuple[int, int | None]:
    """(start, end) of the window around `now`, found by asking a wall clock when its date changes."""
    if period in ("life", "concurrent"):
        return 0, None
    if period == "minute":
        return now // 60 * 60, now // 60 * 60 + 60
    reach = 40 * 86_400 if period == "month" else 2 * 86_400
    label = _labels(period, ZoneInfo(tz))
    return _first(now - reach, now, label, label(now)), _last(now, now + reach, label, label(now)) + 1


def _labels(period: str, zone: ZoneInfo) -> Callable[[int], date]:
    def label(moment: int) -> date:
        local = datetime.fromtimestamp(moment, zone).date()
        return local.replace(day=1) if period == "month" else local

    return label


def _first(low: int, high: int, label: Callable[[int], date], wanted: date) -> int:
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if label(middle) >= wanted else (middle + 1, high)
    return low


def _last(low: int, high: int, label: Callable[[int], date], wanted: date) -> int:
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if label(middle) <= wanted else (low, middle - 1)
    return low
