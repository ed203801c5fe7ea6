"""`rollout plans ...`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.core.steps import Advance, Pause, Resume, RollBack


@click.group()
def plans() -> None:
    """The phases of a feature, and where it stands."""


@plans.command("list")
@json_option
def list_(as_json: bool) -> None:
    """All plans."""
    with wired() as services:
        rows = services.plans.list()
    show_rows(
        rows if as_json else [_line(row) for row in rows], as_json, "No plans yet; `rollout demo` seeds one."
    )


@plans.command("show")
@click.argument("feature")
@json_option
def show_(feature: str, as_json: bool) -> None:
    """The phases of FEATURE."""
    with wired() as services:
        plan = services.plans.get(feature)
    if as_json:
        show(plan, as_json)
        return
    names = ("key", "title", "open", "audience")
    show_rows(plan["phases"], as_json, "No phases.", columns=names)


@plans.command("members")
@click.argument("feature")
@limit_option()
@json_option
def members(feature: str, limit: int, as_json: bool) -> None:
    """Who is in by the plan of FEATURE, and why."""
    rows: list[dict[str, Any]] = []
    after: str | None = ""
    with wired() as services:
        while after is not None and len(rows) < limit:
            found = services.plans.members(feature, after=after, limit=limit - len(rows))
            rows += [{"tenant": one.id, "name": one.name, "reason": reason} for one, reason in found.inside]
            after = found.after
    example = f"rollout grants add acme {feature} --reason 'pilot customer'"
    show_rows(rows, as_json, f"Nobody is in by this plan. Let one in: {example}", limit=limit)


@plans.command("advance")
@click.argument("feature")
@click.option("--to", help="A later phase than the next one.")
@change_options
def advance(feature: str, to: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """On to the next phase; nobody loses access."""
    with wired() as services:
        moved = services.plans.step(actor(), feature, Advance(to), reason, dry_run=dry_run)
    _show_move(moved, dry_run, as_json)


@plans.command("rollback")
@click.argument("feature")
@click.option("--to", help="An earlier phase than the previous one.")
@change_options
def rollback(feature: str, to: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Back to the previous phase."""
    with wired() as services:
        moved = services.plans.step(actor(), feature, RollBack(to), reason, dry_run=dry_run)
    _show_move(moved, dry_run, as_json)


@plans.command("pause")
@click.argument("feature")
@change_options
def pause(feature: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Keep the plan where it is; who is in stays in."""
    with wired() as services:
        paused = services.plans.step(actor(), feature, Pause(), reason, dry_run=dry_run)
    show(paused if as_json else _line(paused), as_json)
    said(f"plan of {feature} paused", dry_run)


@plans.command("resume")
@click.argument("feature")
@change_options
def resume(feature: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Undo a pause."""
    with wired() as services:
        resumed = services.plans.step(actor(), feature, Resume(), reason, dry_run=dry_run)
    show(resumed if as_json else _line(resumed), as_json)
    said(f"plan of {feature} running", dry_run)


def _line(plan: Mapping[str, Any]) -> dict[str, Any]:
    run = plan["run"]
    return {
        "feature": plan["feature"],
        **{name: run[name] for name in ("phase", "state", "run", "entered_at")},
    }


def _show_move(plan: Mapping[str, Any], dry_run: bool, as_json: bool) -> None:
    show(plan if as_json else _line(plan), as_json)
    came = plan["tenants"]
    counted = "all" if came["complete"] else f"the first {came['examined']}"
    said(
        f"{plan['feature']} in {plan['run']['phase']}: {came['gained']} tenants gain access, {came['lost']} lose it"
        f" (of {counted})",
        dry_run,
    )
