"""`rollout users ...`"""

from __future__ import annotations

import sys
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
from rollout.core.sessions import sign_in_url
from rollout.core.tokens import ROLES, Role
from rollout.core.users import NewUser, user_json

password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input."
)


@click.group()
def users() -> None:
    """Operators at the console. USER is an id or an email."""


@users.command("list")
@limit_option()
@json_option
def list_(limit: int, as_json: bool) -> None:
    """All users, the disabled ones too."""
    with wired() as services:
        rows = [user_json(user) for user in services.users.page(after=None, limit=limit)]
    show_rows(
        rows,
        as_json,
        "No users yet. Add one: rollout users add ana@example.com --name Ana --role admin --reason 'runs the beta'",
        limit=limit,
    )


@users.command("show")
@click.argument("user")
@json_option
def show_(user: str, as_json: bool) -> None:
    """One user."""
    with wired() as services:
        show(user_json(_find(services, user)), as_json)


@users.command("add")
@click.argument("email")
@click.option("--name", required=True)
@click.option("--role", type=click.Choice(ROLES), required=True)
@password_option
@change_options
def add(
    email: str, name: str, role: Role, password_stdin: bool, reason: str, dry_run: bool, as_json: bool
) -> None:
    """Add a user with a password, or print a link by which they sign in once, within a day."""
    new_password = _read_password() if password_stdin else None
    with wired() as services:
        user = services.users.add(
            actor(), NewUser(email, name, role), reason, password=new_password, dry_run=dry_run
        )
        no_link = password_stdin or dry_run
        link_ = None if no_link else _link(services, services.users.link(actor(), user.id, reason))
        show({**user_json(user), "link": link_}, as_json)
    said(f"user {user.email} added{SHOWN_ONCE if link_ else ''}", dry_run)


@users.command("set")
@click.argument("user")
@click.option("--name")
@click.option("--role", type=click.Choice(ROLES))
@change_options
def set_(user: str, name: str | None, role: Role | None, reason: str, dry_run: bool, as_json: bool) -> None:
    """Change a user's name or role."""
    fields = {field: value for field, value in (("name", name), ("role", role)) if value is not None}
    with wired() as services:
        changed = services.users.change(actor(), _find(services, user).id, fields, reason, dry_run=dry_run)
        show(user_json(changed), as_json)
    said(f"user {user} changed", dry_run)


@users.command("disable")
@click.argument("user")
@change_options
def disable(user: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """They are out from now on: their sessions end."""
    with wired() as services:
        disabled = services.users.disable(actor(), _find(services, user).id, reason, dry_run=dry_run)
        show(user_json(disabled), as_json)
    said(f"user {user} disabled", dry_run)


@users.command("enable")
@click.argument("user")
@change_options
def enable(user: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """They may sign in again."""
    with wired() as services:
        enabled = services.users.enable(actor(), _find(services, user).id, reason, dry_run=dry_run)
        show(user_json(enabled), as_json)
    said(f"user {user} enabled", dry_run)


@users.command("password")
@click.argument("user")
@password_option
@change_options
def password(user: str, password_stdin: bool, reason: str, dry_run: bool, as_json: bool) -> None:
    """Set a user's password, which is asked for; their sessions end."""
    new_password = _read_password() if password_stdin else _ask_password()
    with wired() as services:
        changed = services.users.set_password(
            actor(), _find(services, user).id, new_password, reason, dry_run=dry_run
        )
        show(user_json(changed), as_json)
    said(f"password of {user} set", dry_run)


@users.command("link")
@click.argument("user")
@change_options
def link(user: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Print a link by which a user signs in once, within a day; an earlier one ends."""
    with wired() as services:
        secret = services.users.link(actor(), _find(services, user).id, reason, dry_run=dry_run)
        show({"link": _link(services, secret)}, as_json)
    said(f"sign-in link of {user} made{SHOWN_ONCE if secret else ''}", dry_run)


def _find(services: Any, user: str) -> Any:
    return services.users.by_email(user) if "@" in user else services.users.get(user)


def _link(services: Any, secret: str | None) -> str | None:
    return sign_in_url(services.settings.url, secret) if secret else None


def _read_password() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _ask_password() -> str:
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
