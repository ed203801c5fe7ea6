"""A tenant's statement of a month: what it used, how that was corrected, what it comes to, and what its meters say of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

from rollout.core.catalogue import SettledFrom
from rollout.core.meters import window
from rollout.core.tenants import Tenant
from rollout.core.times import rfc3339
from rollout.core.usage import YEARS, Correction, Figures, Period, Tally
from rollout.errors import InvalidRequest, NotFound

SOURCES: tuple[SettledFrom, ...] = get_args(SettledFrom)

CUT_BY = ("feature", "model", "settled_from")
"""What the tallies of a statement are cut by."""

_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)


@dataclass(frozen=True)
class StatementLine:
    """What was used of a feature by a model; `sources` is the cost by what it was taken from, and adds up to it."""

    feature: str
    model: str
    figures: Figures
    sources: Mapping[SettledFrom, int]


@dataclass(frozen=True)
class MoneyMonth:
    """A tenant's money meter over a whole month: from `start` up to `ends` it booked `used` micro-dollars of
    `feature`, None: of all."""

    tenant_id: str
    meter_id: str
    name: str
    feature: str | None
    start: int
    ends: int
    used: int


@dataclass(frozen=True)
class Check:
    """A money meter of the month beside what the statement says of the same."""

    meter: MoneyMonth
    stated_usd_micro: int

    @property
    def agrees(self) -> bool:
        return self.meter.used == self.stated_usd_micro

    def __str__(self) -> str:
        meter = self.meter
        return (
            f"meter {meter.meter_id} of {meter.tenant_id} booked {meter.used} in the month from {rfc3339(meter.start)}; "
            f"the calls and adjustments of that month cost {self.stated_usd_micro}"
        )


@dataclass(frozen=True)
class Month:
    """A month of the calendar, such as 2026-11, and those beside it that there are."""

    name: str
    period: Period
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Statement:
    """Calls count in the month of the tenant's time zone in which they began, whenever they were settled; corrections in
    the one that they were booked for. `is_over`: the month has ended."""

    tenant: Tenant
    month: Month
    lines: tuple[StatementLine, ...]
    corrections: tuple[Correction, ...]
    checks: tuple[Check, ...]
    is_over: bool

    @property
    def total(self) -> Figures:
        return sum(
            (*(line.figures for line in self.lines), *(one.figures for one in self.corrections)), Figures()
        )

    @property
    def is_final(self) -> bool:
        """Whether only a correction can still change the total."""
        return self.is_over and not self.total.pending_usd_micro


def month_of(name: str | None, tz: str, now: int, first: int = 0) -> Month:
    """The month `name`, such as 2026-11, in `tz`; None: that of now. Nothing was before `first`, in UTC epoch seconds.

    Raises InvalidRequest, and NotFound for a month that has not begun, or was over before `first`.
    """
    name = name or _name(now, tz)
    period = period_of(name, tz)
    if period.since > now:
        raise NotFound(
            f"{name} has not begun in {tz}.", param="month", remedy="Ask for a month that has begun."
        )
    if period.until <= first:
        raise NotFound(
            f"{name} was over before the tenant was added, on {rfc3339(first)}.",
            param="month",
            remedy="Ask for a later month.",
        )
    return Month(
        name,
        period,
        before=_name(period.since - 1, tz) if period.since > first else None,
        after=_name(period.until, tz) if period.until <= now else None,
    )


def period_of(name: str, tz: str) -> Period:
    """`2026-11` as the month of the calendar in `tz`. Raises InvalidRequest."""
    match = _MONTH.fullmatch(name)
    if match is None or int(match[1]) not in YEARS or not 1 <= int(match[2]) <= 12:
        raise InvalidRequest("A month is written such as 2026-11.", param="month")
    inside = datetime(int(match[1]), int(match[2]), 2, 12, tzinfo=ZoneInfo(tz))
    start, end = window("month", tz, int(inside.timestamp()))
    assert end is not None  # a month ends
    return Period(start, end, tz)


def statement(
    tenant: Tenant,
    month: Month,
    tallies: Sequence[Tally],
    corrections: Sequence[Correction],
    meters: Iterable[MoneyMonth],
    now: int,
) -> Statement:
    """From tallies cut by CUT_BY, and the tenant's money meters of that month."""
    return Statement(
        tenant,
        month,
        _lines(tallies),
        tuple(corrections),
        tuple(check(meter, [*tallies, *(one.tally() for one in corrections)]) for meter in meters),
        is_over=month.period.until <= now,
    )


