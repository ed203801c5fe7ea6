"""Adjustments: what a tenant used, corrected by a person, in the windows of that time and in the statement.

The adjustment, its entries, what webhooks are told, the audit entry and the revision are one transaction.
"""

from __future__ import annotations

from rollout.core.adjustments import (
    Adjustment,
    NewAdjustment,
    adjustment_json,
    book,
    check_at,
    windows,
)
from rollout.core.audit import Actor
from rollout.db import adjustments, meters
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, NotFound
from rollout.services import meter_changes, tenants
from rollout.services.changes import Change, Changes
from rollout.services.ids import NewId
from rollout.services.ledger import Ledger


class Adjustments:
    def __init__(self, database: Database, changes: Changes, ledger: Ledger, new_id: NewId) -> None:
        self._database, self._changes, self._ledger, self._new_id = database, changes, ledger, new_id

    def page(self, *, tenant: str | None, cursor: str | None, limit: int) -> list[Adjustment]:
        """Of one tenant or all, in order of id, last first, from before the id `cursor`."""
        with self._database.read() as tx:
            return adjustments.page(tx, tenant=tenant, before=cursor, limit=limit)

    def get(self, adjustment_id: str) -> Adjustment:
        """Raises NotFound."""
        with self._database.read() as tx:
            found = adjustments.get(tx, adjustment_id)
        if found is None:
            raise NotFound(f"There is no adjustment {adjustment_id!r}.", param="adjustment")
        return found

    def add(
        self, actor: Actor, asked: NewAdjustment, reason: str | None, *, dry_run: bool = False
    ) -> tuple[Adjustment, bool]:
        """The adjustment, and whether it is new: one that was asked for under the same id before is there already.

        Raises NotFound, InvalidRequest (also when less than nothing would be used), Conflict when the id is another's.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            tenant = tenants.require(change.tx, asked.tenant_id)
            earlier = adjustments.get(change.tx, asked.id) if asked.id else None
            if earlier is not None:
                if earlier.is_what(asked):
                    return earlier, False
                raise Conflict(
                    f"There is another adjustment {asked.id!r}.",
                    param="id",
                    remedy="Make another id for this one.",
                )
            added = Adjustment(
                tenant.id,
                asked.id or self._new_id("adj"),
                asked.feature,
                asked.unit,
                asked.amount,
                change.now if asked.at is None else asked.at,
                change.reason,
                actor.name,
                change.now,
            )
            check_at(added.at, tenant.created_at, change.now)
            self._book(change, added)
            adjustments.add(change.tx, added)
            change.record(
                "adjustment.added",
                subject=added.id,
                tenant=tenant.id,
                before=None,
                after=adjustment_json(added),
            )
        return added, True

    def _book(self, change: Change, added: Adjustment) -> None:
        tx: Tx = change.tx
        meter_changes.lock(change, added.tenant_id, added.feature)
        had = [meter for meter in adjustments.meters_at(tx, added.tenant_id, added.at) if meter.lasts]
        found = adjustments.windows_at(tx, added.tenant_id, [meter.id for meter in had], added.at)
        wanted = windows(added, had, found)
        opened = [window for _, window in wanted]
        buckets = meters.lock_buckets(tx, [window.key for window in opened], opened=opened)
        live = {meter.id: meter for meter in meters.live(tx, added.tenant_id)}
        self._ledger.write(tx, book(added, wanted, live, buckets, change.now), live)
