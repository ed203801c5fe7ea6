"""`rollout audit ...`"""

from __future__ import annotations

import sys

import click

from rollout.cli.context import FAILED, json_option, limit_option, print_json, show_rows, wired

COLUMNS = ("seq", "at", "actor", "action", "subject", "tenant", "reason")


@click.group()
def audit() -> None:
    """Who changed what, when and why."""


@audit.command("list")
@click.option("--tenant", help="What concerned this tenant only.")
@click.option("--subject", help="What happened to the thing with this id only.")
@limit_option(50)
@json_option
def list_(tenant: str | None, subject: str | None, limit: int, as_json: bool) -> None:
    """Changes, newest first; --json shows before and after too."""
    from rollout.services.audit import audit_json

    with wired() as services:
        found = services.audit.page(tenant=tenant, subject=subject, limit=limit)
    show_rows(
        [audit_json(row) for row in found],
        as_json,
        "No changes here. Every change stands in this log from the first one on.",
        columns=COLUMNS,
        limit=limit,
    )


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
