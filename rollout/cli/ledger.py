"""`rollout ledger ...`"""

from __future__ import annotations

import sys

import click

from rollout.cli.context import FAILED, actor, json_option, limit_option, print_json, show_rows, wired
from rollout.core.verifications import verification_json

COLUMNS = ("id", "at", "seconds", "clean", "actor")


@click.group()
def ledger() -> None:
    """The books."""


@ledger.command("list")
@limit_option(30)
@json_option
def list_(limit: int, as_json: bool) -> None:
    """How the books were found when they were added up, newest first."""
    with wired() as services:
        found = services.verifications.page(cursor=None, limit=limit)
    show_rows(
        [verification_json(one) for one in found],
        as_json,
        "Nobody added up the books yet. Do it now: rollout ledger verify",
        columns=COLUMNS,
        limit=limit,
    )


@ledger.command("verify")
@json_option
def verify(as_json: bool) -> None:
    """Compare every sum of the ledger with every bucket, hold and statement; exit 1 when something differs."""
    with wired() as services:
        found = services.verifications.run(actor().name)
    if as_json:
        print_json(verification_json(found))
    else:
        click.echo("\n".join(found.wrong) or "the books are clean")
    if not found.is_clean:
        sys.exit(FAILED)
