"""`rollout migrate | check | config`: commands for whoever runs it."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any

import click

from rollout.cli.context import FAILED, json_option, print_json, refusals, settings_or_exit, show_rows


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database's schema up to date; safe to run twice, and by two processes at once."""
    from rollout.db import migrate as migrations

    settings = settings_or_exit()
    with refusals():
        before = migrations.current(settings.database)
        migrations.upgrade(settings.database)
        after = migrations.current(settings.database)
    if as_json:
        print_json({"schema": after, "before": before})
    else:
        click.echo(f"schema is at {after}" + ("" if before == after else f" (was {before or 'empty'})"))


@click.command()
@json_option
def config(as_json: bool) -> None:
    """Show each setting, its value (secrets masked) and where it comes from."""
    from rollout.settings import Settings, source, unknown_variables, variable

    settings = settings_or_exit()
    rows = [
        {
            "setting": variable(field.name),
            "value": _masked(settings, field),
            "source": source(os.environ, field.name),
        }
        for field in dataclasses.fields(Settings)
    ]
    show_rows(rows, as_json, "")
    for sentence in unknown_variables(os.environ):
        click.echo(f"warning: {sentence}", err=True)


@click.command()
@json_option
def check(as_json: bool) -> None:
    """Check settings, schema, ledger, audit chain and vendors; exit 1 when something is wrong."""
    from rollout.cli import checks

    results = checks.run(settings_or_exit(), os.environ)
    show_rows(results, as_json, "")
    if any(result["state"] == "wrong" for result in results):
        sys.exit(FAILED)


def _masked(settings: Any, field: dataclasses.Field[Any]) -> str:
    value = str(getattr(settings, field.name))
    return "(set)" if value and field.metadata["secret"] else value
