"""`rollout flags ...`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

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
from rollout.cli.upstream import push, upstream
from rollout.core.flagd import flagd_document
from rollout.core.flags import PRODUCTION
from rollout.core.imports import Mode

environment_option = click.option("--environment", default=PRODUCTION, show_default=True)
switch_option = click.option("--on/--off", "on", default=None, help="Switch it.")
accept_option = click.option(
    "--accept-warnings", is_flag=True, help="It is meant as it stands, whatever looks odd."
)


@click.group()
def flags() -> None:
    """Flags beyond plans, in Unleash's format."""


flags.add_command(upstream)
flags.add_command(push)


@flags.command("list")
@environment_option
@click.option("--search", help="A part of the name.")
@click.option("--archived", is_flag=True, help="Those that are served no more.")
@click.option("--stale", is_flag=True, help="Those that nobody asked for in 30 days.")
@limit_option()
@json_option
def list_(
    environment: str, search: str | None, archived: bool, stale: bool, limit: int, as_json: bool
) -> None:
    """Flags in order of name."""
    with wired() as services:
        found = services.flags.page(
            environment=environment, archived=archived, stale=stale, search=search, cursor=None, limit=limit
        )
        rows = [services.flags.shown(flag) for flag in found]
    example = "rollout flags add new-editor --on --reason 'for everybody'"
    show_rows(
        rows if as_json else [_line(row) for row in rows],
        as_json,
        f"No such flags in {environment}. Add one: {example}",
        limit=limit,
    )


@flags.command("show")
@click.argument("name")
@environment_option
@click.option(
    "--document", "alone", is_flag=True, help="Only the flag in Unleash's format, for `set --file`."
)
@json_option
def show_(name: str, environment: str, alone: bool, as_json: bool) -> None:
    """One flag."""
    with wired() as services:
        flag = services.flags.get(name, environment=environment)
        if alone:
            print_json(flag.document)
        else:
            show(services.flags.shown(flag), as_json)


@flags.command("add")
@click.argument("name")
@click.option("--file", "document", type=Document(), help="Its document; without one, it is for everybody.")
@switch_option
@environment_option
@accept_option
@change_options
def add(
    name: str,
    document: dict[str, Any] | None,
    on: bool | None,
    environment: str,
    accept_warnings: bool,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add the flag NAME."""
    given = {"strategies": [{"name": "default"}]} if document is None else document
    with wired() as services:
        kept = services.flags.add(
            actor(),
            {**given, **_switched(on), "name": name},
            reason,
            environment=environment,
            accept_warnings=accept_warnings,
            dry_run=dry_run,
        )
        show(services.flags.shown(kept.flag), as_json)
    said(f"flag {name} added in {environment}", dry_run)


@flags.command("set")
@click.argument("name")
@click.option("--file", "document", type=Document(), help="Its whole document.")
@switch_option
@environment_option
@accept_option
@change_options
def set_(
    name: str,
    document: dict[str, Any] | None,
    on: bool | None,
    environment: str,
    accept_warnings: bool,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Change the flag NAME: its document, or only whether it is on."""
    if document is None and on is None:
        raise click.UsageError("Say --file, --on or --off.")
    with wired() as services:
        before = services.flags.get(name, environment=environment)
        kept = services.flags.put(
            actor(),
            name,
            {**(before.document if document is None else document), **_switched(on)},
            reason,
            environment=environment,
            accept_warnings=accept_warnings,
            based_on=before.version,
            dry_run=dry_run,
        )
        show(services.flags.shown(kept.flag), as_json)
    said(f"flag {name} changed in {environment}", dry_run)


@flags.command("archive")
@click.argument("name")
@environment_option
@change_options
def archive(name: str, environment: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Serve the flag NAME no more: it is off for all who ask."""
    with wired() as services:
        flag = services.flags.archive(actor(), name, reason, environment=environment, dry_run=dry_run)
        show(services.flags.shown(flag), as_json)
    said(f"flag {name} archived in {environment}", dry_run)


@flags.command("revive")
@click.argument("name")
@environment_option
@change_options
def revive(name: str, environment: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Serve the archived flag NAME again as it was."""
    with wired() as services:
        flag = services.flags.revive(actor(), name, reason, environment=environment, dry_run=dry_run)
        show(services.flags.shown(flag), as_json)
    said(f"flag {name} revived in {environment}", dry_run)


@flags.command("import")
@click.argument("file", type=Document())
@environment_option
@click.option(
    "--mode",
    type=click.Choice(get_args(Mode)),
    default="merge",
    show_default=True,
    help="replace archives the other flags of the environment.",
)
@change_options
def import_(
    file: dict[str, Any], environment: str, mode: Mode, reason: str, dry_run: bool, as_json: bool
) -> None:
    """Take the flags of FILE (- is the standard input): what Unleash's client features, delta or export answered."""
    with wired() as services:
        done = services.imports.run(
            actor(), file, reason, environment=environment, mode=mode, dry_run=dry_run
        )
    if as_json:
        print_json({"environment": environment, "mode": mode, "dry_run": dry_run, **done.as_json()})
    else:
        show_rows(done.changes(), False, "All of it is here already.")
        for notice in done.notices:
            where = f"{notice.flag}: {notice.param}" if notice.flag else notice.param
            click.echo(f"warning: {where}: {notice.message}", err=True)
    changes = len(done.changes())
    said(f"{changes} change{'s' if changes != 1 else ''} imported into {environment}", dry_run)


@flags.command("export")
@environment_option
@click.option(
    "--format", "format_", type=click.Choice(["unleash", "flagd"]), default="unleash", show_default=True
)
def export(environment: str, format_: str) -> None:
    """All flags of the environment as one document; those that flagd cannot say are named on stderr."""
    with wired() as services:
        document = services.imports.export(environment)
    if format_ == "unleash":
        print_json(document)
        return
    written, left_out = flagd_document(document)
    print_json(written)
    for one in left_out:
        click.echo(f"left out: {one['name']}: {one['reason']}", err=True)


def _switched(on: bool | None) -> dict[str, bool]:
    return {} if on is None else {"enabled": on}


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    document = row["document"]
    return {
        "name": row["name"],
        "enabled": document.get("enabled"),
        "type": document.get("type"),
        "project": row["project"],
        "strategies": [one.get("name") for one in document.get("strategies") or ()],
        "asked_at": row["asked_at"],
        "stale": row["stale"],
    }
