"""`rollout tenants ...`"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.core.tenants import (
    RETIRED_MODELS,
    THINKING_BUDGETS,
    RetiredModels,
    Tenant,
    TenantState,
    ThinkingBudgets,
    tenant_json,
)

ALL = "all"

F = TypeVar("F", bound=Callable[..., Any])


def models_options(command: F) -> F:
    """Which models a tenant may use, and how."""
    for option in (
        click.option(
            "--thinking-budgets",
            type=click.Choice(THINKING_BUDGETS),
            help="Whether one for a model that takes none becomes an effort, or is refused.",
        ),
        click.option(
            "--retired-models",
            type=click.Choice(RETIRED_MODELS),
            help="Whether an old name is answered by the model that stands in for it, or refused.",
        ),
        click.option(
            "--vendor",
            "vendors",
            multiple=True,
            help="Whose models it may use; repeatable, replaces them all. `--vendor all` allows every one.",
        ),
    ):
        command = option(command)
    return command


@click.group()
def tenants() -> None:
    """Organisations with keys and quotas."""


@tenants.command("list")
@click.option("--search", help="How the id begins, or any part of the name.")
@click.option("--state", type=click.Choice(get_args(TenantState)))
@limit_option()
@json_option
def list_(search: str | None, state: TenantState | None, limit: int, as_json: bool) -> None:
    """Tenants, in order of their ids."""
    with wired() as services:
        found = services.tenants.page(after=None, limit=limit, search=search, state=state)
    show_rows(
        [tenant_json(tenant) for tenant in found],
        as_json,
        "No tenants here. Add one: rollout tenants add acme --name 'Acme Ltd' --reason 'first partner'",
        limit=limit,
    )


@tenants.command("show")
@click.argument("tenant")
@json_option
def show_(tenant: str, as_json: bool) -> None:
    """One tenant."""
    with wired() as services:
        show(tenant_json(services.tenants.get(tenant)), as_json)


@tenants.command("add")
@click.argument("tenant")
@click.option("--name", required=True)
@click.option("--tz", default="UTC", show_default=True, help="IANA time zone.")
@click.option(
    "--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="Targetable by phases; repeatable."
)
@change_options
def add(
    tenant: str, name: str, tz: str, attributes: tuple[str, ...], reason: str, dry_run: bool, as_json: bool
) -> None:
    """Add a tenant."""
    with wired() as services:
        new = Tenant(id=tenant, name=name, tz=tz, attributes=_attributes(attributes))
        added = services.tenants.add(actor(), new, reason, dry_run=dry_run)
        show(tenant_json(added), as_json)
    said(f"tenant {tenant} added", dry_run)


@tenants.command("set")
@click.argument("tenant")
@click.option("--name")
@click.option("--tz")
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replaces all attributes; repeatable.",
)
@change_options
@models_options
def set_(
    tenant: str,
    name: str | None,
    tz: str | None,
    attributes: tuple[str, ...],
    vendors: tuple[str, ...],
    retired_models: RetiredModels | None,
    thinking_budgets: ThinkingBudgets | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Change a tenant's name, time zone or attributes, or which models it may use, and how."""
    fields: dict[str, Any] = {
        "name": name,
        "tz": tz,
        "attributes": _attributes(attributes) if attributes else None,
        "retired_models": retired_models,
        "thinking_budgets": thinking_budgets,
    }
    sent = {field: value for field, value in fields.items() if value is not None}
    if vendors:
        sent["vendors"] = None if vendors == (ALL,) else vendors
    with wired() as services:
        show(tenant_json(services.tenants.change(actor(), tenant, sent, reason, dry_run=dry_run)), as_json)
    said(f"tenant {tenant} changed", dry_run)


@tenants.command("suspend")
@click.argument("tenant")
@change_options
def suspend(tenant: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Its keys open nothing until it is activated."""
    with wired() as services:
        show(
            tenant_json(services.tenants.set_state(actor(), tenant, "suspended", reason, dry_run=dry_run)),
            as_json,
        )
    said(f"tenant {tenant} suspended", dry_run)


@tenants.command("activate")
@click.argument("tenant")
@change_options
def activate(tenant: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Undo a suspension."""
    with wired() as services:
        show(
            tenant_json(services.tenants.set_state(actor(), tenant, "active", reason, dry_run=dry_run)),
            as_json,
        )
    said(f"tenant {tenant} active", dry_run)


def _attributes(pairs: tuple[str, ...]) -> dict[str, str]:
    attributes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--attribute")
        attributes[name] = value
    return attributes
