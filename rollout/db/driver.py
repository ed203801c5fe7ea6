"""SQL as the drivers take it, many rows at a time: for the ledger's statements, which SQLAlchemy takes longer to build than the
database to run (`docs/benchmarks.md`).

One statement writes or finds all rows. PostgreSQL gets them as one JSON text: arrays of values cost its driver five times as
much. Rows are sequences in
the order of their columns; JSON columns take and give Python values.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import orjson
import sqlalchemy as sa

from rollout.db.engine import Tx

Row = Sequence[Any]

_TYPES = {sa.JSON: "json", sa.Integer: "bigint", sa.Boolean: "boolean"}


def insert_many(tx: Tx, table: sa.Table, rows: Sequence[Row], *, missing_only: bool = False) -> None:
    """Insert rows of all columns; `missing_only` leaves out those that collide with one that is there."""
    if rows:
        names = tuple(column.name for column in table.columns)
        _run_many(tx, _insert(table, missing_only, _is_postgres(tx)), table, names, rows)


def update_many(
    tx: Tx, table: sa.Table, key: Sequence[str], changing: Sequence[str], rows: Sequence[Row]
) -> None:
    """Change the rows that `key` finds. `rows`: what to write, then the key."""
    if rows:
        sql = _update(table, tuple(key), tuple(changing), _is_postgres(tx))
        _run_many(tx, sql, table, (*changing, *key), rows)


def select_many(
    tx: Tx,
    table: sa.Table,
    columns: Sequence[str],
    key: Sequence[str],
    keys: Collection[Row],
    *,
    lock: bool = False,
) -> list[Row]:
    """The rows whose columns `key` are one of `keys`; with `lock` locked in the order of the key."""
    if not keys:
        return []
    postgres = _is_postgres(tx)
    sql = _select(table, tuple(columns), tuple(key), lock, postgres)
    json = _json(table, tuple(columns))
    return [_decoded(row, json) for row in tx.exec_driver_sql(sql, (_objects(key, keys),)).all()]


def _is_postgres(tx: Tx) -> bool:
    return tx.dialect.name == "postgresql"


def _run_many(tx: Tx, sql: str, table: sa.Table, names: tuple[str, ...], rows: Sequence[Row]) -> None:
    if _is_postgres(tx):
        tx.exec_driver_sql(sql, (_objects(names, rows),))
    else:
        tx.exec_driver_sql(sql, [tuple(row) for row in _encoded(table, names, rows)])


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
    return f"update {_name(table.name)} set {written} from {_given(table, (*changing, *key))} where {found}"


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
    given = _given(table, key) if postgres else "json_each(?) as given"
    order = ", ".join(f"{name}.{_name(one)}" for one in key)
    locked = f" order by {order} for update of {name}" if lock and postgres else ""
    return f"select {', '.join(wanted)} from {given} cross join {name} where {' and '.join(found)}{locked}"


def _given(table: sa.Table, names: tuple[str, ...]) -> str:
    typed = ", ".join(f"{_name(name)} {_type(table, name)}" for name in names)
    return f"json_to_recordset(%s::json) as given ({typed})"


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
