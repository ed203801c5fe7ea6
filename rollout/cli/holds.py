"""`rollout holds ...`"""

from __future__ import annotations

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired

COLUMNS = ("id", "tenant", "state", "feature", "model", "cost_usd_micro", "created_at", "resolution")


@click.group()
def holds() -> None:
    """Reservations: what runs, what it may cost, and what became of it."""


@holds.command("list")
@click.option("--tenant")
@click.option(
    "--state", default="open", show_default=True, help="open, held, dispatched, unknown, settled, void."
)
@limit_option(100)
@json_option
def list_(tenant: str | None, state: str, limit: int, as_json: bool) -> None:
    """Holds in one state, newest first."""
    with wired() as services:
        found = services.ledger.holds(tenant=tenant, state=state, cursor=None, limit=limit)
    show_rows(
        [services.ledger.shown(hold) for hold in found],
        as_json,
        f"No hold is {state}. Other states: --state unknown, --state settled, --state void.",
        columns=COLUMNS,
        limit=limit,
    )


@holds.command("show")
@click.argument("hold")
@json_option
def show_(hold: str, as_json: bool) -> None:
    """One hold, with what was found out of its outcome, and what ends the doubt about it."""
    with wired() as services:
        show(services.ledger.shown(services.ledger.get_hold(hold)), as_json)


@holds.command("settle")
@click.argument("hold")
@click.option("--cost-usd-micro", type=int, help="What the vendor's books say. Default: what was reserved.")
@change_options
def settle(hold: str, cost_usd_micro: int | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Charge an unknown hold."""
    with wired() as services:
        ended = services.ledger.settle_by_hand(actor(), hold, reason, cost_usd_micro, dry_run=dry_run)
        show(services.ledger.shown(ended), as_json)
    said(f"hold {hold} settled", dry_run)


@holds.command("void")
@click.argument("hold")
@change_options
def void(hold: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Charge nothing for an unknown hold: the vendor's books say that nothing was done."""
    with wired() as services:
        ended = services.ledger.void_by_hand(actor(), hold, reason, dry_run=dry_run)
        show(services.ledger.shown(ended), as_json)
    said(f"hold {hold} void", dry_run)
