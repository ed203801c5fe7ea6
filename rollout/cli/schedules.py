"""`rollout schedules ...`"""

from __future__ import annotations

from typing import Any, get_args

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.cli.moments import MOMENT
from rollout.cli.plans import json_object
from rollout.core.schedules import State
from rollout.core.steps import STEPS, parse_step

COLUMNS = ("id", "feature", "at", "step", "state", "stale", "created_by", "reason", "outcome")


@click.group()
def schedules() -> None:
    """Steps of plans that are taken at a time."""


@schedules.command("list")
@click.option("--feature", help="Of this feature's plan only.")
@click.option("--state", type=click.Choice(get_args(State)))
@limit_option(100)
@json_option
def list_(feature: str | None, state: State | None, limit: int, as_json: bool) -> None:
    """Schedules, the newest first; one that is stale rests on a plan that is another one by now."""
    with wired() as services:
        rows = services.schedules.page(feature=feature, state=state, before=None, limit=limit)
    example = "rollout schedules add image-generation 2027-03-01T09:00:00Z advance --reason 'as agreed'"
    show_rows(rows, as_json, f"No schedules. Write one: {example}", columns=COLUMNS, limit=limit)


@schedules.command("show")
@click.argument("schedule")
@json_option
def show_(schedule: str, as_json: bool) -> None:
    """One schedule."""
    with wired() as services:
        show(services.schedules.get(schedule), as_json)


@schedules.command("add")
@click.argument("feature")
@click.argument("at", type=MOMENT)
@click.argument("do", type=click.Choice(list(STEPS)))
@click.option("--to", help="The key of a phase.")
@click.option("--patch", help="What a restart or an edit changes, as JSON.")
@change_options
def add(
    feature: str,
    at: int,
    do: str,
    to: str | None,
    patch: str | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Have the plan of FEATURE take a step at a time: advance, rollback, jump, restart, pause, resume or edit."""
    stated: dict[str, Any] = {"do": do, "to": to, "patch": json_object(patch, "--patch") if patch else None}
    with wired() as services:
        written = services.schedules.add(actor(), feature, at, parse_step(stated), reason, dry_run=dry_run)
        show(written, as_json)
    said(f"{do} of {feature} scheduled for {written['at']}: {written['id']}", dry_run)


@schedules.command("cancel")
@click.argument("schedule")
@change_options
def cancel(schedule: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Do not take it, or settle the conflict that it is in."""
    with wired() as services:
        show(services.schedules.cancel(actor(), schedule, reason, dry_run=dry_run), as_json)
    said(f"schedule {schedule} cancelled", dry_run)
