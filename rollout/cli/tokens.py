"""`rollout tokens ...`"""

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
from rollout.core.tokens import ROLES, NewToken, Role, token_json


@click.group()
def tokens() -> None:
    """Tokens of the admin API. Their text is shown once, when they are made."""


@tokens.command("list")
@limit_option()
@json_option
def list_(limit: int, as_json: bool) -> None:
    """All tokens, the ended ones too."""
    with wired() as services:
        rows = [token_json(token) for token in services.tokens.page(after=None, limit=limit)]
    show_rows(
        rows,
        as_json,
        "No admin tokens yet. Make one: rollout tokens add ana --role admin --reason 'runs the beta'",
        limit=limit,
    )


@tokens.command("show")
@click.argument("token")
@json_option
def show_(token: str, as_json: bool) -> None:
    """The token with the id TOKEN, without its text."""
    with wired() as services:
        show(token_json(services.tokens.get(token)), as_json)


@tokens.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True)
@until_option
@change_options
def add(name: str, role: Role, until: int | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Make a token for NAME, who stands in the audit log as token:NAME, and print its text, this once."""
    from rollout.services.tokens import issued_token_json

    with wired() as services:
        issued = services.tokens.add(actor(), NewToken(name, role, until), reason, dry_run=dry_run)
        show(issued_token_json(issued), as_json)
    said(f"token {issued.token.id} added{SHOWN_ONCE if issued.secret else ''}", dry_run)


@tokens.command("revoke")
@click.argument("token")
@change_options
def revoke(token: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """The token with the id TOKEN opens nothing from now on."""
    with wired() as services:
        show(token_json(services.tokens.revoke(actor(), token, reason, dry_run=dry_run)), as_json)
    said(f"token {token} revoked", dry_run)
