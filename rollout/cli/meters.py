"""`rollout meters ...`"""

from __future__ import annotations

from typing import Any

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.core.meters import LEVELS, PERIODS, UNITS, limit_json, meter_json

COLUMNS = ("tenant", "name", "feature", "unit", "period", "used", "held", "cap", "hard", "resets_at")


@click.group()
def meters() -> None:
    """Quotas: what a tenant may use of a feature in a minute, a day, a month, in all, or at once."""


@meters.command("list")
@click.option("--tenant")
@limit_option()
@json_option
def list_(tenant: str | None, limit: int, as_json: bool) -> None:
    """How all meters stand now, or those of one tenant."""
    with wired() as services:
        found = services.meters.limits(tenant=tenant, limit=limit)
    rows = [{**meter_json(standing.meter), **limit_json(standing)} for standing in found]
    example = "rollout meters add acme image-generation image day 500 --reason 'beta quota'"
    show_rows(
        rows,
        as_json,
        f"No meters yet: nothing is limited. Add one: {example}",
        columns=COLUMNS,
        limit=limit,
    )


@meters.command("show")
@click.argument("tenant")
@click.argument("name")
@json_option
def show_(tenant: str, name: str, as_json: bool) -> None:
    """TENANT's meter NAME."""
    with wired() as services:
        show(meter_json(services.meters.named(tenant, name)), as_json)


@meters.command("add")
@click.argument("tenant")
@click.argument("feature")
@click.argument("unit", type=click.Choice(UNITS))
@click.argument("period", type=click.Choice(PERIODS))
@click.argument("cap", type=int)
@click.option("--level", type=click.Choice(LEVELS), help="Default: feature; tenant when FEATURE is `all`.")
@click.option("--name", help="The policy's name on the wire. Default: what it counts, such as image-day.")
@click.option("--tz", help="IANA time zone of its days and months. Default: the tenant's.")
@click.option(
    "--hard/--soft", default=None, help="Whether a full one refuses. Default: hard; soft for `all`."
)
@change_options
def add(
    tenant: str,
    feature: str,
    unit: str,
    period: str,
    cap: int,
    level: str | None,
    name: str | None,
    tz: str | None,
    hard: bool | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Limit what TENANT may use of FEATURE (or `all`) to CAP in each PERIOD.

    UNIT usd_micro is money: 5000000 are 5 dollars. UNIT slot goes with PERIOD concurrent.
    """
    fields: dict[str, Any] = {
        "feature": None if feature == "all" else feature,
        "unit": unit,
        "period": period,
        "cap": cap,
        "level": level,
        "name": name,
        "tz": tz,
        "hard": hard,
    }
    with wired() as services:
        added = services.meters.add(actor(), tenant, fields, reason, dry_run=dry_run)
        show(meter_json(added), as_json)
    said(f"meter {added.name} of {tenant} added", dry_run)


@meters.command("set")
@click.argument("tenant")
@click.argument("name")
@click.option("--cap", type=int)
@click.option("--hard/--soft", default=None)
@change_options
def set_(
    tenant: str, name: str, cap: int | None, hard: bool | None, reason: str, dry_run: bool, as_json: bool
) -> None:
    """Change the cap of TENANT's meter NAME, or whether it refuses when it is full."""
    given = {"cap": cap, "hard": hard}
    fields = {field: value for field, value in given.items() if value is not None}
    with wired() as services:
        meter = services.meters.named(tenant, name)
        changed = services.meters.change(actor(), meter.id, fields, reason, dry_run=dry_run)
        show(meter_json(changed), as_json)
    said(f"meter {name} of {tenant} changed", dry_run)


@meters.command("revoke")
@click.argument("tenant")
@click.argument("name")
@change_options
def revoke(tenant: str, name: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Archive TENANT's meter NAME: it limits nothing from now on; its books stay."""
    with wired() as services:
        meter = services.meters.named(tenant, name)
        show(meter_json(services.meters.archive(actor(), meter.id, reason, dry_run=dry_run)), as_json)
    said(f"meter {name} of {tenant} archived", dry_run)
