"""What `read`, `write` and `now` promise, on both databases."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from rollout.db import engine, revision
from rollout.db.engine import Database
from rollout.db.tables import tick
from rollout.errors import LedgerUnavailable

ROOT = Path(__file__).parents[2]


def add(database: Database, name: str) -> None:
    with database.write() as tx:
        tx.execute(sa.insert(tick).values(name=name, next_at=0))


def names(tx: sa.Connection) -> list[str]:
    return list(tx.execute(sa.select(tick.c.name).order_by(tick.c.name)).scalars())


def all_names(database: Database) -> list[str]:
    with database.read() as tx:
        return names(tx)


def revision_number(url: str) -> int:
    database = Database(url)
    with database.read() as tx:
        number = revision.current(tx)
    database.close()
    return number


def test_leaving_a_write_commits(database: Database) -> None:
    add(database, "sweep")
    assert all_names(database) == ["sweep"]


def test_an_exception_rolls_back(database: Database) -> None:
    def fail() -> None:
        with database.write() as tx:
            tx.execute(sa.insert(tick).values(name="sweep", next_at=0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all_names(database) == []


def test_a_read_sees_one_state_while_others_write(database: Database) -> None:
    with database.read() as tx:
        before = names(tx)
        add(database, "sweep")
        assert names(tx) == before
    assert all_names(database) == ["sweep"]


def test_a_broken_rule_of_the_tables_reaches_the_service_that_can_explain_it(database: Database) -> None:
    add(database, "sweep")
    with pytest.raises(sa.exc.IntegrityError):
        add(database, "sweep")


def test_threads_that_write_at_once_lose_nothing(database: Database) -> None:
    writers = [threading.Thread(target=add, args=(database, f"tick {number:02}")) for number in range(16)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(all_names(database)) == 16


def test_processes_that_count_up_one_row_lose_nothing(database_url: str) -> None:
    program = """
import sys
from rollout.db import revision
from rollout.db.engine import Database
database = Database(sys.argv[1])
for _ in range(20):
    with database.write() as tx:
        number, end = revision.lock(tx)
        revision.set_to(tx, number + 1, end)
"""
    running = [subprocess.Popen([sys.executable, "-c", program, database_url], cwd=ROOT) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert revision_number(database_url) == 61


def test_a_forked_process_writes_by_a_lock_of_its_own(database_url: str) -> None:
    """A descriptor that parent and child share would let both of them in."""
    program = """
import os, sys
from rollout.db import revision
from rollout.db.engine import Database
database = Database(sys.argv[1])
def count_up():
    for _ in range(20):
        with database.write() as tx:
            number, end = revision.lock(tx)
            revision.set_to(tx, number + 1, end)
count_up()
database.engine.dispose()
child = os.fork()
count_up()
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
    subprocess.run([sys.executable, "-c", program, database_url], cwd=ROOT, check=True)
    assert revision_number(database_url) == 61


def test_the_time_is_the_databases_in_whole_seconds_and_milliseconds(database_url: str) -> None:
    database = Database(database_url)
    with database.read() as tx:
        seconds, milliseconds = database.now(tx), database.now_ms(tx)
    database.close()
    assert abs(seconds - time.time()) < 60
    assert abs(milliseconds / 1000 - seconds) < 60
    assert isinstance(seconds, int)
    assert isinstance(milliseconds, int)


def test_a_full_disk_is_told_as_such_and_keeps_what_was_there(new_database: Callable[..., str]) -> None:
    database = Database(new_database("sqlite"))
    add(database, "sweep")
    with database.engine.connect() as connection:
        connection.exec_driver_sql("pragma max_page_count = 1")
    with pytest.raises(LedgerUnavailable), database.write() as tx:
        tx.execute(sa.insert(tick), [{"name": f"{number:060}", "next_at": 0} for number in range(500)])
    assert all_names(database) == ["sweep"]
    database.close()


def test_a_process_that_hangs_with_the_lock_does_not_hang_the_others(
    new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_SECONDS", 0.05)
    url = new_database("sqlite")
    database = Database(url)
    with Path(url.removeprefix("sqlite:///")).with_suffix(".lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LedgerUnavailable), database.write():
            pass
    add(database, "after")
    assert all_names(database) == ["after"]
    database.close()


def test_a_server_that_is_away_is_told_as_such() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(LedgerUnavailable) as caught, database.read():
        pass
    assert caught.value.retry_after == 2
    database.close()


@pytest.mark.postgres
def test_a_connection_that_is_cut_is_told_as_such_and_the_next_one_works(
    new_database: Callable[..., str],
) -> None:
    database = Database(new_database("postgresql"))
    with pytest.raises(LedgerUnavailable), database.write() as tx:
        tx.execute(sa.text("select pg_terminate_backend(pg_backend_pid())"))
    add(database, "after")
    assert all_names(database) == ["after"]
    database.close()
