"""`rollout explain`"""

from __future__ import annotations

import click

from rollout.cli.context import json_option, show, show_rows, wired
from rollout.cli.moments import MOMENT
from rollout.core.decisions import GENERATION


@click.command()
@click.argument("tenant")
@click.argument("feature", default=GENERATION)
@click.option(
    "--at", type=MOMENT, help="As it was at 2027-03-01 (its midnight in UTC), or RFC 3339 with a zone."
)
@json_option
def explain(tenant: str, feature: str, at: int | None, as_json: bool) -> None:
    """Why TENANT may or may not use FEATURE, and what would change it; with --at, at any time past."""
    with wired() as services:
        found = services.explain.explain(tenant, feature, at)
    if as_json:
        show(found, as_json)
        return
    click.echo(found["detail"])
    for sentence in found["would_change"]:
        click.echo(f"  {sentence}")
    click.echo()
    show(found["decision"], as_json)
    click.echo()
    show_rows(
        found["audiences"],
        as_json,
        "No plan: nothing but a kill or a halt stops this feature.",
        columns=("phase", "open", "outcome", "audience"),
    )
