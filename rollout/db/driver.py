"""SQL as the drivers take it, many rows at a time: for the ledger's statements, which SQLAlchemy takes longer to build than the
database to run (`docs/benchmarks.md`).

One statement writes or finds all rows. PostgreSQL gets them as one JSON text: arrays of values cost its driver five times as
much. Rows are sequences in the order of their columns; JSON columns take and give Python values.

Statements are values, and `run` carries out several in one round trip: a wait is what a batch has to pay for, as whoever comes back
from it has to get the interpreter from all threads that work meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import event

Tx = sa.Connection
Row = Sequence[Any]
Answers = list[Sequence[Row]]

_ROUND = "rollout_round"

MAX_ROWS = 1_000_000
"""More than any caller gives."""

_TYPES = {sa.JSON: "json", sa.Integer: "bigint", sa.Boolean: "boolean"}


@dataclass(frozen=True)
class Statement:
    """SQL with its values, as the driver takes them; `json` are the positions of JSON columns in its answer."""

    sql: str
    values: Any = ()
    json: tuple[int, ...] = ()


NOTHING = Statement("")
"""Has no rows to write or to find, and is not sent."""


def run(tx: Tx, *statements: Statement) -> list[list[Row]]:
    """Carry them out in order; the rows that each answers. On PostgreSQL in one round trip, each with a snapshot of its own."""
    sent = [one for one in statements if one is not NOTHING]
    in_rounds = sent and _is_postgres(tx)
    answers = iter(_pipelined(tx, sent) if in_rounds else [_answer(tx, one) for one in sent])
    return [
        [] if one is NOTHING else [_decoded(row, one.json) for row in next(answers)] for one in statements
    ]


def _answer(tx: Tx, statement: Statement) -> Sequence[Row]:
    result = tx.exec_driver_sql(statement.sql, statement.values)
    return result.all() if result.returns_rows else []


def _pipelined(tx: Tx, statements: Sequence[Statement]) -> Answers:
    answers: Answers = []
    sql = "; ".join(one.sql for one in statements)
    tx.exec_driver_sql(sql, execution_options={_ROUND: (statements, answers)})
    return answers


def take_rounds(engine: sa.Engine) -> None:
    """Let `run` use psycopg's pipelines: inside SQLAlchemy, which sees to errors and to connections that break."""

    @event.listens_for(engine, "do_execute")
    def _take(cursor: Any, _sql: str, _values: Any, context: Any) -> bool:
        statements, answers = context.execution_options.get(_ROUND, ((), None))
        if answers is None:
            return False
        with cursor.connection.pipeline():
            cursors = [cursor.connection.execute(one.sql, one.values) for one in statements]
        answers += [one.fetchall() if one.description else [] for one in cursors]
        return True


def insert_many(tx: Tx, table: sa.Table, rows: Sequence[Row], *, missing_only: bool = False) -> Statement:
    """Inserts rows of all columns; `missing_only` leaves out those that collide with one that is there."""
    names = tuple(column.name for column in table.columns)
    return _writing(tx, _insert(table, missing_only, _is_postgres(tx)), table, names, rows)


def update_many(
    tx: Tx, table: sa.Table, key: Sequence[str], changing: Sequence[str], rows: Sequence[Row]
) -> Statement:
    """Changes the rows that `key` finds. `rows`: what to write, then the key."""
    sql = _update(table, tuple(key), tuple(changing), _is_postgres(tx))
    return _writing(tx, sql, table, (*changing, *key), rows)


def select_many(
    tx: Tx,
    table: sa.Table,
    columns: Sequence[str],
    key: Sequence[str],
    keys: Collection[Row],
    *,
    lock: bool = False,
) -> Statement:
    """Answers the rows whose columns `key` are one of `keys`; with `lock` locked in the order of the key."""
    if not keys:
        return NOTHING
    sql = _select(table, tuple(columns), tuple(key), lock, _is_postgres(tx))
    return Statement(sql, (_objects(key, keys),), _json(table, tuple(columns)))


def _is_postgres(tx: Tx) -> bool:
    return tx.dialect.name == "postgresql"


def _writing(tx: Tx, sql: str, table: sa.Table, names: tuple[str, ...], rows: Sequence[Row]) -> Statement:
    if not rows:
        return NOTHING
    if _is_postgres(tx):
        return Statement(sql, (_objects(names, rows),))
    return Statement(sql, [tuple(row) for row in _encoded(table, names, rows)])


