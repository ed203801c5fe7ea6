"""`rollout generations ...`"""

from __future__ import annotations

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.core.generation_jobs import STATUSES, operator_json

COLUMNS = ("id", "tenant", "status", "progress", "model", "cost_usd_micro", "created_at", "hold")


@click.group()
def generations() -> None:
    """Pictures that partners ordered, by jobs or while they waited: how far they are, and what became of them."""


@generations.command("list")
@click.option("--tenant")
@click.option("--status", type=click.Choice(STATUSES), help="Default: all.")
@limit_option(100)
@json_option
def list_(tenant: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """Generations, newest first."""
    with wired() as services:
        found = services.generations.page(tenant=tenant, status=status, cursor=None, limit=limit)
    show_rows(
        [operator_json(one) for one in found],
        as_json,
        "No generation is like that. Those of one tenant: --tenant acme; what runs: --status running.",
        columns=COLUMNS,
        limit=limit,
    )


@generations.command("show")
@click.argument("generation")
@json_option
def show_(generation: str, as_json: bool) -> None:
    """One generation, without what its tenant wrote and got."""
    with wired() as services:
        show(operator_json(services.generations.get(generation)), as_json)


@generations.command("cancel")
@click.argument("generation")
@change_options
def cancel(generation: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Cancel what a job makes. Before it is sent nothing is charged; afterwards it is, and not delivered."""
    with wired() as services:
        cancelled = services.generations.cancel(actor(), generation, reason, dry_run=dry_run)
        show(operator_json(cancelled), as_json)
    said(f"generation {generation} cancelled", dry_run)
