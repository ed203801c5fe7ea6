"""Statements that are carried out together."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from rollout.db.driver import NOTHING, Statement, insert_many, run, select_many
from rollout.db.engine import Database, Tx
from rollout.db.tables import quota_owner
from rollout.errors import LedgerUnavailable


def added(tx: Tx, *names: str) -> Statement:
    return insert_many(tx, quota_owner, [(name, 0) for name in names])


def found(tx: Tx, *names: str) -> Statement:
    return select_many(tx, quota_owner, ("tenant_id",), ("tenant_id",), [(name,) for name in names])


def test_each_sees_what_those_before_it_wrote_and_has_its_answer_in_its_place(database: Database) -> None:
    with database.write() as tx:
        answers = run(tx, found(tx, "acme"), added(tx, "acme"), NOTHING, found(tx, "acme", "globex"))
    assert answers == [[], [], [], [["acme"]]]


def test_what_has_nothing_to_say_asks_nothing(database: Database) -> None:
    with database.write() as tx:
        assert run(tx, added(tx), found(tx)) == [[], []]
        assert run(tx) == []


def test_one_that_fails_undoes_those_around_it_and_the_next_transaction_works(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError), database.write() as tx:
        run(tx, added(tx, "acme"), added(tx, "acme"), added(tx, "globex"))
    with database.write() as tx:
        assert run(tx, added(tx, "initech"), found(tx, "acme", "globex", "initech"))[1] == [["initech"]]


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_server_that_goes_in_the_middle_is_told_as_such_and_the_next_transaction_works(
    database: Database,
) -> None:
    with pytest.raises(LedgerUnavailable), database.write() as tx:
        run(
            tx,
            added(tx, "acme"),
            Statement("select pg_terminate_backend(pg_backend_pid())"),
            found(tx, "acme"),
        )
    with database.write() as tx:
        assert run(tx, found(tx, "acme")) == [[]]
