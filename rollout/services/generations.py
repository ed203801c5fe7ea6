"""Generations as their callers and operators follow them: looked up, listed, waited for, watched, cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rollout.core.audit import Actor
from rollout.core.generation_jobs import Generated, check_status, operator_json
from rollout.db import generation_jobs, generations
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, NotFound
from rollout.services.changes import Changes
from rollout.services.ledger import Ledger

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between looks of who waits."""


class Generations:
    def __init__(
        self,
        database: Database,
        changes: Changes,
        ledger: Ledger,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database, self._changes, self._ledger, self._sleep = database, changes, ledger, sleep

    def page(
        self, *, tenant: str | None, status: str | None = None, cursor: str | None, limit: int
    ) -> list[Generated]:
        """Newest first, from before the id `cursor`; of all tenants for None. Raises InvalidRequest for a status that there is not."""
        wanted = check_status(status)
        with self._database.read() as tx:
            return generation_jobs.page(tx, tenant=tenant, status=wanted, before=cursor, limit=limit)

    def get(self, generation_id: str, *, tenant: str | None = None) -> Generated:
        """Of that tenant, or of any. Raises NotFound."""
        with self._database.read() as tx:
            return _require(tx, generation_id, tenant)

    def of_hold(self, tenant_id: str, hold_id: str) -> Generated:
        """Raises NotFound."""
        with self._database.read() as tx:
            made = generations.of_hold(tx, tenant_id, hold_id)
            return _require(tx, made.id if made else hold_id, tenant_id)

    def wait(self, generation_id: str, seconds: float) -> Generated:
        """As it stands once it has ended, is in doubt, or so many seconds have passed."""
        waited, pause = 0.0, FIRST_PAUSE
        while (found := self.get(generation_id)).is_going_on and waited < seconds:
            self._sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, LONGEST_PAUSE)
        return found

    def watch(self, generation_id: str) -> Iterator[Generated | None]:
        """As it stands, then after each change, and None for each second without one, until it has ended or is in doubt. Whoever
        makes it, and however often that changes: what is read is what is stored."""
        found = self.get(generation_id)
        yield found
        while found.is_going_on:
            self._sleep(LONGEST_PAUSE)
            before, found = found, self.get(generation_id)
            has_moved = (found.status, found.progress) != (before.status, before.progress)
            yield found if has_moved else None

    def cancel(
        self,
        actor: Actor,
        generation_id: str,
        reason: str | None,
        *,
        tenant: str | None = None,
        dry_run: bool = False,
    ) -> Generated:
        """Of what has not been sent nothing is charged; of what has, the charge stands, and nothing is delivered. Cancelling again
        changes nothing.

        Raises NotFound, Conflict when it has ended, or its caller waits for it.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, generation_id, tenant)
            if before.job is None:
                raise Conflict(
                    "Its caller waits for this generation: only what a job makes can be cancelled."
                )
            was_voided = self._ledger.cancel(change.tx, before.hold, actor.name, change.now)
            found = _require(change.tx, generation_id, tenant)
            if found.status == "cancelled":
                return found
            if not was_voided and not found.is_going_on:
                raise Conflict(f"The generation has ended: it is {found.status}.")
            after = _cancelled(change.tx, found, change.now)
            change.record(
                "generation.cancelled",
                subject=generation_id,
                tenant=after.generation.tenant_id,
                before=operator_json(before),
                after=operator_json(after),
            )
        return after


def _cancelled(tx: Tx, found: Generated, now: int) -> Generated:
    made = found.generation
    generation_jobs.change(tx, made.tenant_id, made.id, cancelled_at=now, ended_at=now)
    return _require(tx, made.id, made.tenant_id)


def _require(tx: Tx, generation_id: str, tenant: str | None) -> Generated:
    found = generation_jobs.find(tx, generation_id, tenant=tenant)
    if found is None:
        raise NotFound(f"There is no generation {generation_id[:200]!r}.", param="generation")
    return found