def _objects(names: Sequence[str], rows: Collection[Row]) -> str:
    # orjson takes no subclass of str as a key, and SQLAlchemy's names are one.
    plain = ["".join(name) for name in names]
    return orjson.dumps([dict(zip(plain, row, strict=True)) for row in rows]).decode()


@lru_cache
def _insert(table: sa.Table, missing_only: bool, postgres: bool) -> str:
    names = tuple(column.name for column in table.columns)
    into = f"insert into {_name(table.name)} ({', '.join(map(_name, names))})"
    values = (
        f"select * from {_given(table, names)}" if postgres else f"values ({', '.join('?' * len(names))})"
    )
    return f"{into} {values}" + (" on conflict do nothing" if missing_only else "")


@lru_cache
def _update(table: sa.Table, key: tuple[str, ...], changing: tuple[str, ...], postgres: bool) -> str:
    if not postgres:
        written = ", ".join(f"{_name(name)} = ?" for name in changing)
        return f"update {_name(table.name)} set {written} where " + " and ".join(
            f"{_name(name)} = ?" for name in key
        )
    written = ", ".join(f"{_name(name)} = given.{_name(name)}" for name in changing)
    found = " and ".join(f"{_name(table.name)}.{_name(name)} = given.{_name(name)}" for name in key)
    return f"update {_name(table.name)} set {written} from {_looked_up(table, (*changing, *key))} and {found}"


@lru_cache
def _select(
    table: sa.Table, columns: tuple[str, ...], key: tuple[str, ...], lock: bool, postgres: bool
) -> str:
    name, text = _name(table.name), "::text" if postgres else ""
    json = _json(table, columns)
    wanted = [f"{name}.{_name(one)}" + text * (number in json) for number, one in enumerate(columns)]
    found = [
        f"{name}.{_name(one)} = "
        + (f"given.{_name(one)}" if postgres else f"json_extract(given.value, '$.{one}')")
        for one in key
    ]
    found += [
        f"{name}.{_name(one)} is not null" for one in key if table.c[one].nullable
    ]  # of a partial index
    # SQLite reads from left to right across a cross join: for each key it looks into an index, and it locks no rows.
    given = "json_each(?) as given"
    order = ", ".join(f"{name}.{_name(one)}" for one in key)
    locked = f" order by {order} for update of {name}" if lock and postgres else ""
    source = f"{name}, {_looked_up(table, key)} and" if postgres else f"{given} cross join {name} where"
    return f"select {', '.join(wanted)} from {source} {' and '.join(found)}{locked}"


def _given(table: sa.Table, names: tuple[str, ...]) -> str:
    typed = ", ".join(f"{_name(name)} {_type(table, name)}" for name in names)
    return f"json_to_recordset(%s::json) as given ({typed})"


def _looked_up(table: sa.Table, names: tuple[str, ...]) -> str:
    """What is given, for each of which one row is to be found: a source, and the condition that begins its `where`.

    PostgreSQL takes every function for a hundred rows, and would rather read a table of ten thousand from end to end; and it keeps such a
    plan while the table grows. A range of numbers it takes for a two-hundredth: now it uses the index, however large the table.
    """
    typed = ", ".join(f"{_name(name)} {_type(table, name)}" for name in names)
    known = ", ".join(map(_name, (*names, "n")))
    source = f"rows from (json_to_recordset(%s::json) as ({typed})) with ordinality as given ({known})"
    return f"{source} where given.n between 1 and {MAX_ROWS}"


def _type(table: sa.Table, name: str) -> str:
    return next((sql for kind, sql in _TYPES.items() if isinstance(table.c[name].type, kind)), "text")


def _name(name: str) -> str:
    return f'"{name}"'


@lru_cache
def _json(table: sa.Table, names: tuple[str, ...]) -> tuple[int, ...]:
    """The positions of JSON columns."""
    return tuple(position for position, name in enumerate(names) if isinstance(table.c[name].type, sa.JSON))


def _encoded(table: sa.Table, names: tuple[str, ...], rows: Sequence[Row]) -> Sequence[Row]:
    json = _json(table, names)
    if not json:
        return rows
    encoded = [list(row) for row in rows]
    for row in encoded:
        for position in json:
            if row[position] is not None:
                row[position] = orjson.dumps(row[position]).decode()
    return encoded


def _decoded(row: Row, json: tuple[int, ...]) -> Row:
    values = list(row)
    for position in json:
        if values[position] is not None:
            values[position] = orjson.loads(values[position])
    return values
