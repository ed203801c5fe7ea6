"""`rollout catalogue ...`"""

from __future__ import annotations

from typing import Literal

import click

from rollout.cli.context import actor, change_options, json_option, said, show, show_rows, wired
from rollout.cli.features import in_flight_option, remind_option, spread_words


@click.group()
def catalogue() -> None:
    """Vendors of models."""


@catalogue.command("vendors")
@click.argument("vendor", required=False)
@json_option
def vendors(vendor: str | None, as_json: bool) -> None:
    """All vendors; or VENDOR, its models, and how far its last switch has spread."""
    with wired() as services:
        if vendor is not None:
            show(services.vendors.get(vendor), as_json)
            return
        rows = services.vendors.list()
    show_rows(rows, as_json, "No vendors.", columns=("vendor", "enabled", "models"))


@catalogue.command("disable")
@click.argument("vendor")
@in_flight_option
@remind_option
@change_options
def disable(
    vendor: str,
    in_flight: Literal["finish", "withhold"],
    remind_at: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Switch VENDOR off: calls for its models are refused, and none of them is offered."""
    with wired() as services:
        switched = services.vendors.disable(
            actor(), vendor, reason, in_flight=in_flight, remind_at=remind_at, dry_run=dry_run
        )
        show(switched, as_json)
    said(f"{vendor} switched off: {spread_words(switched)}", dry_run)


@catalogue.command("enable")
@click.argument("vendor")
@change_options
def enable(vendor: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Switch VENDOR on again."""
    with wired() as services:
        switched = services.vendors.enable(actor(), vendor, reason, dry_run=dry_run)
        show(switched, as_json)
    said(f"{vendor} switched on: {spread_words(switched)}", dry_run)
