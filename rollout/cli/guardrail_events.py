"""`rollout guardrail-events ...`"""

from __future__ import annotations

import click

from rollout.cli.context import json_option, limit_option, show_rows, wired
from rollout.cli.moments import MOMENT
from rollout.core.guardrails import CATEGORIES, Wanted, event_json

COLUMNS = ("id", "at", "tenant", "use_id", "category", "point", "source", "vendor_code")


@click.group("guardrail-events")
def guardrail_events() -> None:
    """What vendors refused for its content: one event for each refusal."""


@guardrail_events.command("list")
@click.option("--tenant")
@click.option("--category", type=click.Choice(CATEGORIES))
@click.option("--source", help="A vendor.")
@click.option("--feature")
@click.option("--since", type=MOMENT, help="Default: the beginning.")
@limit_option(50)
@json_option
def list_(
    tenant: str | None,
    category: str | None,
    source: str | None,
    feature: str | None,
    since: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Newest first."""
    wanted = Wanted(tenant, category, source, feature, since)
    with wired() as services:
        found = services.guardrails.page(wanted, cursor=None, limit=limit)
    show_rows(
        [event_json(event) for event in found],
        as_json,
        "No vendor refused anything like that.",
        columns=COLUMNS,
        limit=limit,
    )
