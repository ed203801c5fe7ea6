"""Rows of the processes that ask for flags."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from rollout.core.flag_metrics import FlagClient
from rollout.db.engine import Tx
from rollout.db.tables import flag_client

_KEY = (flag_client.c.environment, flag_client.c.app_name, flag_client.c.instance_id)


def registered(tx: Tx, clients: Collection[FlagClient]) -> None:
    """Keep what they told; when one was first seen stays."""
    _put(tx, clients, ("sdk", "strategies", "interval", "seen_at"))


def seen(tx: Tx, clients: Collection[FlagClient]) -> None:
    """Keep that they are there, and nothing else of those that are known."""
    _put(tx, clients, ("seen_at",))


def page(tx: Tx, *, environment: str | None, after: Sequence[str] | None, limit: int) -> list[FlagClient]:
    """In order of environment, app and instance, from behind `after`."""
    query = sa.select(flag_client).order_by(*_KEY).limit(limit)
    if environment is not None:
        query = query.where(flag_client.c.environment == environment)
    if after is not None:
        query = query.where(sa.tuple_(*_KEY) > sa.tuple_(*map(sa.literal, after)))
    return [
        FlagClient(**{**row, "strategies": tuple(row["strategies"])}) for row in tx.execute(query).mappings()
    ]


def forget(tx: Tx, seen_before: int) -> int:
    """Remove those that were not seen since then; how many it were."""
    return tx.execute(sa.delete(flag_client).where(flag_client.c.seen_at < seen_before)).rowcount


def _put(tx: Tx, clients: Collection[FlagClient], changing: Sequence[str]) -> None:
    """In the order of their keys: processes that write the same ones wait for one another but never in a ring."""
    rows = [{**asdict(client), "strategies": list(client.strategies)} for client in clients]
    rows.sort(key=lambda row: tuple(row[column.name] for column in _KEY))
    insert = (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(flag_client)
    changed = {name: insert.excluded[name] for name in changing}
    tx.execute(insert.on_conflict_do_update(index_elements=_KEY, set_=changed), rows)
