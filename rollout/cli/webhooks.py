"""`rollout webhooks ...`"""

from __future__ import annotations

from typing import Any

import click

from rollout.cli.context import (
    SHOWN_ONCE,
    actor,
    change_options,
    json_option,
    limit_option,
    said,
    show,
    show_rows,
    wired,
)
from rollout.core.meters import PLATFORM
from rollout.core.webhooks import STATES, TYPES, delivery_json, issued_webhook_json, webhook_json

COLUMNS = ("id", "tenant", "url", "types", "state")
DELIVERY_COLUMNS = ("id", "type", "state", "attempt", "run_at", "last_error")

events_option = click.option(
    "--event", "types", multiple=True, type=click.Choice(TYPES), help="An event that it wants; may repeat."
)


@click.group()
def webhooks() -> None:
    """Addresses that are told of events: tenants' own, and those of the operators."""


@webhooks.command("list")
@click.option("--tenant")
@click.option("--own", is_flag=True, help="Only the operators' own.")
@limit_option(100)
@json_option
def list_(tenant: str | None, own: bool, limit: int, as_json: bool) -> None:
    """Webhooks, newest first."""
    with wired() as services:
        found = services.webhooks.page(tenant=PLATFORM if own else tenant, cursor=None, limit=limit)
    show_rows(
        [webhook_json(webhook) for webhook in found],
        as_json,
        "No webhook yet. Add one: rollout webhooks add https://example.com/hook --reason 'alerts'",
        columns=COLUMNS,
        limit=limit,
    )


@webhooks.command("show")
@click.argument("webhook")
@json_option
def show_(webhook: str, as_json: bool) -> None:
    """One webhook, without its secret."""
    with wired() as services:
        show(webhook_json(services.webhooks.get(webhook)), as_json)


@webhooks.command("add")
@click.argument("url")
@click.option("--tenant", help="Whose. Default: the operators' own, told of what happens to every tenant.")
@events_option
@change_options
def add(
    url: str, tenant: str | None, types: tuple[str, ...], reason: str, dry_run: bool, as_json: bool
) -> None:
    """Send events (default: all) to URL, and print the signing secret, this once."""
    with wired() as services:
        issued = services.webhooks.add(actor(), tenant, url, types, reason, dry_run=dry_run)
        show(issued_webhook_json(issued), as_json)
    said(f"webhook {issued.webhook.id} added{SHOWN_ONCE if issued.secret else ''}", dry_run)


@webhooks.command("set")
@click.argument("webhook")
@click.option("--url")
@events_option
@click.option("--state", type=click.Choice(STATES))
@change_options
def set_(
    webhook: str,
    url: str | None,
    types: tuple[str, ...],
    state: str | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Change the address, the events, or whether it is told of any."""
    given: dict[str, Any] = {"url": url, "types": types or None, "state": state}
    fields = {name: value for name, value in given.items() if value is not None}
    with wired() as services:
        changed = services.webhooks.change(actor(), webhook, fields, reason, dry_run=dry_run)
        show(webhook_json(changed), as_json)
    said(f"webhook {webhook} changed", dry_run)


@webhooks.command("rotate")
@click.argument("webhook")
@change_options
def rotate(webhook: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Make a new signing secret, printed this once; for a day the former one signs, too."""
    with wired() as services:
        issued = services.webhooks.rotate(actor(), webhook, reason, dry_run=dry_run)
        show(issued_webhook_json(issued), as_json)
    said(f"webhook {webhook} rotated{SHOWN_ONCE if issued.secret else ''}", dry_run)


@webhooks.command("remove")
@click.argument("webhook")
@change_options
def remove(webhook: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Tell it of nothing more, and forget its deliveries."""
    with wired() as services:
        show(webhook_json(services.webhooks.remove(actor(), webhook, reason, dry_run=dry_run)), as_json)
    said(f"webhook {webhook} removed", dry_run)


@webhooks.command("test")
@click.argument("webhook")
@change_options
def test(webhook: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Send it a webhook.test; what became of it: rollout webhooks deliveries."""
    with wired() as services:
        show(delivery_json(services.webhooks.test(actor(), webhook, reason, dry_run=dry_run)), as_json)
    said("a test is on its way", dry_run)


@webhooks.command("deliveries")
@click.argument("webhook")
@limit_option(100)
@json_option
def deliveries(webhook: str, limit: int, as_json: bool) -> None:
    """What was sent to it in the last 30 days, newest first."""
    with wired() as services:
        found = services.webhooks.deliveries(webhook, cursor=None, limit=limit)
    show_rows(
        [delivery_json(job) for job in found],
        as_json,
        "Nothing was sent to it yet. Try it out: rollout webhooks test",
        columns=DELIVERY_COLUMNS,
        limit=limit,
    )


@webhooks.command("resend")
@click.argument("webhook")
@click.argument("delivery")
@change_options
def resend(webhook: str, delivery: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Send a message again."""
    with wired() as services:
        job = services.webhooks.resend(actor(), webhook, delivery, reason, dry_run=dry_run)
        show(delivery_json(job), as_json)
    said(f"{delivery} is on its way again", dry_run)
