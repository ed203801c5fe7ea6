"""Top-ups: room in one window of a meter, given ahead or at once, and taken back.

The top-up, its window's bucket, the entry that says so, the audit entry and the revision are one transaction, under the locks of
the meter's owner: the next hold is decided on it, whatever its caller had in memory.
"""

from __future__ import annotations

import dataclasses

from rollout.core.audit import Actor
from rollout.core.meters import PLATFORM, Meter, open_bucket
from rollout.core.topups import NewTopUp, TopUp, give, new_topup, subject_of, take_back, topup_json
from rollout.db import keys, meters, topups
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, NotFound
from rollout.services import meter_changes
from rollout.services.changes import Change, Changes
from rollout.services.ids import NewId
from rollout.services.ledger import Ledger


class TopUps:
    def __init__(self, database: Database, changes: Changes, ledger: Ledger, new_id: NewId) -> None:
        self._database, self._changes, self._ledger, self._new_id = database, changes, ledger, new_id

    def page(self, *, tenant: str | None, meter: str | None, cursor: str | None, limit: int) -> list[TopUp]:
        """Of one tenant, of one meter, or all, in order of id, last first, from before the id `cursor`."""
        with self._database.read() as tx:
            return topups.page(tx, tenant=tenant, meter=meter, before=cursor, limit=limit)

    def get(self, topup_id: str) -> TopUp:
        """Raises NotFound."""
        with self._database.read() as tx:
            return _require(tx, topup_id)

    def add(
        self, actor: Actor, asked: NewTopUp, reason: str | None, *, dry_run: bool = False
    ) -> tuple[TopUp, bool]:
        """The top-up, and whether it is new: one that was asked for under the same id before is there already.

        Raises NotFound, InvalidRequest, Conflict when the id is that of another top-up.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            meter = _meter(change.tx, asked.meter_id)
            subject = subject_of(meter, asked.subject)
            earlier = topups.get(change.tx, asked.id) if asked.id else None
            if earlier is not None:
                if earlier.is_what(asked, subject):
                    return earlier, False
                raise Conflict(
                    f"There is another top-up {asked.id!r}.",
                    param="id",
                    remedy="Make another id for this one.",
                )
            if meter.level == "api_key" and keys.get(change.tx, meter.tenant_id, subject) is None:
                raise NotFound(f"{meter.tenant_id} has no key {subject!r}.", param="subject")
            added = new_topup(
                asked, asked.id or self._new_id("top"), meter, subject,
                by=actor.name, reason=change.reason, now=change.now,
            )  # fmt: skip
            window = open_bucket(meter, added.effective, subject)
            meter_changes.lock(change, meter.tenant_id, meter.feature)
            bucket = meters.lock_buckets(change.tx, [window.key], opened=[window])[window.key]
            self._ledger.write(change.tx, give(meter, bucket, added, change.now), {meter.id: meter})
            topups.add(change.tx, added)
            _record(change, "topup.added", None, added)
        return added, True

    def void(self, actor: Actor, topup_id: str, reason: str | None, *, dry_run: bool = False) -> TopUp:
        """Take back what nobody drew of it. Raises NotFound, Conflict when it has ended."""
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, topup_id)
            before.check_not_ended(change.now)
            meter = _meter(change.tx, before.meter_id)
            key = (before.tenant_id, before.meter_id, before.subject, before.start)
            meter_changes.lock(change, meter.tenant_id, meter.feature)
            bucket = meters.lock_buckets(change.tx, [key])[key]
            rows = take_back(meter, bucket, before, by=actor.name, reason=change.reason, now=change.now)
            self._ledger.write(change.tx, rows, {meter.id: meter})
            topups.void(change.tx, before, change.now)
            after = dataclasses.replace(before, voided_at=change.now)
            _record(change, "topup.voided", before, after)
        return after


def _meter(tx: Tx, meter_id: str) -> Meter:
    found = meters.get(tx, meter_id)
    if found is None:
        raise NotFound(f"There is no meter {meter_id!r}.", param="meter")
    return found


def _require(tx: Tx, topup_id: str) -> TopUp:
    found = topups.get(tx, topup_id)
    if found is None:
        raise NotFound(f"There is no top-up {topup_id!r}.", param="topup")
    return found


def _record(change: Change, action: str, before: TopUp | None, after: TopUp) -> None:
    change.record(
        action,
        subject=after.id,
        tenant=None if after.tenant_id == PLATFORM else after.tenant_id,
        before=topup_json(before) if before else None,
        after=topup_json(after),
    )
