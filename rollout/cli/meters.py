"""`rollout meters ...`"""

from __future__ import annotations

from typing import Any

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.cli.moments import MOMENT
from rollout.core.meters import LEVELS, PERIODS, PLATFORM, UNITS, Meter, limit_json, meter_json, shortage

COLUMNS = ("tenant", "name", "level", "feature", "unit", "period", "used", "held", "cap", "hard", "resets_at")
SUBJECT_COLUMNS = ("subject", "used", "held", "cap", "remaining", "resets_at")
SHARED = "-"
"""In place of a tenant: what all of them share."""

FULLEST = 20

thresholds_option = click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=int,
    help="Tell at so many percent of the cap; may repeat.",
)


@click.group()
def meters() -> None:
    """Quotas: what may be used of a feature in a minute, a day, a month, in all, or at once; by a tenant, each of its keys or end
    users, or (in place of TENANT: -) by all tenants together."""


@meters.command("list")
@click.option("--tenant", help="`-`: those that all tenants share.")
@limit_option()
@json_option
def list_(tenant: str | None, limit: int, as_json: bool) -> None:
    """How all meters stand now, or those of one tenant."""
    with wired() as services:
        found = services.meters.limits(tenant=PLATFORM if tenant == SHARED else tenant, limit=limit)
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
    """TENANT's meter NAME and how it stands: where each key or end user has a window, in the fullest of them."""
    with wired() as services:
        meter = services.meters.named(owner(tenant), name)
        windows = services.meters.windows(meter, limit=FULLEST)
    rows = [{**limit_json(limit), "subject": limit.subject or None} for limit in windows]
    shown = [{column: row[column] for column in SUBJECT_COLUMNS} for row in rows]
    if as_json:
        show({**meter_json(meter), "windows": shown}, as_json)
    else:
        show(meter_json(meter), as_json)
        click.echo()
        show_rows(shown, as_json, "Nobody has used it in the window of now.")


@meters.command("add")
@click.argument("tenant")
@click.argument("feature")
@click.argument("unit", type=click.Choice(UNITS))
@click.argument("period", type=click.Choice(PERIODS))
@click.argument("cap", type=int)
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    help="Default: feature; tenant when FEATURE is `all`; platform when TENANT is `-`.",
)
@click.option(
    "--subject", help="The one phase, key or end user that it limits. Default: each key, each end user."
)
@click.option("--name", help="The policy's name on the wire. Default: what it counts, such as image-day.")
@click.option(
    "--tz", help="IANA time zone of its days and months. Default: the tenant's; UTC when TENANT is `-`."
)
@click.option(
    "--hard/--soft", default=None, help="Whether a full one refuses. Default: hard; soft for `all`."
)
@thresholds_option
@click.option("--at", type=MOMENT, help="From when on it counts. Default: now.")
@click.option("--until", type=MOMENT, help="Until when it counts. Default: until it is archived.")
@change_options
def add(
    tenant: str,
    feature: str,
    unit: str,
    period: str,
    cap: int,
    level: str | None,
    subject: str | None,
    name: str | None,
    tz: str | None,
    hard: bool | None,
    thresholds: tuple[int, ...],
    at: int | None,
    until: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Limit what TENANT (or `-`: all together) may use of FEATURE (or `all`) to CAP in each PERIOD.

    UNIT usd_micro is money: 5000000 are 5 dollars. UNIT slot goes with PERIOD concurrent.
    """
    fields: dict[str, Any] = {
        "feature": None if feature == "all" else feature,
        "unit": unit,
        "period": period,
        "cap": cap,
        "level": level,
        "subject": subject,
        "name": name,
        "tz": tz,
        "hard": hard,
        "thresholds": thresholds or None,
        "effective_at": at,
        "until": until,
    }
    with wired() as services:
        added = services.meters.add(actor(), owner(tenant), fields, reason, dry_run=dry_run)
        show(meter_json(added), as_json)
    said(f"meter {added.name} of {_whose(added)} added", dry_run)


@meters.command("set")
@click.argument("tenant")
@click.argument("name")
@click.option("--cap", type=int)
@click.option("--at", type=MOMENT, help="From when on the cap holds. Default: now.")
@click.option(
    "--until", type=MOMENT, help="Until when; then it is what it was. Default: the next that is planned."
)
@click.option("--unplan", is_flag=True, help="Drop the caps that were planned.")
@click.option("--hard/--soft", default=None)
@thresholds_option
@click.option("--tz", help="IANA time zone; counts from the end of the open window on.")
@change_options
def set_(
    tenant: str,
    name: str,
    cap: int | None,
    at: int | None,
    until: int | None,
    unplan: bool,
    hard: bool | None,
    thresholds: tuple[int, ...],
    tz: str | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Change TENANT's meter NAME: its cap, now or at a time, whether it refuses when it is full, when it warns, its time zone."""
    given: dict[str, Any] = {
        "cap": cap,
        "effective_at": at,
        "until": until,
        "scheduled": [] if unplan else None,
        "hard": hard,
        "thresholds": thresholds or None,
        "tz": tz,
    }
    fields = {field: value for field, value in given.items() if value is not None}
    with wired() as services:
        meter = services.meters.named(owner(tenant), name)
        changed = services.meters.change(actor(), meter.id, fields, reason, dry_run=dry_run)
        show(meter_json(changed), as_json)
        windows = services.meters.windows(changed, limit=1)
    said(f"meter {name} of {_whose(changed)} changed", dry_run)
    if note := next(filter(None, map(shortage, windows)), None):
        click.echo(note, err=True)


@meters.command("revoke")
@click.argument("tenant")
@click.argument("name")
@change_options
def revoke(tenant: str, name: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Archive TENANT's meter NAME: it limits nothing from now on; its books stay."""
    with wired() as services:
        meter = services.meters.named(owner(tenant), name)
        show(meter_json(services.meters.archive(actor(), meter.id, reason, dry_run=dry_run)), as_json)
    said(f"meter {name} of {_whose(meter)} archived", dry_run)


def owner(tenant: str) -> str | None:
    """Whose meters TENANT means; None: those that tenants share."""
    return None if tenant == SHARED else tenant


def _whose(meter: Meter) -> str:
    return "all tenants" if meter.shared else meter.tenant_id
