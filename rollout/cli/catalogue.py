"""`rollout catalogue ...`"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from rollout.cli.context import (
    actor,
    change_options,
    json_option,
    limit_option,
    print_json,
    said,
    show,
    show_rows,
    wired,
)
from rollout.cli.documents import Document
from rollout.cli.features import in_flight_option, remind_option, spread_words
from rollout.core.catalogue_checks import STATES
from rollout.core.templates import SHARES

F = TypeVar("F", bound=Callable[..., Any])


def file_option(what: str) -> Callable[[F], F]:
    return click.option("--file", "document", type=Document(), required=True, help=what)


@click.group()
def catalogue() -> None:
    """Models, their vendors, and the names that lead to them."""


@catalogue.command("vendors")
@click.argument("vendor", required=False)
@json_option
def vendors(vendor: str | None, as_json: bool) -> None:
    """All vendors; or VENDOR, its models, and how far its last switch has spread."""
    with wired() as services:
        if vendor is not None:
            show(services.vendors.get(vendor), as_json)
            return
        rows = services.vendors.list()
    show_rows(rows, as_json, "No vendors.", columns=("vendor", "enabled", "breakers", "models"))


@catalogue.command("disable")
@click.argument("vendor")
@in_flight_option
@remind_option
@change_options
def disable(
    vendor: str,
    in_flight: Literal["finish", "withhold"],
    remind_at: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Switch VENDOR off: calls for its models are refused, and none of them is offered."""
    with wired() as services:
        switched = services.vendors.disable(
            actor(), vendor, reason, in_flight=in_flight, remind_at=remind_at, dry_run=dry_run
        )
        show(switched, as_json)
    said(f"{vendor} switched off: {spread_words(switched)}", dry_run)


