"""`rollout keys ...`"""

from __future__ import annotations

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
from rollout.cli.moments import until_option
from rollout.core.tenants import OVERLAP_SECONDS, SCOPES, Mode, NewKey, Scope, key_json

COLUMNS = ("id", "name", "mode", "prefix", "scopes", "created_at", "expires_at", "revoked_at")


@click.group()
def keys() -> None:
    """A tenant's API keys. Their text is shown once, when they are made."""


@keys.command("list")
@click.argument("tenant")
@limit_option()
@json_option
def list_(tenant: str, limit: int, as_json: bool) -> None:
    """All keys of a tenant, the ended ones too."""
    with wired() as services:
        rows = [key_json(key) for key in services.keys.page(tenant, after=None, limit=limit)]
    show_rows(
        rows,
        as_json,
        f"{tenant} has no keys yet. Make one: rollout keys add {tenant} --name server --reason 'first key'",
        columns=COLUMNS,
        limit=limit,
    )


@keys.command("show")
@click.argument("tenant")
@click.argument("key")
@json_option
def show_(tenant: str, key: str, as_json: bool) -> None:
    """One key, without its text."""
    with wired() as services:
        show(key_json(services.keys.get(tenant, key)), as_json)


@keys.command("add")
@click.argument("tenant")
@click.option("--name", required=True, help="What it is for.")
@click.option("--mode", type=click.Choice(["live", "test"]), default="live", show_default=True)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    default=SCOPES,
    help="What it may do; repeatable; all without.",
)
@until_option
@change_options
def add(
    tenant: str,
    name: str,
    mode: Mode,
    scopes: tuple[Scope, ...],
    until: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a key and print its text, this once."""
    from rollout.services.keys import issued_key_json

    with wired() as services:
        issued = services.keys.add(
            actor(), tenant, NewKey(name, mode, scopes, until), reason, dry_run=dry_run
        )
        show(issued_key_json(issued), as_json)
    said(f"key {issued.key.id} added{SHOWN_ONCE if issued.secret else ''}", dry_run)


@keys.command("revoke")
@click.argument("tenant")
@click.argument("key")
@change_options
def revoke(tenant: str, key: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """The key opens nothing from now on."""
    with wired() as services:
        show(key_json(services.keys.revoke(actor(), tenant, key, reason, dry_run=dry_run)), as_json)
    said(f"key {key} revoked", dry_run)


@keys.command("rotate")
@click.argument("tenant")
@click.argument("key")
@click.option(
    "--overlap",
    default=OVERLAP_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long the old key goes on working.",
)
@until_option
@change_options
def rotate(
    tenant: str, key: str, overlap: int, until: int | None, reason: str, dry_run: bool, as_json: bool
) -> None:
    """Make a new key in place of one, which ends after the overlap; print the new text, this once."""
    from rollout.services.keys import rotated_key_json

    with wired() as services:
        rotated = services.keys.rotate(
            actor(), tenant, key, reason, overlap_seconds=overlap, expires_at=until, dry_run=dry_run
        )
        show(rotated_key_json(rotated), as_json)
    issued = rotated.issued
    said(f"key {key} replaced by {issued.key.id}{SHOWN_ONCE if issued.secret else ''}", dry_run)
