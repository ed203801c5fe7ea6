"""`rollout statements ...`"""

from __future__ import annotations

import click

from rollout.cli.context import (
    check_one_format,
    csv_option,
    json_option,
    limit_option,
    print_file,
    print_json,
    show_rows,
    wired,
)
from rollout.core.statements import STATEMENT_COLUMNS, TOTAL_COLUMNS, checked_json, statement_rows, total_row

month_option = click.option("--month", help="Such as 2026-11, in each tenant's time zone. Default: this one.")


@click.group()
def statements() -> None:
    """What a month came to, to the micro-dollar."""


@statements.command("list")
@month_option
@limit_option()
@csv_option
@json_option
def list_(month: str | None, limit: int, as_csv: bool, as_json: bool) -> None:
    """What each tenant's statement of a month comes to."""
    check_one_format(as_csv, as_json)
    with wired() as services:
        name = services.statements.month(month).name
        rows = [total_row(name, *row) for row in services.statements.page(name, after=None, limit=limit)]
    if as_csv:
        print_file("csv", TOTAL_COLUMNS, rows)
    else:
        show_rows(rows, as_json, "There is no tenant. Add one: rollout tenants add", limit=limit)


@statements.command("show")
@click.argument("tenant")
@month_option
@csv_option
@json_option
def show_(tenant: str, month: str | None, as_csv: bool, as_json: bool) -> None:
    """A tenant's statement: its uses, its adjustments, and what its money meters say of the month."""
    check_one_format(as_csv, as_json)
    with wired() as services:
        done = services.statements.get(tenant, month)
    shown, rows = checked_json(done), statement_rows(done)
    if as_json:
        print_json(shown)
    elif as_csv:
        print_file("csv", STATEMENT_COLUMNS, rows)
    else:
        total = {"kind": "total", **done.total.as_json()}
        columns = ("kind", "feature", "model", *done.total.as_json(), "reason")
        show_rows([*rows, dict.fromkeys(STATEMENT_COLUMNS) | total], as_json, "", columns=columns)
        for check in shown["checks"]:
            verdict = (
                "agrees" if check["agrees"] else f"DIFFERS: the statement says {check['stated_usd_micro']}"
            )
            click.echo(f"meter {check['name']} booked {check['booked_usd_micro']}: {verdict}", err=True)
