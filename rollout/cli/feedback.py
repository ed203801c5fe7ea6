"""`rollout feedback ...`"""

from __future__ import annotations

from typing import Any

import click

from rollout.cli.context import actor, change_options, json_option, said, show, show_rows, wired
from rollout.core.feedback import STATES, TRIAGE, Wanted, feedback_json


@click.group()
def feedback() -> None:
    """What end users say about generations."""


@feedback.command("list")
@click.option("--tenant")
@click.option("--generation")
@click.option("--state", type=click.Choice(STATES))
@click.option("--rating", type=click.Choice(["up", "down"]))
@click.option("--phase")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def list_(limit: int, as_json: bool, **wanted: Any) -> None:
    """The newest first."""
    with wired() as services:
        rows = [
            feedback_json(item) for item in services.feedback.page(Wanted(**wanted), before=None, limit=limit)
        ]
    show_rows(rows, as_json, "No feedback. It comes by POST /api/v1/feedback, with a key or a handle.")


@feedback.command("show")
@click.argument("feedback")
@json_option
def show_(feedback: str, as_json: bool) -> None:
    """One of them."""
    with wired() as services:
        show(feedback_json(services.feedback.get(feedback)), as_json)


@feedback.command("set")
@click.argument("feedback")
@click.option("--state", type=click.Choice(TRIAGE), required=True)
@change_options
def set_(feedback: str, state: Any, reason: str, dry_run: bool, as_json: bool) -> None:
    """Triage one: open, resolved or spam."""
    with wired() as services:
        item = services.feedback.set_state(actor(), feedback, state, reason, dry_run=dry_run)
        show(feedback_json(item), as_json)
    said(f"feedback {feedback} {state}", dry_run)
