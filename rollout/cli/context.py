"""What every command needs: the wired services, who is acting, options of a change, and output for people or programs."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import orjson

from rollout.cli.tables import grid, pairs
from rollout.core.audit import Actor
from rollout.core.exports import FORMATS, Format, lines
from rollout.errors import RolloutError
from rollout.settings import Settings, SettingsError

F = TypeVar("F", bound=Callable[..., Any])

FAILED, REFUSED = 1, 3
SHOWN_ONCE = "; copy its secret now, it is not shown again"

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")


def limit_option(default: int = 500) -> Callable[[F], F]:
    return click.option(
        "--limit",
        default=default,
        show_default=True,
        type=click.IntRange(1, 10_000),
        help="At most so many.",
    )


format_option = click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="csv", show_default=True
)


def change_options(command: F) -> F:
    """`--reason` (asked for by every change), `--dry-run` and `--json`."""
    for option in (
        json_option,
        click.option("--dry-run", is_flag=True, help="Check everything, change nothing."),
        click.option("--reason", required=True, help="Why; goes into the audit log."),
    ):
        command = option(command)
    return command


def settings_or_exit(**defaults: Any) -> Settings:
    """Settings from the environment; every problem is printed and ends the command with code 1."""
    try:
        return Settings.from_env(os.environ, **defaults)
    except SettingsError as error:
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        sys.exit(FAILED)


@contextmanager
def wired(*, connect: bool = False) -> Iterator[Any]:
    """The services on the configured database (a `rollout.services.registry.Services`); errors become a sentence and an exit code.
    `connect`: with the vendors' clients."""
    from rollout import log
    from rollout.wiring import build

    settings = settings_or_exit(log_level="warning")
    log.configure(settings.log_level, settings.log_format)
    require_schema(settings)
    with contextlib.closing(build(settings, connect=connect)) as services, refusals():
        yield services


def require_schema(settings: Settings) -> None:
    """Ends the command with code 1 unless the database is at this version's schema."""
    from rollout.db import migrate

    with refusals():
        current, head = migrate.current(settings.database), migrate.head()
    if current != head:
        click.echo(
            f"error: the database's schema is at {current or 'nothing'} and must be at {head}. Run: rollout migrate",
            err=True,
        )
        sys.exit(FAILED)


@contextmanager
def refusals() -> Iterator[None]:
    """A RolloutError becomes its message and remedy on stderr: exit 3 when a rule refused, 1 when something failed."""
    try:
        yield
    except RolloutError as error:
        where = f" ({error.members['param']})" if "param" in error.members else ""
        click.echo(f"error: {error.message}{where}\n  {error.remedy_text}", err=True)
        for one in (*error.members.get("errors", ())[1:], *error.members.get("warnings", ())):
            click.echo(f"  {one['param']}: {one['message']}", err=True)
        sys.exit(FAILED if error.http_status >= 500 else REFUSED)


def actor() -> Actor:
    """`cli:<os user>`."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return Actor(f"cli:{name}")


def show(value: Mapping[str, Any], as_json: bool) -> None:
    """One thing: JSON, or a `name  value` table."""
    if as_json:
        print_json(value)
    else:
        click.echo("\n".join(pairs(value)))


def show_rows(
    rows: Sequence[Mapping[str, Any]],
    as_json: bool,
    empty: str,
    *,
    columns: Sequence[str] = (),
    limit: int | None = None,
) -> None:
    """Many things: a JSON array, or a table of `columns` (all, without any).

    `empty` is what to say, and to do, when there are none; where there are as many as the `limit`, a word says so.
    """
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(empty)
    else:
        head, *lines = grid(rows, columns or tuple(rows[0]), _room())
        click.secho(head, bold=True)
        click.echo("\n".join(lines))
    if limit is not None and len(rows) >= limit:
        click.echo(f"These are {limit}, and there may be more: --limit {2 * limit}", err=True)


def check_one_format(as_csv: bool, as_json: bool) -> None:
    if as_csv and as_json:
        raise click.UsageError("Say either --csv or --json.")


def print_file(format_: Format, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """As CSV, or as a JSON array with one row a line."""
    for line in lines(format_, columns, rows):
        click.echo(line, nl=False)


def print_json(value: Any) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def said(text: str, dry_run: bool) -> None:
    """One sentence about what was done, on stderr so that stdout stays data."""
    click.echo(f"{'would be: ' if dry_run else ''}{text}", err=True)


def _room() -> int | None:
    """The columns of the terminal; None when what is printed goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
