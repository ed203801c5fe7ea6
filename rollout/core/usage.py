"""Reports: which period, cut by what, in lines and a total; and how the ledger's figures add up to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo

from rollout.core.meters import window
from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

DIMENSIONS = ("day", "model", "key", "feature", "end_user")
"""What a tenant's report may be cut by."""

ADMIN_DIMENSIONS = (*DIMENSIONS, "tenant", "phase", "vendor")

MAX_DAYS = 366
DEFAULT_DAYS = 30
QUARTER = 900
"""Seconds. Days begin at a quarter of an hour UTC in every zone, so quarters add up to days of any zone."""

YEARS = range(2000, 2201)
"""In which everything lies that reports are asked for."""

_FIGURE_OF = {"usd_micro": "cost_usd_micro", "image": "images", "request": "requests"}

D = TypeVar("D", bound=date)


class Counted(Protocol):
    """What a line of a report holds."""

    def as_json(self) -> dict[str, Any]: ...


F = TypeVar("F", bound=Counted)


@dataclass(frozen=True)
class Figures:
    """What was used. `requests` were charged or are still open: voided ones do not count.

    `input_tokens` with cached ones. `pending_usd_micro` is reserved by calls that have not ended, or whose
    outcome is unknown: `cost_usd_micro` may still grow by it.
    """

    requests: int = 0
    images: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd_micro: int = 0
    pending_usd_micro: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    def as_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Tally:
    """Figures of one group. `names` maps dimensions to their values, those that are missing have none; `quarter`
    is the beginning of the group's quarter of an hour in UTC epoch seconds, None when the report is not by day."""

    quarter: int | None
    names: Mapping[str, str | None]
    figures: Figures


@dataclass(frozen=True)
class Correction:
    """An adjustment as reports count it: a person corrected what a tenant used of a feature by `amount` of `unit`
    (negative: given back), at `at` in UTC epoch seconds. No model, key or end user had a part in it."""

    tenant_id: str
    id: str
    feature: str
    unit: str
    amount: int
    at: int
    reason: str

    @property
    def figures(self) -> Figures:
        return Figures(**{_FIGURE_OF[self.unit]: self.amount})

    def tally(self) -> Tally:
        return Tally(
            self.at - self.at % QUARTER, {"tenant": self.tenant_id, "feature": self.feature}, self.figures
        )


@dataclass(frozen=True)
class Period:
    """From `since` up to, without, `until`, in UTC epoch seconds; days are those of `tz`."""

    since: int
    until: int
    tz: str


@dataclass(frozen=True)
class Line(Generic[F]):
    names: Mapping[str, str | None]
    figures: F


@dataclass(frozen=True)
class Report(Generic[F]):
    period: Period
    by: tuple[str, ...]
    lines: tuple[Line[F], ...]
    total: F


def period(since: str | None, until: str | None, tz: str, now: int) -> Period:
    """The period that `?from=&to=` name: days in `tz`, both included, or RFC 3339 times, the end excluded.

    Without them the 30 days that end today. Raises InvalidRequest.
    """
    end = _edge("to", until, tz)[1] if until else window("day", tz, now)[1]
    assert end is not None  # a day ends
    start = _edge("from", since, tz)[0] if since else _days_before(end, DEFAULT_DAYS, tz)
    if start >= end:
        raise InvalidRequest("`from` must lie before `to`.", param="from")
    if start < _days_before(end, MAX_DAYS, tz):
        raise InvalidRequest(f"A report covers at most {MAX_DAYS} days.", param="from")
    return Period(start, end, tz)


def dimensions(text: str | None, allowed: Sequence[str]) -> tuple[str, ...]:
    """`day,model` -> `("day", "model")`; None and "" -> (). Raises InvalidRequest."""
    asked = tuple(dict.fromkeys(part.strip() for part in text.split(","))) if text else ()
    for name in asked:
        if name not in allowed:
            raise InvalidRequest(
                f"A report is cut by {', '.join(allowed)}; not by {name[:50]!r}.", param="by"
            )
    return asked


def report(asked: Period, by: tuple[str, ...], tallies: Iterable[Tally]) -> Report[Figures]:
    """The lines, in order of their names, those without a name last."""
    sums: dict[tuple[str | None, ...], Figures] = {}
    for tally in tallies:
        names = tuple(
            _day(tally.quarter, asked.tz) if name == "day" else tally.names.get(name) for name in by
        )
        sums[names] = sums.get(names, Figures()) + tally.figures
    lines = [Line(dict(zip(by, names, strict=True)), figures) for names, figures in sums.items()]
    return Report(asked, by, in_order(lines), sum(sums.values(), Figures()))


def in_order(lines: Iterable[Line[F]]) -> tuple[Line[F], ...]:
    """By their names, those without a name last."""
    return tuple(sorted(lines, key=lambda line: [(name is None, name or "") for name in line.names.values()]))


def report_json(done: Report[F]) -> dict[str, Any]:
    """The shape that clients see."""
    return {
        "from": rfc3339(done.period.since),
        "to": rfc3339(done.period.until),
        "tz": done.period.tz,
        "by": list(done.by),
        "data": report_rows(done),
        "total": done.total.as_json(),
    }


def report_rows(done: Report[F]) -> list[dict[str, Any]]:
    return [{**line.names, **line.figures.as_json()} for line in done.lines]


def report_columns(done: Report[F]) -> list[str]:
    """The names of a row's members, also when there is no row."""
    return [*done.by, *done.total.as_json()]


def _edge(param: str, text: str, tz: str) -> tuple[int, int]:
    """(start, end) of a day; a time is both."""
    try:
        if len(text) <= len("2026-11-22"):
            return _day_of(_in_range(date.fromisoformat(text)), tz)
        moment = _in_range(datetime.fromisoformat(text))
        if moment.tzinfo is None:
            raise ValueError
    except ValueError:
        raise InvalidRequest(
            f"`{param}` must be a day such as 2026-11-22, or a time such as 2026-11-22T00:00:00Z.",
            param=param,
        ) from None
    return int(moment.timestamp()), int(moment.timestamp())


def _in_range(day: D) -> D:
    if day.year not in YEARS:
        raise ValueError
    return day


def _day_of(day: date, tz: str) -> tuple[int, int]:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(tz))
    start, end = window("day", tz, int(noon.timestamp()))
    assert end is not None  # a day ends
    return start, end


def _days_before(end: int, days: int, tz: str) -> int:
    """The start of the day `days - 1` days before the last one that lies before `end`."""
    last = datetime.fromtimestamp(end - 1, ZoneInfo(tz)).date()
    return _day_of(last - timedelta(days=days - 1), tz)[0]


def _day(moment: int | None, tz: str) -> str:
    assert moment is not None  # a report by day is made of tallies by quarter
    start, _ = window("day", tz, moment)
    return datetime.fromtimestamp(start, ZoneInfo(tz)).date().isoformat()
