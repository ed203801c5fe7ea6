"""`rollout audit ...`"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

import click

from rollout.cli.context import (
    FAILED,
    format_option,
    json_option,
    limit_option,
    print_file,
    print_json,
    show_rows,
    wired,
)
from rollout.cli.moments import MOMENT
from rollout.core.exports import Format

F = TypeVar("F", bound=Callable[..., Any])

COLUMNS = ("seq", "at", "actor", "action", "subject", "tenant", "reason")


def search_options(command: F) -> F:
    """An option for each member of `Search`."""
    for option in (
        click.option("--to", "until", type=MOMENT, help="Before this time, in RFC 3339, or day."),
        click.option("--from", "since", type=MOMENT, help="From this time, in RFC 3339, or day in UTC on."),
        click.option("--action", help="Of this kind only, such as grant.added."),
        click.option("--actor", help="By this one only, such as user:ana@example.com or cli:ana."),
        click.option("--subject", help="What happened to the thing with this id only."),
        click.option("--tenant", help="What concerned this tenant only."),
    ):
        command = option(command)
    return command


@click.group()
def audit() -> None:
    """Who changed what, when and why."""


@audit.command("list")
@search_options
@limit_option(50)
@json_option
def list_(limit: int, as_json: bool, **wanted: Any) -> None:
    """Changes, newest first; --json shows before and after too."""
    from rollout.services.audit import Search, audit_json

    with wired() as services:
        rows = [audit_json(row) for row in islice(services.audit.walk(Search(**wanted)), limit)]
    show_rows(
        rows,
        as_json,
        "No changes here. Every change stands in this log from the first one on.",
        columns=COLUMNS,
        limit=limit,
    )


@audit.command("export")
@search_options
@format_option
def export(format_: Format, **wanted: Any) -> None:
    """All changes that match, newest first, as CSV or as a JSON array with one change a line."""
    from rollout.services.audit import AUDIT_COLUMNS, Search, audit_json

    with wired() as services:
        rows = (audit_json(row) for row in services.audit.walk(Search(**wanted)))
        print_file(format_, AUDIT_COLUMNS, rows)


@audit.command("verify")
@json_option
def verify(as_json: bool) -> None:
    """Check that no entry was changed, removed or slipped in; exit code 1 when one was."""
    with wired() as services:
        problem = services.audit.verify()
    if as_json:
        print_json({"intact": problem is None, "problem": problem})
    else:
        click.echo("The audit log is intact." if problem is None else f"error: {problem}", err=bool(problem))
    if problem:
        sys.exit(FAILED)
