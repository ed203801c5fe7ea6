"""The database is away, read-only or full, before a call or in the middle of it, fails over, or its clock steps: what the caller is told,
and what the books say afterwards. Real errors of real drivers; nothing is ever lost or half done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from clocks import Clock, ClockedDatabase
from doors import ALICE
from gateway import B64, COST, GRACE, LEASE, Gateway, finished
from postgres import Run, Unavailable
from processes import give_up

from rollout.core.images import Finished, Picture
from rollout.db import tables
from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable

LONG = "a boat " * 4_000
"""Too long for the free room of any page: a full database has to say so."""


@contextmanager
def on_each_connection(database: Database, statement: str) -> Iterator[None]:
    """SQLite: say it to every connection when it is taken, and the contrary afterwards."""

    def say(connection: Any, *_: object) -> None:
        connection.execute(statement)

    sa.event.listen(database.engine, "checkout", say)
    try:
        yield
    finally:
        sa.event.remove(database.engine, "checkout", say)
        database.engine.dispose()


@contextmanager
def server_says(database: Database, begins: str, ends: str) -> Iterator[None]:
    """PostgreSQL: say it from another database; connections are cut."""
    name = database.engine.url.database
    other = sa.create_engine(database.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    cut = sa.text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name")
    try:
        for statement in (begins, ends):
            with other.connect() as connection:
                connection.execute(sa.text(statement.format(name=name)))
                connection.execute(cut, {"name": name})
            if statement == begins:
                yield
    finally:
        other.dispose()


@contextmanager
def away(database: Database) -> Iterator[None]:
    if database.is_sqlite:
        file = Path(str(database.engine.url.database))
        database.engine.dispose()
        file.rename(file.with_suffix(".gone"))
        file.mkdir()
        yield
        file.rmdir()
        file.with_suffix(".gone").rename(file)
    else:
        with server_says(
            database,
            'alter database "{name}" allow_connections false',
            'alter database "{name}" allow_connections true',
        ):
            yield


@contextmanager
def read_only(database: Database) -> Iterator[None]:
    if database.is_sqlite:
        with on_each_connection(database, "PRAGMA query_only = ON"):
            yield
    else:
        setting = 'alter database "{name}" set default_transaction_read_only = '
        with server_says(database, f"{setting}on", f"{setting}off"):
            yield


@contextmanager
def full(database: Database) -> Iterator[None]:
    """PostgreSQL has no quota of its own: the table answers with the error of a full disk (53100)."""
    if database.is_sqlite:
        with database.read() as tx:
            pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        with on_each_connection(database, f"PRAGMA max_page_count = {pages}"):
            yield
    else:
        with database.write() as tx:
            tx.exec_driver_sql(
                "create function no_room() returns trigger language plpgsql as "
                "$$ begin raise exception 'could not extend file' using errcode = '53100'; end $$"
            )
            tx.exec_driver_sql(
                "create trigger no_room before insert or update on hold execute function no_room()"
            )
        yield
        with database.write() as tx:
            tx.exec_driver_sql("drop trigger no_room on hold")
            tx.exec_driver_sql("drop function no_room")


every_trouble = pytest.mark.parametrize("trouble", [away, read_only, full])
Trouble = Callable[[Database], Any]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(
    request: pytest.FixtureRequest, new_database: Callable[..., str], clock: Clock
) -> Iterator[Database]:
    """One that nobody else has: its connections are cut."""
    opened = ClockedDatabase(new_database(request.param), clock)
    yield opened
    opened.close()


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    opened = Gateway(database, clock, tmp_path)
    opened.limit("image", "day", 5)
    opened.limit("usd_micro", "month", 9_000_000)
    return opened


def described() -> Finished:
    """A picture of which the vendor has much to say."""
    return replace(finished(), pictures=(Picture(B64, "image/png", LONG),))


def used(gateway: Gateway) -> dict[str, tuple[int, int]]:
    """(used, held) by the unit of the meter."""
    bucket, meter = tables.bucket, tables.meter
    query = sa.select(meter.c.unit, bucket.c.used, bucket.c.held).join_from(
        bucket, meter, bucket.c.meter_id == meter.c.id
    )
    with gateway.database.read() as tx:
        return {row.unit: (row.used, row.held) for row in tx.execute(query)}


def rows(gateway: Gateway, table: sa.Table) -> int:
    with gateway.database.read() as tx:
        return int(tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


@every_trouble
def test_before_a_call_nothing_is_started_and_the_caller_may_come_back(
    gateway: Gateway, trouble: Trouble
) -> None:
    door = gateway.door()
    assert door.generate().status_code == 200
    with trouble(gateway.database):
        refused = door.generate(prompt=LONG)
    assert (refused.status_code, refused.json["error"]["code"]) == (503, "ledger_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert len(gateway.vendor.calls) == 1
    assert (rows(gateway, tables.hold), rows(gateway, tables.generation)) == (1, 1)
    assert used(gateway) == {"image": (1, 0), "usd_micro": (COST, 0)}
    assert door.generate(prompt=LONG).status_code == 200
    assert gateway.ledger.verify() == []


@every_trouble
def test_in_the_middle_of_a_call_nothing_is_lost_and_nothing_is_made_twice(
    gateway: Gateway, trouble: Trouble
) -> None:
    door = gateway.door()
    assert door.generate().status_code == 200
    with ExitStack() as troubled:

        def meanwhile() -> Finished:
            troubled.enter_context(trouble(gateway.database))
            return described()

        gateway.vendor.answers = [meanwhile]
        lost = door.generate(idem_key="k")
    assert (lost.status_code, lost.json["error"]["code"]) == (504, "outcome_unknown")
    assert lost.headers["x-should-retry"] == "false"
    hold = gateway.holds()[-1]
    assert (hold.state, hold.result, rows(gateway, tables.image)) == ("dispatched", None, 1)
    assert used(gateway) == {"image": (1, 1), "usd_micro": (COST, hold.cost_usd_micro)}
    assert gateway.ledger.verify() == []

    gateway.wait(LEASE)
    assert gateway.ledger.sweep().unknown == 1
    assert door.generate(idem_key="k").status_code == 504
    gateway.wait(GRACE)
    assert gateway.ledger.reconcile() == 1
    assert door.generate(idem_key="k").status_code == 410
    assert len(gateway.vendor.calls) == 2
    ended = gateway.ledger.get_hold(hold.id)
    assert (ended.state, ended.settled_from) == ("settled", "estimate")
    assert [step["by"] for step in ended.evidence] == ["system:sweeper", "system:reconciler"]
    assert used(gateway) == {"image": (2, 0), "usd_micro": (COST + hold.cost_usd_micro, 0)}
    assert gateway.ledger.verify() == []


@every_trouble
def test_in_the_middle_of_an_analysis_the_caller_gets_his_answer_and_the_books_follow(
    gateway: Gateway, trouble: Trouble
) -> None:
    door = gateway.door()
    assert door.analyze().status_code == 200
    with ExitStack() as troubled:
        gateway.vendor.answers = [lambda: troubled.enter_context(trouble(gateway.database))]
        assert door.analyze(idem_key="k" if trouble is full else None).status_code == 200
    hold = gateway.holds()[-1]
    if hold.state == "dispatched":
        gateway.wait(LEASE)
        assert gateway.ledger.sweep().unknown == 1
        gateway.wait(GRACE)
        assert gateway.ledger.reconcile() == 1
    assert gateway.ledger.get_hold(hold.id).state == "settled"
    assert gateway.ledger.verify() == []


@pytest.mark.parametrize("trouble", [away, read_only])
def test_a_doubt_that_cannot_be_ended_stays_as_it_was(gateway: Gateway, trouble: Trouble) -> None:
    gateway.vendor.answers = [TimeoutError()]
    assert gateway.door().generate().status_code == 504
    hold = gateway.the_hold()
    gateway.wait(GRACE)
    with trouble(gateway.database):
        for end in (
            gateway.ledger.reconcile,
            lambda: gateway.ledger.settle_by_hand(ALICE, hold.id, LONG[:2_000], 7),
            lambda: gateway.ledger.void_by_hand(ALICE, hold.id, LONG[:2_000]),
        ):
            with pytest.raises(LedgerUnavailable):
                end()
    assert gateway.ledger.get_hold(hold.id) == hold
    assert gateway.ledger.reconcile() == 1
    assert gateway.ledger.verify() == []


# -- a server that fails over ------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_a_server_that_fails_over_in_the_middle_of_a_call_costs_neither_answer_nor_charge(
    clock: Clock, tmp_path: Path
) -> None:
    run = Run.begin(durable=True)
    try:
        database = ClockedDatabase(run.server().create("failover"), clock)
    except Unavailable as reason:
        run.end()
        give_up(f"NOT TESTED ON POSTGRESQL: {reason}")
    try:
        opened = Gateway(database, clock, tmp_path)
        opened.limit("image", "day", 5)
        door = opened.door()
        assert door.generate().status_code == 200
        opened.vendor.answers = [run.crash]
        assert door.generate(idem_key="k").status_code == 200
        assert door.generate(idem_key="k").headers["Idempotent-Replayed"] == "true"
        assert [hold.state for hold in opened.holds()] == ["settled", "settled"]
        assert used(opened) == {"image": (2, 0)}
        assert opened.ledger.verify() == []
        database.close()
    finally:
        run.end()


# -- a clock that steps ------------------------------------------------------------------------------------------------


def test_a_clock_that_steps_back_in_the_middle_of_a_call_charges_the_window_of_the_reserve(
    gateway: Gateway,
) -> None:
    door = gateway.door()
    gateway.wait(12 * 3600 - 7 * 3600 + 600)  # 00:10 of the next day in Asia/Jakarta
    gateway.vendor.answers = [lambda: gateway.clock.advance(-1_200)]
    assert door.generate().status_code == 200
    assert gateway.the_hold().state == "settled"
    assert door.generate().status_code == 200
    with gateway.database.read() as tx:
        query = sa.select(tables.bucket.c.start, tables.bucket.c.used, tables.bucket.c.held)
        days = tx.execute(query.order_by(tables.bucket.c.start)).all()
    first, second = sorted({hold.lines[0].start for hold in gateway.holds()})
    assert second - first == 86_400
    assert {(row.start, row.used, row.held) for row in days if row.start in (first, second)} == {
        (first, 1, 0),
        (second, 1, 0),
    }
    assert gateway.ledger.verify() == []


def test_a_clock_that_steps_back_ends_no_lease_and_no_grace_too_early(gateway: Gateway) -> None:
    def meanwhile() -> None:
        gateway.clock.advance(-3_600)
        gateway.ledger.renew_leases()
        assert (gateway.ledger.sweep().unknown, gateway.ledger.reconcile()) == (0, 0)
        raise TimeoutError

    gateway.vendor.answers = [meanwhile]
    assert gateway.door().generate().status_code == 504
    gateway.clock.advance(-3_600)
    assert gateway.ledger.reconcile() == 0
    gateway.clock.advance(3_600 + GRACE - 1)
    assert gateway.ledger.reconcile() == 0
    gateway.clock.advance(1)
    assert gateway.ledger.reconcile() == 1
    assert gateway.ledger.verify() == []


def test_a_clock_that_leaps_ahead_makes_a_doubt_that_the_answer_ends(gateway: Gateway) -> None:
    def meanwhile() -> None:
        gateway.clock.advance(LEASE)
        assert gateway.ledger.sweep().unknown == 1

    gateway.vendor.answers = [meanwhile]
    assert gateway.door().generate().status_code == 200
    hold = gateway.the_hold()
    assert (hold.state, hold.cost_usd_micro) == ("settled", COST)
    assert [step["found"] for step in hold.evidence] == [
        "the lease passed without an answer",
        "the vendor answered",
    ]
    assert gateway.ledger.verify() == []