def check(meter: MoneyMonth, tallies: Iterable[Tally]) -> Check:
    """A meter beside what its tenant's tallies of the same month come to, cut by feature."""
    counted = (tally for tally in tallies if meter.feature in (None, tally.names["feature"]))
    return Check(meter, sum(tally.figures.cost_usd_micro for tally in counted))


def _name(moment: int, tz: str) -> str:
    """The month in which `moment` lies."""
    start, _ = window("month", tz, moment)
    return f"{datetime.fromtimestamp(start, ZoneInfo(tz)):%Y-%m}"


def _lines(tallies: Iterable[Tally]) -> tuple[StatementLine, ...]:
    found: dict[tuple[str, str], dict[str | None, Figures]] = {}
    for tally in tallies:
        line = found.setdefault((str(tally.names["feature"]), str(tally.names["model"])), {})
        source = tally.names["settled_from"]
        line[source] = line.get(source, Figures()) + tally.figures
    return tuple(
        StatementLine(
            feature,
            model,
            sum(by_source.values(), Figures()),
            {source: by_source.get(source, Figures()).cost_usd_micro for source in SOURCES},
        )
        for (feature, model), by_source in sorted(found.items())
    )


# -- shapes that clients see ---------------------------------------------------------------------------------


def statement_json(done: Statement) -> dict[str, Any]:
    return {
        "tenant": done.tenant.id,
        "month": done.month.name,
        "from": rfc3339(done.month.period.since),
        "to": rfc3339(done.month.period.until),
        "tz": done.month.period.tz,
        "final": done.is_final,
        "lines": [_line_json(line) for line in done.lines],
        "adjustments": [_correction_json(one) for one in done.corrections],
        "requests": done.total.requests,
        "images": done.total.images,
        "input_tokens": done.total.input_tokens,
        "output_tokens": done.total.output_tokens,
        "total_usd_micro": done.total.cost_usd_micro,
        "pending_usd_micro": done.total.pending_usd_micro,
    }


def checked_json(done: Statement) -> dict[str, Any]:
    """The shape that admins see: with the meters of the month."""
    return {**statement_json(done), "checks": [_check_json(one) for one in done.checks]}


TOTAL_COLUMNS = ("tenant", "name", "tz", "month", *Figures().as_json())


def total_row(month: str, tenant: Tenant, total: Figures) -> dict[str, Any]:
    """What a statement comes to, with TOTAL_COLUMNS."""
    return {"tenant": tenant.id, "name": tenant.name, "tz": tenant.tz, "month": month, **total.as_json()}


def _check_json(check: Check) -> dict[str, Any]:
    return {
        "meter": check.meter.meter_id,
        "name": check.meter.name,
        "feature": check.meter.feature,
        "booked_usd_micro": check.meter.used,
        "stated_usd_micro": check.stated_usd_micro,
        "agrees": check.agrees,
    }


def _correction_json(one: Correction) -> dict[str, Any]:
    return {
        "id": one.id,
        "at": rfc3339(one.at),
        "feature": one.feature,
        "unit": one.unit,
        "amount": one.amount,
        "reason": one.reason,
    }


STATEMENT_COLUMNS = (
    "kind", "feature", "model", *Figures().as_json(), *(f"{source}_usd_micro" for source in SOURCES), "at", "reason", "id",
)  # fmt: skip


def statement_rows(done: Statement) -> list[dict[str, Any]]:
    """A row for each line and each correction, with STATEMENT_COLUMNS; the column `cost_usd_micro` adds up to the total."""
    empty = dict.fromkeys(STATEMENT_COLUMNS)
    lines = [{**empty, "kind": "use", **_line_json(line)} for line in done.lines]
    corrected = [
        {
            **empty,
            **one.figures.as_json(),
            "kind": "adjustment",
            "feature": one.feature,
            "at": rfc3339(one.at),
            "reason": one.reason,
            "id": one.id,
        }
        for one in done.corrections
    ]
    return [*lines, *corrected]


def _line_json(line: StatementLine) -> dict[str, Any]:
    by_source = {f"{source}_usd_micro": cost for source, cost in line.sources.items()}
    return {"feature": line.feature, "model": line.model, **line.figures.as_json(), **by_source}
