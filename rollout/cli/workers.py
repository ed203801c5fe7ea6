"""`rollout workers ...`"""

from __future__ import annotations

import click

from rollout.cli.context import json_option, show_rows, wired


@click.group()
def workers() -> None:
    """Processes that serve."""


@workers.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Who serves, and which revision each decides on; a worker that fell silent is `gone`."""
    with wired() as services:
        rows = services.workers.list()
    show_rows(rows, as_json, "No worker runs on this database. Start one: rollout serve")
