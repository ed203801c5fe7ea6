"""Rows that lie over the catalogue's seed. A row's version is the revision that wrote it, so none comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from rollout.core.catalogue_rows import Kind
from rollout.db.engine import Tx
from rollout.db.tables import catalogue_alias, catalogue_model

_TABLES = {"model": catalogue_model, "alias": catalogue_alias}


@dataclass(frozen=True)
class Row:
    """`document` None: the seed's alias of this name is gone. `changed_at` in UTC epoch seconds."""

    name: str
    document: Mapping[str, Any] | None
    version: int
    changed_at: int
    changed_by: str


def stamp(tx: Tx) -> object:
    """Changes whenever a row does."""
    counts = (sa.select(sa.func.count(), sa.func.max(table.c.version)) for table in _TABLES.values())
    return tuple(tuple(tx.execute(query).one()) for query in counts)


def all_(tx: Tx, kind: Kind) -> dict[str, Row]:
    """By name."""
    table = _TABLES[kind]
    return {row["name"]: Row(**row) for row in tx.execute(sa.select(table).order_by(table.c.name)).mappings()}


def documents(tx: Tx, kind: Kind) -> dict[str, Mapping[str, Any] | None]:
    """By name."""
    return {name: row.document for name, row in all_(tx, kind).items()}


def put(tx: Tx, kind: Kind, row: Row) -> None:
    """Write the row, in the place of the one of its name."""
    remove(tx, kind, row.name)
    tx.execute(sa.insert(_TABLES[kind]).values(vars(row)))


def remove(tx: Tx, kind: Kind, name: str) -> None:
    table = _TABLES[kind]
    tx.execute(sa.delete(table).where(table.c.name == name))
