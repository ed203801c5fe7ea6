"""`rollout alerts ...`"""

from __future__ import annotations

import click

from rollout.cli.context import json_option, limit_option, show_rows, wired
from rollout.cli.moments import MOMENT
from rollout.core.alerts import alert_json
from rollout.core.meters import PLATFORM

COLUMNS = ("at", "tenant", "name", "subject", "threshold", "used", "held", "cap")


@click.group()
def alerts() -> None:
    """What was told of windows that fill: each threshold once, and the first request that did not fit."""


@alerts.command("list")
@click.option("--tenant", help="`-`: of what all tenants share.")
@click.option("--meter", help="The meter's id.")
@click.option("--since", type=MOMENT, help="Default: the beginning.")
@limit_option(100)
@json_option
def list_(tenant: str | None, meter: str | None, since: int | None, limit: int, as_json: bool) -> None:
    """Newest first; without a threshold: a request did not fit."""
    with wired() as services:
        owner = PLATFORM if tenant == "-" else tenant
        found = services.alerts.page(tenant=owner, meter=meter, since=since or 0, limit=limit)
    show_rows(
        [alert_json(told) for told in found],
        as_json,
        "No window was nearly full.",
        columns=COLUMNS,
        limit=limit,
    )
