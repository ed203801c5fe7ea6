"""`rollout usage`"""

from __future__ import annotations

from typing import Any

import click

from rollout.cli.context import (
    check_one_format,
    csv_option,
    json_option,
    print_file,
    print_json,
    show_rows,
    wired,
)
from rollout.core.usage import ADMIN_DIMENSIONS, report_columns, report_json, report_rows


@click.command()
@click.option(
    "--tenant", help="Of this tenant only, with days in its time zone; else of all, with days in UTC."
)
@click.option(
    "--from", "since", help="A day, or a time in RFC 3339. Default: 30 days that end with the last one."
)
@click.option("--to", "until", help="The last day, or a time that it ends before. Default: today.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(ADMIN_DIMENSIONS),
    help="What to cut it by; several times for several.",
)
@csv_option
@json_option
def usage(
    tenant: str | None, since: str | None, until: str | None, by: tuple[str, ...], as_csv: bool, as_json: bool
) -> None:
    """What was used and what it cost, straight from the books."""
    check_one_format(as_csv, as_json)
    with wired() as services:
        report = services.usage.overview(tenant, since, until, ",".join(by))
    rows = report_rows(report)
    if as_json:
        print_json(report_json(report))
    elif as_csv:
        print_file("csv", report_columns(report), rows)
    else:
        total: dict[str, Any] = {**dict.fromkeys(by), **report.total.as_json()}
        shown = [*rows, {**total, by[0]: "total"}] if by and rows else rows
        show_rows(shown, as_json, "Nothing was used in this time. Another: --from 2026-11-01 --to 2026-11-30")
