"""`rollout feedback ...`"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from rollout.cli.context import (
    actor,
    change_options,
    format_option,
    json_option,
    limit_option,
    print_file,
    said,
    show,
    show_rows,
    wired,
)
from rollout.core.exports import Format
from rollout.core.feedback import COLUMNS, STATES, TRIAGE, Wanted, feedback_json
from rollout.core.figures import DIMENSIONS, FiguresQuery
from rollout.core.usage import report_json, report_rows

F = TypeVar("F", bound=Callable[..., Any])

_COLUMNS = ("id", "tenant", "generation", "rating", "reasons", "comment", "state", "model", "created_at")


def filter_options(command: F) -> F:
    """An option for each member of `Wanted`."""
    for option in (
        click.option("--model"),
        click.option("--vendor"),
        click.option("--phase"),
        click.option("--feature"),
        click.option("--rating", type=click.Choice(["up", "down"])),
        click.option("--state", type=click.Choice(STATES)),
        click.option("--end-user"),
        click.option("--generation"),
        click.option("--tenant"),
    ):
        command = option(command)
    return command


@click.group()
def feedback() -> None:
    """What end users say about generations."""


@feedback.command("list")
@filter_options
@limit_option(50)
@json_option
def list_(limit: int, as_json: bool, **wanted: Any) -> None:
    """The newest first."""
    with wired() as services:
        rows = [
            feedback_json(item) for item in services.feedback.page(Wanted(**wanted), before=None, limit=limit)
        ]
    show_rows(
        rows,
        as_json,
        "No feedback. It comes by POST /api/v1/feedback, with a key or a handle.",
        columns=_COLUMNS,
        limit=limit,
    )


@feedback.command("export")
@filter_options
@format_option
def export(format_: Format, **wanted: Any) -> None:
    """Everything that matches, the newest first, as CSV or as a JSON array with one item a line."""
    with wired() as services:
        rows = (feedback_json(item) for item in services.feedback.every(Wanted(**wanted)))
        print_file(format_, COLUMNS, rows)


@feedback.command("figures")
@click.option("--tenant")
@click.option("--feature")
@click.option("--from", "since", help="The first day, in UTC. Default: 30 days that end with the last one.")
@click.option("--to", "until", help="The last day, in UTC. Default: today.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(DIMENSIONS),
    default=("phase", "vendor"),
    help="What to count by; several times for several. Default: phase and vendor.",
)
@json_option
def figures(
    tenant: str | None,
    feature: str | None,
    since: str | None,
    until: str | None,
    by: tuple[str, ...],
    as_json: bool,
) -> None:
    """Ratings counted by what the pictures were made with; spam and what was withdrawn do not count."""
    with wired() as services:
        done = services.feedback.figures(FiguresQuery(tenant, feature, since, until, by))
    if as_json:
        show(report_json(done), as_json)
    else:
        show_rows(report_rows(done), as_json, "Nobody rated a picture in this time.")


@feedback.command("show")
@click.argument("feedback")
@json_option
def show_(feedback: str, as_json: bool) -> None:
    """One of them."""
    with wired() as services:
        show(feedback_json(services.feedback.get(feedback)), as_json)


@feedback.command("set")
@click.argument("feedback")
@click.option("--state", type=click.Choice(TRIAGE), required=True)
@change_options
def set_(feedback: str, state: Any, reason: str, dry_run: bool, as_json: bool) -> None:
    """Triage one: open, resolved or spam."""
    with wired() as services:
        item = services.feedback.set_state(actor(), feedback, state, reason, dry_run=dry_run)
        show(feedback_json(item), as_json)
    said(f"feedback {feedback} {state}", dry_run)
