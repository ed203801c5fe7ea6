"""The queue of jobs. A job is added inside the transaction that makes it necessary, so that it exists if and only if that committed.

    jobs.add(tx, now=now, tenant_id="acme", kind="webhook", payload={...})     # beside the rows that it follows from

    for job in jobs.claim({"webhook"}, 8):                                     # in whatever process runs jobs
        outcome = deliver(job)
        jobs.finish(job, outcome)                                              # or jobs.fail(job, error)

A job is done at least once: whoever does it may die after the work and before `finish`, so handlers must bear repetition. Who
has a job says so by a lease on the database's clock; when the lease has passed the job is claimed anew, under another one, and what the
former owner then reports is dropped.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import structlog

from rollout.core.audit import Actor
from rollout.core.jobs import SHARE, STATES, Job, JobFailed, State, fair, full, job_json, pause
from rollout.db import jobs
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services.changes import Changes
from rollout.services.ids import NewId

log = structlog.get_logger()

LEASE_SECONDS = 60
KEEP_SECONDS = 30 * 86400
LOOKED_AT = 100
"""How many due jobs are looked at for those that are claimed."""

_ABANDONED = "its worker died, or was silent for longer than its lease"


class JobQueue:
    """`lease_seconds`: how long who has a job may be silent; `random` gives numbers in [0, 1): the jitter of pauses."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        new_id: NewId,
        lease_seconds: int = LEASE_SECONDS,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.lease_seconds = lease_seconds
        self._database, self._changes, self._new_id, self._random = database, changes, new_id, random

    # -- for who has work for later ------------------------------------------------------------------------------------

    def add(
        self,
        tx: Tx,
        *,
        now: int,
        tenant_id: str,
        kind: str,
        payload: Mapping[str, Any],
        max_attempts: int,
        subject: str | None = None,
        dedupe: str | None = None,
        run_at: int | None = None,
    ) -> str | None:
        """The new job's id; None while another of its tenant and kind with the same `dedupe` is ready or running."""
        new = Job(
            tenant_id=tenant_id,
            id=self._new_id("job"),
            kind=kind,
            payload=payload,
            run_at=now if run_at is None else run_at,
            max_attempts=max_attempts,
            created_at=now,
            subject=subject,
            dedupe=dedupe,
        )
        return new.id if jobs.add(tx, new) else None

    # -- for who does it -----------------------------------------------------------------------------------------------

    def claim(
        self, kinds: Collection[str], limit: int, in_hand: Sequence[Job] = (), share: int = SHARE
    ) -> list[Job]:
        """Take at most `limit` jobs that are due, longest waiting first; `in_hand`: what this process is at already, of which no
        subject gets more than its `share`.

        A job whose last attempt was abandoned is dead instead.
        """
        with self._database.read() as tx:
            if not jobs.any_due(tx, kinds, self._database.now(tx)):
                return []
        with self._database.write() as tx:
            now = self._database.now(tx)
            due = jobs.lock_due(tx, kinds, now, LOOKED_AT, but=full(in_hand, share))
            dead = [_ended(job, "dead", now, last_error=_ABANDONED) for job in due if job.is_spent]
            mine = fair((job for job in due if not job.is_spent), in_hand, limit, share)
            claimed = [self._claimed(job, now) for job in mine]
            for job in (*dead, *claimed):
                jobs.put(tx, job)
        for job in dead:
            _mourn(job)
        return claimed

    def renew(self, in_hand: Collection[Job]) -> None:
        """Prolong the leases of jobs that take their time; to be called every third of a lease."""
        with self._database.write() as tx:
            leases = [job.lease for job in in_hand if job.lease]
            jobs.renew(tx, leases, self._database.now(tx) + self.lease_seconds)

    def finish(self, job: Job, outcome: Mapping[str, Any] | None = None) -> bool:
        """It is done. False when the job is no longer this owner's: then nothing is written."""
        with self._database.write() as tx:
            done = _ended(job, "done", self._database.now(tx), outcome=outcome)
            return self._report(tx, job, done)

    def wait(self, job: Job, seconds: int) -> bool:
        """There was nothing to do yet: it is taken up again then, and this was no attempt. False as with `finish`."""
        with self._database.write() as tx:
            later = self._database.now(tx) + seconds
            again = dataclasses.replace(job, state="ready", lease=None, run_at=later, attempt=job.attempt - 1)
            return self._report(tx, job, again)

    def fail(self, job: Job, error: Exception) -> bool:
        """This attempt came to nothing: there is another after a pause, or the job is dead. False as with `finish`."""
        what = error if isinstance(error, JobFailed) else JobFailed(repr(error))
        with self._database.write() as tx:
            now = self._database.now(tx)
            failed = dataclasses.replace(job, last_error=str(what), outcome=what.outcome)
            if what.final or job.is_spent:
                after = _ended(failed, "dead", now)
            else:
                again = now + (what.retry_after or max(what.at_least, pause(job.attempt, self._random())))
                after = dataclasses.replace(failed, state="ready", lease=None, run_at=again)
            kept = self._report(tx, job, after)
        if kept and after.state == "dead":
            _mourn(after)
        return kept

    def purge(self, limit: int = 500) -> int:
        """Delete jobs that ended 30 days ago, at most `limit`; how many it were."""
        with self._database.write() as tx:
            return jobs.purge(tx, self._database.now(tx) - KEEP_SECONDS, limit)

    # -- for operators -------------------------------------------------------------------------------------------------

    def page(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        subject: str | None = None,
        cursor: str | None,
        limit: int,
    ) -> list[Job]:
        """Newest first, from before the id `cursor`. Raises InvalidRequest for a state that there is not."""
        with self._database.read() as tx:
            return jobs.page(tx, state=_state(state), kind=kind, subject=subject, before=cursor, limit=limit)

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        with self._database.read() as tx:
            return require(tx, job_id)

    def replay(self, actor: Actor, job_id: str, reason: str | None, *, dry_run: bool = False) -> Job:
        """Do a job again that is dead or done, at once and with all of its attempts.

        Raises NotFound, Conflict while it is ready or running, or another one for the same thing is.
        """
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = require(change.tx, job_id)
            after = replayed(change.tx, before, change.now)
            change.record(
                "job.replayed",
                subject=job_id,
                tenant=before.tenant_id,
                before=job_json(before),
                after=job_json(after),
            )
        return after

    # -- inside --------------------------------------------------------------------------------------------------------

    def _claimed(self, job: Job, now: int) -> Job:
        return dataclasses.replace(
            job,
            state="running",
            run_at=now + self.lease_seconds,
            attempt=job.attempt + 1,
            lease=self._new_id("lease"),
        )

    def _report(self, tx: Tx, job: Job, after: Job) -> bool:
        kept = jobs.put(tx, after, lease=job.lease)
        if not kept:
            log.warning("job_result_dropped", job=job.id, kind=job.kind, attempt=job.attempt)
        return kept


