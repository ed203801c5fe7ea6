"""A batch of the ledger in three rounds: `lock`, `meters.lock_buckets`, `write`. Each is one round trip to PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rollout.core.holds import Gates, Hold, Rows
from rollout.core.meters import PLATFORM
from rollout.db import entries, holds, meters
from rollout.db.driver import run
from rollout.db.engine import Database, Tx


@dataclass(frozen=True)
class Locked:
    """What stands still until the transaction ends: the `meter_rev` of each owner, what is stopped, and holds; read at `now`."""

    revisions: dict[str, int]
    gates: Gates
    now: int
    holds: list[Hold]


def lock(
    database: Database,
    tx: Tx,
    switches: Collection[str],
    tenant_ids: Collection[str],
    known: Collection[str],
    ids: Collection[holds.HoldId],
    keys: Collection[tuple[str, str]],
) -> Locked:
    """Lock the gates of features and vendors, the tenants' owner rows, and the holds with these ids or (tenant_id,
    Idempotency-Key), in that order.

    Tenants that are not `known` to have an owner row get it.
    """
    *_, owners, shared, stopped, time, by_id, by_key = run(
        tx,
        *(meters.gate(tx, name, exclusive=False) for name in sorted(switches)),
        meters.owners_made(tx, set(tenant_ids) - set(known)),
        meters.owners(tx, tenant_ids, lock=True),
        meters.owners(tx, [PLATFORM], lock=False),
        meters.stops(tx, switches, tenant_ids),
        database.time(),
        holds.by_id(tx, ids),
        holds.by_key(tx, keys),
    )
    return Locked(
        {PLATFORM: 0} | meters.revisions([*owners, *shared]),
        meters.gates(stopped),
        int(time[0][0]),
        holds.each_once([*by_id, *by_key]),
    )


def write(tx: Tx, rows: Rows) -> None:
    """All but the alerts. Holds that were there first: one that is void gives its key to one that is new."""
    run(
        tx,
        holds.changed(tx, rows.holds),
        holds.added(tx, rows.new_holds),
        meters.buckets_changed(tx, rows.buckets),
        entries.added(tx, rows.entries),
    )
