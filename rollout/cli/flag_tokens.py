"""`rollout flag-tokens ...`, and what their holders tell: `rollout flag-clients`, `rollout flag-metrics`."""

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
from rollout.core.flag_metrics import flag_client_json, flag_metric_json
from rollout.core.flag_tokens import ALL_PROJECTS, KINDS, Kind, NewFlagToken, flag_token_json
from rollout.core.flags import PRODUCTION

COLUMNS = ("id", "name", "type", "environment", "projects", "tenant", "prefix", "expires_at", "revoked_at")
environment_option = click.option("--environment", default=PRODUCTION, show_default=True)


@click.group("flag-tokens")
def flag_tokens() -> None:
    """Tokens by which SDKs ask for flags. Their text is shown once, when they are made."""


@flag_tokens.command("list")
@click.option("--tenant", help="Only those that speak for this tenant.")
@limit_option()
@json_option
def list_(tenant: str | None, limit: int, as_json: bool) -> None:
    """All flag tokens, the ended ones too."""
    with wired() as services:
        found = services.flag_tokens.page(tenant=tenant, after=None, limit=limit)
    show_rows(
        [flag_token_json(token) for token in found],
        as_json,
        "No flag tokens yet. Make one: rollout flag-tokens add --name backend --type client --reason 'our servers'",
        columns=COLUMNS,
        limit=limit,
    )


@flag_tokens.command("show")
@click.argument("token")
@json_option
def show_(token: str, as_json: bool) -> None:
    """The token with the id TOKEN, without its text."""
    with wired() as services:
        show(flag_token_json(services.flag_tokens.get(token)), as_json)


@flag_tokens.command("add")
@click.option("--name", required=True, help="What it is for.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(KINDS),
    required=True,
    help="client: a server of yours, which gets the flags themselves; frontend: answers alone.",
)
@environment_option
@click.option(
    "--project",
    "projects",
    multiple=True,
    default=ALL_PROJECTS,
    show_default=True,
    help="Whose flags it sees; repeatable.",
)
@click.option("--tenant", help="For whom a frontend token speaks, whatever its callers say.")
@until_option
@change_options
def add(
    name: str,
    kind: Kind,
    environment: str,
    projects: tuple[str, ...],
    tenant: str | None,
    until: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a token and print its text, this once."""
    from rollout.services.flag_tokens import issued_flag_token_json

    with wired() as services:
        new = NewFlagToken(name, kind, environment, projects, tenant, until)
        issued = services.flag_tokens.add(actor(), new, reason, dry_run=dry_run)
        show(issued_flag_token_json(issued), as_json)
    said(f"flag token {issued.token.id} added{SHOWN_ONCE if issued.secret else ''}", dry_run)


@flag_tokens.command("revoke")
@click.argument("token")
@change_options
def revoke(token: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """The token with the id TOKEN opens nothing from now on, and its streams end."""
    with wired() as services:
        revoked = services.flag_tokens.revoke(actor(), token, reason, dry_run=dry_run)
        show(flag_token_json(revoked), as_json)
    said(f"flag token {token} revoked", dry_run)


@click.group("flag-clients")
def flag_clients() -> None:
    """SDKs that ask for flags."""


@flag_clients.command("list")
@click.option("--environment", help="Only those that ask for its flags.")
@limit_option()
@json_option
def list_clients(environment: str | None, limit: int, as_json: bool) -> None:
    """Processes that asked within a week."""
    with wired() as services:
        found = services.flag_metrics.clients(environment=environment, limit=limit)
    show_rows(
        [flag_client_json(client) for client in found],
        as_json,
        "No SDK has said that it is there. Give one a token: rollout flag-tokens add",
        columns=("environment", "app_name", "instance_id", "sdk", "seen_at"),
        limit=limit,
    )


@click.group("flag-metrics")
def flag_metrics() -> None:
    """How often flags were on and off."""


@flag_metrics.command("list")
@click.argument("flag")
@environment_option
@click.option("--hours", default=24, show_default=True, type=click.IntRange(1, 744), help="So far back.")
@limit_option()
@json_option
def list_metrics(flag: str, environment: str, hours: int, limit: int, as_json: bool) -> None:
    """What SDKs counted of FLAG, by hour and app, the newest first."""
    with wired() as services:
        found = services.flag_metrics.page(environment, flag, hours=hours, limit=limit)
    show_rows(
        [flag_metric_json(metric) for metric in found],
        as_json,
        f"Nobody asked for {flag} in {environment} within {hours} hours.",
        columns=("hour", "app_name", "yes", "no", "variants"),
        limit=limit,
    )