def require(tx: Tx, job_id: str) -> Job:
    """Raises NotFound."""
    found = jobs.get(tx, job_id)
    if found is None:
        raise NotFound(f"There is no job {job_id!r}.", param="job")
    return found


def replayed(tx: Tx, before: Job, now: int) -> Job:
    """The part of a change that does an ended job again. Raises Conflict."""
    if before.ended_at is None:
        raise Conflict(f"The job is {before.state}: it will be done anyway.")
    if before.dedupe and jobs.is_open(tx, before.tenant_id, before.kind, before.dedupe):
        raise Conflict("Another job for the same thing is waiting or running.")
    after = dataclasses.replace(before, state="ready", run_at=now, attempt=0, ended_at=None)
    jobs.put(tx, after)
    return after


def _ended(job: Job, state: State, now: int, **told: Any) -> Job:
    return dataclasses.replace(job, state=state, lease=None, ended_at=now, **told)


def _mourn(job: Job) -> None:
    log.error("job_dead", job=job.id, kind=job.kind, subject=job.subject, error=job.last_error)


def _state(name: str | None) -> State | None:
    for state in STATES:
        if state == name:
            return state
    if name is None:
        return None
    raise InvalidRequest(f"There is no state {name!r}; there are {', '.join(STATES)}.", param="state")