@catalogue.command("enable")
@click.argument("vendor")
@change_options
def enable(vendor: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Switch VENDOR on again."""
    with wired() as services:
        switched = services.vendors.enable(actor(), vendor, reason, dry_run=dry_run)
        show(switched, as_json)
    said(f"{vendor} switched on: {spread_words(switched)}", dry_run)


@catalogue.command("models")
@json_option
def models(as_json: bool) -> None:
    """All models: who makes them, how they stand, and the price that holds."""
    with wired() as services:
        rows = services.catalogue_rows.list("model")
    if not as_json:
        rows = [
            {
                **row,
                **row["document"],
                "price": next((one["id"] for one in row["document"]["prices"][::-1]), None),
            }
            for row in rows
        ]
    show_rows(
        rows,
        as_json,
        "No models.",
        columns=("name", "vendor", "feature", "lifecycle", "enabled", "successor", "price", "origin"),
    )


@catalogue.command("aliases")
@json_option
def aliases(as_json: bool) -> None:
    """All names that lead to a model."""
    with wired() as services:
        rows = services.catalogue_rows.list("alias")
    if not as_json:
        rows = [{**row, **row["document"]} for row in rows]
    show_rows(rows, as_json, "No aliases.", columns=("name", "to", "moves_to", "ended", "origin"))


@catalogue.command("show")
@click.argument("name")
@click.option("--document", "alone", is_flag=True, help="Only the row, as `set` and `alias` take it.")
@json_option
def show_(name: str, alone: bool, as_json: bool) -> None:
    """The row of NAME, a model or an alias."""
    with wired() as services:
        found = services.catalogue_rows.get(services.catalogue_rows.kind_of(name), name)
    if alone:
        print_json(found["document"])
    else:
        show(found, as_json)


@catalogue.command("set")
@click.argument("model")
@file_option("The whole row: what `catalogue show MODEL --document` prints.")
@change_options
def set_(model: str, document: dict[str, Any], reason: str, dry_run: bool, as_json: bool) -> None:
    """Put MODEL in the catalogue, new or in the place of what it is."""
    with wired() as services:
        kept = services.catalogue_rows.put(actor(), "model", model, document, reason, dry_run=dry_run)
    show(kept, as_json)
    said(f"{model} is in the catalogue", dry_run)


@catalogue.command("price")
@click.argument("model")
@file_option('{"id", "as_of", "source", "per_million", "tiers", "per_image"}, in micro-dollars.')
@change_options
def price(model: str, document: dict[str, Any], reason: str, dry_run: bool, as_json: bool) -> None:
    """Give MODEL a new price; what was charged keeps the one it was charged by."""
    with wired() as services:
        kept = services.catalogue_rows.add_price(actor(), model, document, reason, dry_run=dry_run)
    show(kept, as_json)
    said(f"{model} costs {document.get('id')} from now on", dry_run)


@catalogue.command("retire")
@click.argument("model")
@click.option("--successor", help="Who answers in its place; left out, the one that its row names.")
@change_options
def retire(model: str, successor: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Retire MODEL: from now on its successor answers."""
    with wired() as services:
        kept = services.catalogue_rows.retire(actor(), model, reason, successor=successor, dry_run=dry_run)
    show(kept, as_json)
    said(f"{model} is retired", dry_run)


@catalogue.command("reset")
@click.argument("model")
@change_options
def reset(model: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Bring MODEL back to what this version came with."""
    with wired() as services:
        kept = services.catalogue_rows.reset(actor(), model, reason, dry_run=dry_run)
    show(kept, as_json)
    said(f"{model} is as it came", dry_run)


@catalogue.command("alias")
@click.argument("alias")
@click.option("--to", required=True, help="The model that answers for it.")
@click.option("--since", help="When the name was deprecated by its vendor: 2026-04-21T00:00:00Z.")
@click.option("--ended", help="When the name stopped working there.")
@click.option("--warning", help="What callers are told of it, before who answers.")
@change_options
def alias(
    alias: str,
    to: str,
    since: str | None,
    ended: str | None,
    warning: str | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Have the name ALIAS lead to a model."""
    document = {"to": to, "since": since, "ended": ended, "warning": warning}
    with wired() as services:
        kept = services.catalogue_rows.put(actor(), "alias", alias, document, reason, dry_run=dry_run)
    show(kept, as_json)
    said(f"{alias} leads to {to}", dry_run)


@catalogue.command("unalias")
@click.argument("alias")
@change_options
def unalias(alias: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Have the name ALIAS lead nowhere any more."""
    with wired() as services:
        gone = services.catalogue_rows.remove_alias(actor(), alias, reason, dry_run=dry_run)
    show(gone, as_json)
    said(f"{alias} leads nowhere", dry_run)


@catalogue.command("move")
@click.argument("name")
@click.option("--to", required=True, help="The next model.")
@click.option("--template", default=SHARES, show_default=True, help="Of the plan by which tenants go over.")
@click.option("--phase", help="Where the plan begins; left out, its first phase.")
@change_options
def move(
    name: str, to: str, template: str, phase: str | None, reason: str, dry_run: bool, as_json: bool
) -> None:
    """Begin to move NAME, an alias or a model, to another model: by a plan of its own, tenant by tenant."""
    with wired() as services:
        begun = services.moves.begin(
            actor(),
            services.catalogue_rows.kind_of(name),
            name,
            to,
            reason,
            template=template,
            phase=phase,
            dry_run=dry_run,
        )
    show(begun, as_json)
    said(f"{name} moves to {to}; go on with: rollout plans advance {begun['plan']['feature']}", dry_run)


@catalogue.command("finish")
@click.argument("name")
@click.option("--call-off", is_flag=True, help="The name stays with the model that it has, for everyone.")
@change_options
def finish(name: str, call_off: bool, reason: str, dry_run: bool, as_json: bool) -> None:
    """End the move of NAME: its plan is gone, and it leads to the next model for good."""
    with wired() as services:
        kept = services.moves.finish(
            actor(),
            services.catalogue_rows.kind_of(name),
            name,
            reason,
            call_off=call_off,
            dry_run=dry_run,
        )
    show(kept, as_json)
    said(f"{name} {'stays where it was' if call_off else 'has moved'}", dry_run)


@catalogue.command("verify")
@click.option("--vendor", help="This one alone.")
@json_option
def verify(vendor: str | None, as_json: bool) -> None:
    """Compare the catalogue with the vendors' own lists; what they say otherwise is proposed, never changed."""
    with wired(connect=True) as services:
        compared = services.catalogue_checks.verify(vendor)
    if as_json:
        print_json({"data": compared})
        return
    show_rows(
        [{**one, "differences": len(one["found"])} for one in compared],
        False,
        "No vendor is configured that could be asked.",
        columns=("vendor", "state", "models", "differences", "detail"),
    )
    if any(one["found"] for one in compared):
        click.echo("Look at them: rollout catalogue proposals")


@catalogue.command("proposals")
@click.argument("proposal", required=False)
@click.option(
    "--state", type=click.Choice(["all", *STATES]), default="open", show_default=True, help="Only these."
)
@limit_option(50)
@json_option
def proposals(proposal: str | None, state: str, limit: int, as_json: bool) -> None:
    """What vendors say otherwise than the catalogue, newest first; or PROPOSAL."""
    with wired() as services:
        if proposal is not None:
            show(services.catalogue_checks.get(proposal), as_json)
            return
        rows = services.catalogue_checks.page(
            state=None if state == "all" else state, cursor=None, limit=limit
        )
    show_rows(
        rows,
        as_json,
        "Vendors say nothing else than the catalogue.",
        columns=("id", "vendor", "model", "kind", "found", "state"),
        limit=limit,
    )


@catalogue.command("apply")
@click.argument("proposal")
@change_options
def apply(proposal: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Make the catalogue as PROPOSAL says: a model that is new to it comes disabled and without a price."""
    with wired() as services:
        applied = services.catalogue_checks.apply(actor(), proposal, reason, dry_run=dry_run)
    show(applied, as_json)
    said(f"{applied['model']} is as {applied['vendor']} says", dry_run)


@catalogue.command("dismiss")
@click.argument("proposal")
@change_options
def dismiss(proposal: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Leave the catalogue as it is: PROPOSAL comes again only when its vendor says something else."""
    with wired() as services:
        show(services.catalogue_checks.dismiss(actor(), proposal, reason, dry_run=dry_run), as_json)
    said(f"{proposal} dismissed", dry_run)
