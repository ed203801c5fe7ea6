"""`rollout adjustments ...`"""

from __future__ import annotations

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.cli.moments import MOMENT
from rollout.core.adjustments import UNITS, NewAdjustment, adjustment_json

COLUMNS = ("id", "tenant", "feature", "unit", "amount", "at", "created_by", "reason")


@click.group()
def adjustments() -> None:
    """Corrections of what a tenant used: in its meters, and in its statement."""


@adjustments.command("list")
@click.option("--tenant")
@limit_option(100)
@json_option
def list_(tenant: str | None, limit: int, as_json: bool) -> None:
    """Adjustments, last id first."""
    with wired() as services:
        found = services.adjustments.page(tenant=tenant, cursor=None, limit=limit)
    show_rows(
        [adjustment_json(adjustment) for adjustment in found],
        as_json,
        "No adjustments. Make one: rollout adjustments add acme image-generation usd_micro -500000 --reason 'refund'",
        columns=COLUMNS,
        limit=limit,
    )


@adjustments.command("show")
@click.argument("adjustment")
@json_option
def show_(adjustment: str, as_json: bool) -> None:
    """One adjustment."""
    with wired() as services:
        show(adjustment_json(services.adjustments.get(adjustment)), as_json)


@adjustments.command("add", context_settings={"ignore_unknown_options": True})
@click.argument("tenant")
@click.argument("feature")
@click.argument("unit", type=click.Choice(UNITS))
@click.argument("amount", type=int)
@click.option("--at", type=MOMENT, help="When it was used, and so in which windows. Default: now.")
@click.option("--id", "adjustment_id", help="adj_ and then anything of your own: said twice it is one.")
@change_options
def add(
    tenant: str,
    feature: str,
    unit: str,
    amount: int,
    at: int | None,
    adjustment_id: str | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Correct what TENANT used of FEATURE by AMOUNT; -500000 of usd_micro gives 50 cents back."""
    with wired() as services:
        asked = NewAdjustment(tenant, feature, unit, amount, at, adjustment_id)
        adjustment, is_new = services.adjustments.add(actor(), asked, reason, dry_run=dry_run)
        show(adjustment_json(adjustment), as_json)
    said(f"adjustment {adjustment.id} {'added' if is_new else 'was there already'}", dry_run)
