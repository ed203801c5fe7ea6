"""`rollout flags upstream`, `rollout flags push`"""

from __future__ import annotations

from typing import Any

import click

from rollout.cli.context import actor, change_options, json_option, said, show, show_rows, wired


@click.command("upstream")
@json_option
def upstream(as_json: bool) -> None:
    """Whose flags decide, and how far our phases have got there."""
    with wired() as services:
        found = services.flag_pushes.upstream()
    if as_json or found["feed"] is None:
        show(found if as_json else {"mode": found["mode"]}, as_json)
        return
    show({"mode": found["mode"], **found["feed"]}, as_json)
    show_rows([_line(push) for push in found["pushes"]], as_json, "No plan was written yet.")


@click.command("push")
@click.argument("feature")
@change_options
def push(feature: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Write the plan of FEATURE to Unleash anew, over what was changed there."""
    with wired() as services:
        wanted = services.flag_pushes.push(actor(), feature, reason, dry_run=dry_run)
    show(wanted if as_json else _line(wanted), as_json)
    said(f"{feature} is written to Unleash by the background jobs", dry_run)


def _line(push: dict[str, Any]) -> dict[str, Any]:
    return {**push, "drift": ", ".join(item["name"] for item in push["drift"])}
