"""`rollout topups ...`"""

from __future__ import annotations

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.cli.meters import SHARED, owner
from rollout.cli.moments import MOMENT
from rollout.core.meters import PLATFORM
from rollout.core.topups import NewTopUp, topup_json

COLUMNS = ("id", "tenant", "meter", "subject", "amount", "effective", "ends_at", "voided_at", "reason")


@click.group()
def topups() -> None:
    """Room in one window of a meter, beyond its cap."""


@topups.command("list")
@click.option("--tenant", help="`-`: of the meters that tenants share.")
@click.option("--meter", help="The meter's id.")
@limit_option(100)
@json_option
def list_(tenant: str | None, meter: str | None, limit: int, as_json: bool) -> None:
    """Top-ups, those that have ended too, last id first."""
    with wired() as services:
        found = services.topups.page(
            tenant=PLATFORM if tenant == SHARED else tenant, meter=meter, cursor=None, limit=limit
        )
    show_rows(
        [topup_json(topup) for topup in found],
        as_json,
        "No top-ups. Give one: rollout topups add acme image-day 50 --reason 'launch week'",
        columns=COLUMNS,
        limit=limit,
    )


@topups.command("show")
@click.argument("topup")
@json_option
def show_(topup: str, as_json: bool) -> None:
    """One top-up."""
    with wired() as services:
        show(topup_json(services.topups.get(topup)), as_json)


@topups.command("add")
@click.argument("tenant")
@click.argument("name")
@click.argument("amount", type=int)
@click.option("--effective", type=MOMENT, help="From when on, and so in which window. Default: now.")
@click.option("--expires", type=MOMENT, help="Until when. Default: the end of that window.")
@click.option("--subject", help="The key's id or the end user's, where the meter has a window for each.")
@click.option("--id", "topup_id", help="top_ and then anything of your own: said twice it is one top-up.")
@change_options
def add(
    tenant: str,
    name: str,
    amount: int,
    effective: int | None,
    expires: int | None,
    subject: str | None,
    topup_id: str | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Give TENANT's meter NAME (TENANT `-`: one that tenants share) AMOUNT more, in one of its windows."""
    with wired() as services:
        meter = services.meters.named(owner(tenant), name)
        asked = NewTopUp(meter.id, amount, effective, expires, subject, topup_id)
        topup, is_new = services.topups.add(actor(), asked, reason, dry_run=dry_run)
        show(topup_json(topup), as_json)
    said(f"top-up {topup.id} {'added' if is_new else 'was there already'}", dry_run)


@topups.command("void")
@click.argument("topup")
@change_options
def void(topup: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Take back what nobody drew of a top-up."""
    with wired() as services:
        show(topup_json(services.topups.void(actor(), topup, reason, dry_run=dry_run)), as_json)
    said(f"top-up {topup} void", dry_run)
