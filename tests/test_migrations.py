"""The migrations: complete, in step with the tables, and safe to run by several processes at once."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from rollout.db import migrate, revision
from rollout.db.engine import Database
from rollout.errors import Conflict, LedgerUnavailable

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "alembic/versions").glob("*.py"))
NewDatabase = Callable[..., str]

on_both = pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])


@pytest.fixture
def empty(kind: str, new_database: NewDatabase) -> str:
    return new_database(kind, migrated=False)


@on_both
def test_an_empty_database_comes_up_to_the_tables_without_drift(empty: str) -> None:
    assert migrate.current(empty) is None
    migrate.upgrade(empty)
    assert migrate.current(empty) == migrate.head()
    assert migrate.drift(empty) == []


@on_both
def test_migrating_twice_changes_nothing(empty: str) -> None:
    migrate.upgrade(empty)
    migrate.upgrade(empty)
    assert migrate.current(empty) == migrate.head()


@on_both
def test_a_table_that_is_not_in_the_migrations_is_drift(empty: str) -> None:
    migrate.upgrade(empty)
    _execute(empty, "alter table tick add column surprise integer")
    assert any("surprise" in difference for difference in migrate.drift(empty))


def test_the_first_revision_row_is_there(database: Database) -> None:
    with database.read() as tx:
        row = tx.execute(sa.select(revision.revision)).mappings().one()
    assert dict(row) == revision.FIRST_ROW


@on_both
def test_processes_that_migrate_at_once_all_succeed(empty: str) -> None:
    program = "import sys; from rollout.db import migrate; migrate.upgrade(sys.argv[1])"
    running = [subprocess.Popen([sys.executable, "-c", program, empty], cwd=ROOT) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert migrate.drift(empty) == []


@on_both
def test_a_database_of_a_newer_version_is_refused(empty: str) -> None:
    migrate.upgrade(empty)
    _execute(empty, "update alembic_version set version_num = '9999'")
    with pytest.raises(Conflict, match="schema 9999"):
        migrate.upgrade(empty)
    assert migrate.current(empty) == "9999"


@pytest.mark.postgres
def test_a_migration_gives_up_with_a_clear_error_when_another_never_ends(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database("postgresql", migrated=False)
    monkeypatch.setattr(migrate, "TRIES", 1)
    other = sa.create_engine(url)
    with other.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(migrate._LOCK)))
        with pytest.raises(LedgerUnavailable, match="did not become free"):
            migrate.upgrade(url)
    other.dispose()
    migrate.upgrade(url)
    assert migrate.current(url) == migrate.head()


def test_asking_a_missing_sqlite_file_for_its_schema_does_not_make_it(tmp_path: Path) -> None:
    assert migrate.current(f"sqlite:///{tmp_path / 'none.db'}") is None
    assert list(tmp_path.iterdir()) == []


def test_a_migration_that_fails_leaves_nothing_behind(database: Database) -> None:
    """DDL must roll back on both databases; Python's sqlite3 would otherwise commit before it."""

    def fail_half_way() -> None:
        with database.write() as tx:
            tx.execute(sa.text("create table half_done (id integer unique)"))
            tx.execute(sa.text("insert into half_done values (1), (1)"))

    with pytest.raises(sa.exc.IntegrityError):
        fail_half_way()
    with database.read() as tx:
        assert not sa.inspect(tx).has_table("half_done")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_number_name_and_revision_of_a_migration_agree(file: Path) -> None:
    number, name = file.stem.split("_", 1)
    source = ast.parse(file.read_text())
    values = {
        target.id: ast.literal_eval(statement.value)
        for statement in source.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    assert values["revision"] == number
    assert values["down_revision"] == (None if number == "0001" else f"{int(number) - 1:04}")
    title = (ast.get_docstring(source) or "").splitlines()[0]
    assert re.sub(r"\W+", "_", title.lower()) == name


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [file.name[:4] for file in FILES] == [f"{number:04}" for number in range(1, len(FILES) + 1)]


def test_our_migrations_folder_does_not_hide_the_library() -> None:
    assert not (ROOT / "alembic/__init__.py").exists()


def _execute(url: str, statement: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()
