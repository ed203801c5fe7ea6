"""`rollout grants ...`"""

from __future__ import annotations

from typing import get_args

import click

from rollout.cli.context import actor, change_options, json_option, limit_option, said, show, show_rows, wired
from rollout.cli.moments import MOMENT, until_option
from rollout.core.grants import GrantState, grant_json

COLUMNS = ("id", "tenant", "feature", "state", "starts_at", "expires_at", "cohort", "reason")


@click.group()
def grants() -> None:
    """Tenants' time-boxed access to features."""


@grants.command("list")
@click.option("--tenant", help="Of this tenant only.")
@click.option("--feature", help="Of this feature only.")
@click.option("--state", type=click.Choice(get_args(GrantState)))
@limit_option()
@json_option
def list_(
    tenant: str | None, feature: str | None, state: GrantState | None, limit: int, as_json: bool
) -> None:
    """Grants, newest first, the ended ones too."""
    with wired() as services:
        found = services.grants.page(tenant=tenant, feature=feature, state=state, before=None, limit=limit)
    show_rows(
        [grant_json(grant) for grant in found],
        as_json,
        "No grants here. Give one: rollout grants add acme image-generation --until 2027-03-01"
        " --reason 'beta partner'",
        columns=COLUMNS,
        limit=limit,
    )


@grants.command("show")
@click.argument("grant")
@json_option
def show_(grant: str, as_json: bool) -> None:
    """The grant with the id GRANT."""
    with wired() as services:
        show(grant_json(services.grants.get(grant)), as_json)


@grants.command("add")
@click.argument("tenant")
@click.argument("feature")
@click.option("--cohort", help="Puts the tenant into the phases that are for this cohort.")
@until_option
@change_options
def add(
    tenant: str,
    feature: str,
    cohort: str | None,
    until: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let a tenant in; the access request that it has waiting is approved with it."""
    with wired() as services:
        granted = services.grants.add(
            actor(), tenant, feature, reason, expires_at=until, cohort=cohort, dry_run=dry_run
        )
        show(grant_json(granted), as_json)
    said(f"{feature} granted to {tenant}", dry_run)


@grants.command("set")
@click.argument("grant")
@click.option("--until", type=MOMENT, help="When it ends: 2027-03-01, or RFC 3339 with a zone.")
@click.option("--forever", is_flag=True, help="It ends when it is revoked.")
@change_options
def set_(grant: str, until: int | None, forever: bool, reason: str, dry_run: bool, as_json: bool) -> None:
    """Change when the grant with the id GRANT ends."""
    if forever == (until is not None):
        raise click.UsageError("Say either --until or --forever.")
    with wired() as services:
        show(grant_json(services.grants.set_expiry(actor(), grant, until, reason, dry_run=dry_run)), as_json)
    said(f"grant {grant} changed", dry_run)


@grants.command("revoke")
@click.argument("grant")
@change_options
def revoke(grant: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """The tenant of the grant with the id GRANT is out from now on."""
    with wired() as services:
        show(grant_json(services.grants.revoke(actor(), grant, reason, dry_run=dry_run)), as_json)
    said(f"grant {grant} revoked", dry_run)
