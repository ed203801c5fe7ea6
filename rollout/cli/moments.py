"""Times on the command line: a date is its midnight in UTC, or RFC 3339 with a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime

import click


class _Moment(click.ParamType[int]):
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            moment = _parse(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is neither a date (2027-03-01) nor a time (2027-03-01T17:00:00Z).", param, ctx
            )
        if not 2000 <= moment.year <= 2200:
            self.fail(f"{value!r} does not lie between the years 2000 and 2200.", param, ctx)
        return int(moment.timestamp())


MOMENT = _Moment()
"""UTC epoch seconds from `2027-03-01` or `2027-03-01T17:00:00+07:00`."""

until_option = click.option(
    "--until", type=MOMENT, help="When it ends: 2027-03-01 (its midnight in UTC), or RFC 3339 with a zone."
)


def _parse(text: str) -> datetime:
    if len(text) == len("2027-03-01"):
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no zone")
    return moment
