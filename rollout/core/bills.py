"""Where the money of one request went: its price, the lines that its cost is made of, and every entry of the ledger.

    price          dated, from the catalogue
    lines          tokens of each kind times their rate: together, rounded up once, the cost
    reserved       the most that it could come to, by unit
    entries        what it changed in each window, and what the window had used after it
    adjustments    what people corrected since, and named it

Money in micro-dollars, times UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rollout.core.adjustments import Adjustment, adjustment_json
from rollout.core.catalogue import Price, Usage
from rollout.core.decisions import GENERATION
from rollout.core.holds import OPEN, Entry, Hold
from rollout.core.meters import PLATFORM, Level, Unit
from rollout.core.prices import CostLine, image_lines, message_lines, rounded_up
from rollout.core.times import rfc3339
from rollout.errors import PriceUnknown

_TOKENS = [field.name for field in fields(Usage)]


@dataclass(frozen=True)
class Booked:
    """An entry with its meter; `ends` is its window's, `used` what that window had used after it.

    Entries of one second count in the order of their ids, those of no hold last.
    """

    entry: Entry
    name: str
    level: Level
    unit: Unit
    ends: int | None
    used: int


@dataclass(frozen=True)
class Bill:
    """`price` None: no model of the catalogue has it any more; `lines` are empty where the charge was not taken from usage."""

    hold: Hold
    price: Price | None
    lines: tuple[CostLine, ...]
    entries: Sequence[Booked]
    adjustments: Sequence[Adjustment]


def bill(
    hold: Hold, price: Price | None, entries: Sequence[Booked], adjustments: Sequence[Adjustment]
) -> Bill:
    return Bill(hold, price, _lines(hold, price), entries, adjustments)


def bill_json(bill: Bill) -> dict[str, Any]:
    """`charged_usd_micro` null: not known yet. `lines_usd_micro` null: nothing to add up. A line's cost is in millionths of a
    micro-dollar, so that nothing is lost before it is rounded."""
    hold, price = bill.hold, bill.price
    return {
        "price": None if price is None else {"id": price.id, "as_of": price.as_of, "source": price.source},
        "price_id": hold.price_id,
        "lines": [_line_json(line) for line in bill.lines],
        "lines_usd_micro": rounded_up(bill.lines) if bill.lines else None,
        "reserved": {line.unit: line.amount for line in hold.lines},
        "charged_usd_micro": None if hold.state in OPEN else hold.cost_usd_micro,
        "settled_from": hold.settled_from,
        "entries": [_booked_json(booked) for booked in bill.entries],
        "adjustments": [adjustment_json(one) for one in bill.adjustments],
    }


def _lines(hold: Hold, price: Price | None) -> tuple[CostLine, ...]:
    """The tokens that the vendor told, each kind at the price of that day."""
    told: Mapping[str, int] = hold.usage or {}
    if price is None or hold.settled_from != "usage" or not any(map(told.get, _TOKENS)):
        return ()
    usage = Usage(**{name: told.get(name, 0) for name in _TOKENS})
    lines_of = image_lines if hold.feature == GENERATION else message_lines
    try:
        return tuple(line for line in lines_of(price, usage) if line.tokens)
    except PriceUnknown:  # the price was changed under its id
        return ()


def _line_json(line: CostLine) -> dict[str, Any]:
    return {
        "unit": line.unit,
        "tokens": line.tokens,
        "usd_micro_per_million": line.per_million,
        "usd_pico": line.millionths,
    }


def _booked_json(booked: Booked) -> dict[str, Any]:
    entry = booked.entry
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "kind": entry.kind,
        "tenant": None if entry.tenant_id == PLATFORM else entry.tenant_id,
        "meter": entry.meter_id,
        "name": booked.name,
        "level": booked.level,
        "unit": booked.unit,
        "subject": entry.subject or None,
        "window": {"start": rfc3339(entry.start), "ends": rfc3339(booked.ends)},
        "d_used": entry.d_used,
        "d_held": entry.d_held,
        "d_cap": entry.d_cap,
        "used": booked.used,
        "settled_from": entry.settled_from,
        "price_id": entry.price_id,
        "actor": entry.actor,
        "reason": entry.reason,
    }
