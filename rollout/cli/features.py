"""`rollout features ...` and `rollout kill`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import click

from rollout.cli.context import actor, change_options, json_option, said, show, show_rows, wired
from rollout.cli.moments import MOMENT

in_flight_option = click.option(
    "--in-flight",
    type=click.Choice(["finish", "withhold"]),
    default="finish",
    show_default=True,
    help="Deliver what the vendor already has, or not; it is charged either way.",
)
remind_option = click.option(
    "--remind-at", type=MOMENT, help="When to think of it again; nothing revives by itself."
)


@click.group()
def features() -> None:
    """What can be switched on and off, and how it stands."""


@features.command("list")
@json_option
def list_(as_json: bool) -> None:
    """All features."""
    with wired() as services:
        rows = services.features.list()
    show_rows(rows, as_json, "No features.", columns=("feature", "killed", "phase", "phase_state"))


@features.command("show")
@click.argument("feature")
@json_option
def show_(feature: str, as_json: bool) -> None:
    """One feature, its stops, and how far the last of them has spread."""
    with wired() as services:
        show(services.features.get(feature), as_json)


@features.command("revive")
@click.argument("feature")
@click.option("--tenant", help="For this tenant alone.")
@change_options
def revive(feature: str, tenant: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Undo a stop."""
    with wired() as services:
        revived = services.features.revive(actor(), feature, reason, tenant=tenant, dry_run=dry_run)
        show(revived, as_json)
    said(f"{feature} revived{_for(tenant)}", dry_run)


@click.command()
@click.argument("feature")
@click.option("--tenant", help="For this tenant alone.")
@in_flight_option
@remind_option
@change_options
def kill(
    feature: str,
    tenant: str | None,
    in_flight: Literal["finish", "withhold"],
    remind_at: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Stop a feature, for all or for one tenant."""
    with wired() as services:
        killed = services.features.kill(
            actor(), feature, reason, tenant=tenant, in_flight=in_flight, remind_at=remind_at, dry_run=dry_run
        )
        show(killed, as_json)
    said(f"{feature} killed{_for(tenant)}: {spread_words(killed)}", dry_run)


def _for(tenant: str | None) -> str:
    return f" for {tenant}" if tenant else " for everyone"


def spread_words(switched: Mapping[str, Any]) -> str:
    """What a stop, or its undoing, answered: how many of how many workers, and in what time."""
    acks, flight = switched["acks"], switched["in_flight"]
    time = "" if acks["slowest_ms"] is None else f" in {acks['slowest_ms'] / 1000:.1f} s"
    return (
        f"{acks['received']} of {acks['expected']} workers{time}, {flight['voided']} holds void,"
        f" {flight['running']} running"
    )
