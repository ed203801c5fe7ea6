"""`rollout jobs ...`"""

from __future__ import annotations

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.core.jobs import STATES, job_json

COLUMNS = ("id", "tenant", "kind", "subject", "state", "attempt", "run_at", "last_error")


@click.group()
def jobs() -> None:
    """Work left for later, such as messages to webhooks: what waits, what was done, what died."""


@jobs.command("list")
@click.option("--state", type=click.Choice(STATES), help="Default: all.")
@click.option("--kind", help="Such as webhook.")
@click.option("--subject", help="What it is about: the id of a webhook, a hold.")
@limit_option(100)
@json_option
def list_(state: str | None, kind: str | None, subject: str | None, limit: int, as_json: bool) -> None:
    """Background jobs, newest first."""
    with wired() as services:
        found = services.jobs.page(state=state, kind=kind, subject=subject, cursor=None, limit=limit)
    show_rows(
        [job_json(job) for job in found],
        as_json,
        "No job is like that: nothing waits and nothing died.",
        columns=COLUMNS,
        limit=limit,
    )


@jobs.command("show")
@click.argument("job")
@json_option
def show_(job: str, as_json: bool) -> None:
    """One job."""
    with wired() as services:
        show(job_json(services.jobs.get(job)), as_json)


@jobs.command("replay")
@click.argument("job")
@change_options
def replay(job: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Do an ended job again, at once and with all of its attempts."""
    with wired() as services:
        show(job_json(services.jobs.replay(actor(), job, reason, dry_run=dry_run)), as_json)
    said(f"job {job} will be done again", dry_run)
