"""Unknown outcomes: whom a doubt is put to, and what ends it.

    by the vendor    a job, left in the transaction that makes a hold unknown, asks by the id that the vendor told, until the grace ends
    by time          the catalogue's `on_unknown`: `charge` the estimate when the grace has ended (the ledger's tick), or `review`: never
    by a person      at any time, with a reason (`Ledger.settle_by_hand`, `void_by_hand`)

Each step is kept on the hold as evidence. Only the vendor's own word that a work was done or never ran ends the doubt: an id that it
does not know, and a look-up that fails, prove nothing. A generation is never made again from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rollout.core.catalogue import Catalogue, Model
from rollout.core.holds import RECONCILER, Hold, Note, Settle, Unknown, Void
from rollout.core.jobs import Job, JobFailed
from rollout.core.resolutions import charge, next_look
from rollout.db import holds
from rollout.db.engine import Database, Tx
from rollout.errors import ModelNotFound, NotFound
from rollout.providers.base import Found, PortError, Providers
from rollout.services.catalogue import InForce
from rollout.services.jobs import JobQueue
from rollout.services.ledger import Ledger

KIND = "reconcile"
MAX_LOOKS = 50


def leave_job(queue: JobQueue) -> Callable[[Tx, int, Hold], None]:
    """What the ledger does with a hold that becomes unknown and has the vendor's id.

    The job's subject is the vendor: one that hangs takes no more than its share of threads.
    """

    def leave(tx: Tx, now: int, hold: Hold) -> None:
        queue.add(
            tx,
            now=now,
            tenant_id=hold.tenant_id,
            kind=KIND,
            payload={"hold": hold.id},
            subject=hold.vendor,
            dedupe=hold.id,
            max_attempts=MAX_LOOKS,
        )

    return leave


def reviewed(catalogue: Catalogue) -> frozenset[str]:
    """The models whose unknown outcomes time does not end."""
    return frozenset(model.name for model in catalogue.models if model.on_unknown == "review")


class Resolutions:
    def __init__(self, database: Database, ledger: Ledger, catalogue: InForce, providers: Providers) -> None:
        self._database, self._ledger, self._catalogue, self._providers = (
            database,
            ledger,
            catalogue,
            providers,
        )

    def look_into(self, job: Job) -> Mapping[str, Any]:
        """Ask the vendor of the job's hold what became of it. Raises JobFailed to be called again."""
        hold, now = self._read(job.payload["hold"])
        if hold.state == "dispatched":
            why = "its job found it without an answer"
            self._ledger.resolve(
                Unknown(hold.tenant_id, hold.id, RECONCILER, why, self._ledger.grace_seconds)
            )
            hold, now = self._read(hold.id)
        if hold.state != "unknown":
            return {"state": hold.state}
        vendor = self._providers.look_ups(hold.vendor)
        if vendor is None or hold.upstream_id is None:
            return self._noted(hold, f"{hold.vendor} cannot be asked what became of a call")
        try:
            found = vendor.look_up(hold.upstream_id)
        except PortError as error:
            return self._again(job, hold, now, f"{type(error).__name__}: {error.detail}")
        if found is None:
            return self._again(job, hold, now, f"{hold.vendor} does not know {hold.upstream_id}")
        if found.state == "still_running":
            return self._again(job, hold, now, f"{hold.vendor} is still at it")
        return self._ended(hold, found)

    def _ended(self, hold: Hold, found: Found) -> Mapping[str, Any]:
        by = f"vendor:{hold.vendor}"
        if found.state == "never_ran":
            why = f"{hold.vendor} says that it never ran"
            self._ledger.resolve(Void(hold.tenant_id, hold.id, by, why, of=("unknown",)))
        else:
            actual = charge(hold, self._model(hold), found.images, found.usage)
            why = f"{hold.vendor} says that it was done: {actual.images} images, {actual.cost.usd_micro} micro-dollars"
            self._ledger.resolve(Settle(hold.tenant_id, hold.id, actual, None, by, why, of=("unknown",)))
        return {"state": self._ledger.get_hold(hold.id).state, "found": why}

    def _again(self, job: Job, hold: Hold, now: int, found: str) -> Mapping[str, Any]:
        """Keep what was found, and ask again while there is time; then the policy ends it."""
        told = self._noted(hold, found)
        pause = None if hold.lease_until is None else next_look(job.created_at, now, hold.lease_until)
        if pause is None:
            return told
        raise JobFailed(found, outcome=told, retry_after=pause)

    def _noted(self, hold: Hold, found: str) -> Mapping[str, Any]:
        self._ledger.resolve(Note(hold.tenant_id, hold.id, RECONCILER, found))
        return {"state": hold.state, "found": found}

    def _model(self, hold: Hold) -> Model | None:
        try:
            return self._catalogue().get(hold.model)
        except ModelNotFound:
            return None

    def _read(self, hold_id: str) -> tuple[Hold, int]:
        with self._database.read() as tx:
            hold = holds.get(tx, hold_id)
            if hold is None:
                raise NotFound(f"There is no hold {hold_id!r}.", param="hold")
            return hold, self._database.now(tx)
