"""`rollout change-requests ...`"""

from __future__ import annotations

from typing import get_args

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.core.approvals import State

ALL = "all"
COLUMNS = ("id", "feature", "step", "state", "approvals_needed", "created_by", "reason", "created_at")


@click.group("change-requests")
def change_requests() -> None:
    """Steps of plans that wait until enough people said yes."""


@change_requests.command("list")
@click.option("--feature", help="Of this feature's plan only.")
@click.option("--state", type=click.Choice([*get_args(State), ALL]), default="waiting", show_default=True)
@limit_option(100)
@json_option
def list_(feature: str | None, state: str, limit: int, as_json: bool) -> None:
    """Change requests, the newest first."""
    with wired() as services:
        rows = services.change_requests.page(
            feature=feature, state=None if state == ALL else state, before=None, limit=limit
        )
    show_rows(
        rows,
        as_json,
        "Nothing waits for approval; what has ended: --state all.",
        columns=COLUMNS,
        limit=limit,
    )


@change_requests.command("show")
@click.argument("request")
@json_option
def show_(request: str, as_json: bool) -> None:
    """The change request with the id REQUEST, and who approved it."""
    with wired() as services:
        show(services.change_requests.get(request), as_json)


@change_requests.command("approve")
@click.argument("request")
@click.option("--content-hash", help="That of the change as you saw it; another one is refused.")
@change_options
def approve(request: str, content_hash: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Say yes to REQUEST, an id, or the feature whose only change waits; the last approval makes the change."""
    with wired() as services:
        given = services.change_requests
        say_yes = given.approve if request.startswith("chg_") else given.approve_waiting
        approved = say_yes(actor(), request, reason, content_hash=content_hash, dry_run=dry_run)
        show(approved.change_request, as_json)
    name, is_done = approved.change_request["id"], approved.plan is not None
    said(f"{name} approved and done" if is_done else f"{name} approved; it waits for others", dry_run)


@change_requests.command("reject")
@click.argument("request")
@change_options
def reject(request: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Say no."""
    with wired() as services:
        show(services.change_requests.reject(actor(), request, reason, dry_run=dry_run), as_json)
    said(f"{request} rejected", dry_run)


@change_requests.command("withdraw")
@click.argument("request")
@change_options
def withdraw(request: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Take back one that you filed."""
    with wired() as services:
        show(services.change_requests.withdraw(actor(), request, reason, dry_run=dry_run), as_json)
    said(f"{request} withdrawn", dry_run)
