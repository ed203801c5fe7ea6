"""Bring a database to the schema of this version. Alembic is imported only when there is work for it.

Failure behaviour: a migration is one transaction, so one that fails leaves nothing behind; processes that
migrate at once take turns, and the later ones find nothing to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from rollout.db.engine import Database, Tx
from rollout.db.tables import metadata
from rollout.errors import Conflict, LedgerUnavailable

if TYPE_CHECKING:
    from alembic.config import Config

TRIES = 60
"""A migration waits one second for a lock, so that nobody queues behind it for longer, and tries again."""

_LOCK = 0x706861736567  # "phaseg": the advisory lock that migrating processes queue at
_LOCK_NOT_AVAILABLE = "55P03"


def upgrade(url: str) -> None:
    """Apply what is missing, in one transaction.

    Raises `Conflict` for a database of a newer version, `LedgerUnavailable` for one that is away or locked.
    """
    database = Database(url)
    try:
        for _ in range(TRIES):
            if _try_upgrade(database):
                return
    finally:
        database.close()
    raise LedgerUnavailable(
        f"The database did not become free for a migration in {TRIES} tries.",
        remedy="Another process holds a table or is migrating: end it, then run `rollout migrate` again.",
        retry_after=60,
    )


def current(url: str) -> str | None:
    """The revision the database is at, such as `0003`; None for an empty or missing one."""
    database_file = sa.make_url(url).database
    if url.startswith("sqlite:") and database_file and not Path(database_file).exists():
        return None
    database = Database(url)
    try:
        with database.read() as tx:
            return _current(tx)
    finally:
        database.close()


def head() -> str:
    """The revision this version needs: the number of the last migration file."""
    return known()[-1]


def known() -> list[str]:
    """Every revision this version knows, in order. A file's first four characters are its revision."""
    return sorted(path.name[:4] for path in (_scripts() / "versions").glob("[0-9]*.py"))


def drift(url: str) -> list[str]:
    """How the database differs from `rollout.db.tables`, a line a difference."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = Database(url)
    try:
        with database.read() as tx:
            return [
                repr(difference) for difference in compare_metadata(MigrationContext.configure(tx), metadata)
            ]
    finally:
        database.close()


def _try_upgrade(database: Database) -> bool:
    """False when another process held a lock for a second: nothing was changed, and trying again is right."""
    try:
        with database.write() as tx:
            if not database.is_sqlite:
                tx.execute(sa.text("set local lock_timeout = '1s'"))
                tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            at = _current(tx)
            if at is not None and at not in known():
                raise Conflict(
                    f"The database is at schema {at}; this version knows schemas up to {head()}.",
                    remedy="Run the version of Phasegate that migrated this database, or a newer one.",
                )
            if at != head():
                _run_scripts(tx)
    except LedgerUnavailable as error:
        if getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        return False
    return True


def _run_scripts(tx: Tx) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = tx
    command.upgrade(config, "head")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    return config


def _scripts() -> Path:
    """The copy inside the installed package, else the checkout's folder."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "_alembic"
    return packaged if packaged.is_dir() else package.parent / "alembic"


def _current(tx: Tx) -> str | None:
    if not sa.inspect(tx).has_table("alembic_version"):
        return None
    version: str | None = tx.execute(sa.text("select version_num from alembic_version")).scalar_one_or_none()
    return version
