"""`rollout simulate`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from rollout.cli.context import json_option, limit_option, print_json, show_rows, wired
from rollout.cli.plans import json_object
from rollout.core.steps import STEPS, parse_step
from rollout.services.simulations import DEFAULT_DAYS


@click.command()
@click.argument("feature")
@click.option(
    "--do", "do", type=click.Choice(list(STEPS)), help="The step; without it, only what --phases says."
)
@click.option("--to", help="The phase to which the step leads.")
@click.option("--patch", help="What a restart or an edit changes, as JSON.")
@click.option(
    "--phases",
    help='What other phases would say, open ones too, as JSON: {"wider_beta": {"audience": {...}}}.',
)
@click.option("--days", default=DEFAULT_DAYS, show_default=True, type=int, help="How far back to look.")
@limit_option(100)
@json_option
def simulate(
    feature: str,
    do: str | None,
    to: str | None,
    patch: str | None,
    phases: str | None,
    days: int,
    limit: int,
    as_json: bool,
) -> None:
    """What would change if the plan of FEATURE took a step, or said something else; nothing does."""
    said = {"do": do, "to": to, "patch": json_object(patch, "--patch") if patch else None}
    edit = json_object(phases, "--phases") if phases else None
    with wired() as services:
        step = parse_step(said) if do else None
        found = services.simulations.simulate(feature, step=step, phases=edit, days=days).page(None, limit)
    if as_json:
        print_json(found)
        return
    for sentence in _sentences(found):
        click.echo(sentence)
    click.echo()
    show_rows(found["changes"], as_json, "Nobody comes and nobody goes.")
    if found["next_cursor"] is not None:
        click.echo(f"These are {limit}, and there are more: --limit {2 * limit}", err=True)


def _sentences(found: Mapping[str, Any]) -> list[str]:
    tenants, replay, run = found["tenants"], found["replay"], found["plan"]["run"]
    counted = "all" if tenants["complete"] else f"the first {tenants['examined']}"
    return [
        f"{found['feature']} in {run['phase']}: {tenants['gained']} tenants gain access, {tenants['lost']} lose it (of {counted})",
        *(f"before that: {one['sentence']}" for one in found["conditions"] if one["word"] != "healthy"),
        *([f"before that: {found['approvals_needed']} approvals"] if found["approvals_needed"] else []),
        f"in {found['days']} days: {_use(found['expected']['now'])} now, {_use(found['expected']['then'])} then",
        *(_room(one) for one in found["head_room"]),
        f"of {replay['decisions']} recorded decisions, {replay['newly_allowed']['decisions']} would have let in"
        f" and {replay['newly_denied']['decisions']} refused",
    ]


def _use(use: Mapping[str, int]) -> str:
    return f"{use['requests']} requests, {use['images']} images, ${use['cost_usd_micro'] / 1_000_000:.2f}"


def _room(one: Mapping[str, Any]) -> str:
    word = "fits" if one["fits"] else "DOES NOT FIT"
    return f"{one['name']}: {one['expected']} of {one['cap']} {one['unit']} a {one['period']}, {word}"
