"""Generations that nobody has to wait for: made by jobs, in whichever process.

    queued        hold and job are one transaction; while its job is open the hold lives, however long the queue is
    dispatched    the vendor may have it. One that answers with pictures is waited for; one that works by tasks tells an id, which is
                  written down at once, and each later turn of the job is one look at the task
    ended         settled, with pictures and result, as for a caller who waits

A job that finds its hold dispatched and no task to look at was left by a process that died: it makes the hold unknown and never
sends again. Nor can a task be found whose submit was not answered: vendors list none by our reference. An unknown hold that has a
task is looked at like any other: the answer may come late.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog

from rollout.blobs.base import Blobs
from rollout.core.extensions import Extensions
from rollout.core.generation_jobs import (
    LONGEST_TASK,
    Generated,
    GenerationJob,
    next_look,
    problem,
    read,
    written,
)
from rollout.core.holds import RECONCILER, Unknown
from rollout.core.images import Finished
from rollout.core.input_images import InputImage
from rollout.core.jobs import Job, JobWaits
from rollout.core.kills import vendor_switch
from rollout.core.uses import StoredImage
from rollout.db import generation_jobs, images, keys
from rollout.db.engine import Database, Tx
from rollout.errors import FeatureKilled, LedgerUnavailable, NotFound, RolloutError, UpstreamUnavailable
from rollout.providers.base import (
    ImageCall,
    NotSent,
    OutcomeUnknown,
    PortError,
    Progress,
    Providers,
    Throttled,
)
from rollout.services import upstream
from rollout.services.breakers import Breakers
from rollout.services.calls import Call, Told
from rollout.services.catalogue import InForce
from rollout.services.evaluate import Evaluate
from rollout.services.features import Features
from rollout.services.ids import NewId
from rollout.services.jobs import JobQueue
from rollout.services.ledger import AlsoOf, Held, Ledger
from rollout.services.refine import Refine
from rollout.services.results import WITHHELD, Results, Work
from rollout.services.state import Identity, State

log = structlog.get_logger()

KIND = "generation"
ATTEMPTS = 8
INPUT_SECONDS = 2 * 86_400
"""How long the pictures that came with a request are kept for its job."""

LONGEST_WAIT = 3600
"""Seconds for which a queued generation waits for a vendor that keeps failing; then it is tried, come what may."""

NOTE_PAUSES = (0.1, 0.5, 2.0)
"""Seconds before a task's id is tried to be written down again."""


class GenerationJobs:
    """`random` gives numbers in [0, 1): the jitter between looks at a task."""

    def __init__(
        self,
        database: Database,
        state: State,
        features: Features,
        ledger: Ledger,
        queue: JobQueue,
        catalogue: InForce,
        providers: Providers,
        breakers: Breakers,
        blobs: Blobs,
        results: Results,
        refine: Refine,
        evaluate: Evaluate,
        new_id: NewId,
        *,
        random: Callable[[], float] = random.random,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database, self._state, self._features, self._ledger = database, state, features, ledger
        self._queue, self._catalogue, self._providers, self._blobs = queue, catalogue, providers, blobs
        self._results, self._refine, self._evaluate, self._new_id = results, refine, evaluate, new_id
        self._breakers, self._random, self._sleep = breakers, random, sleep

    # -- for who accepts a request -------------------------------------------------------------------------------------

    def left(self, work: Work, vendor: str) -> AlsoOf:
        """What writes the job of this work, to be done in the transaction that reserves for it. The vendor is the job's subject: one
        that hangs takes no more than its share of threads."""
        inputs: list[StoredImage] = []

        def keep(image: InputImage) -> str:
            sha256 = self._blobs.put(image.data)
            inputs.append(self._input(work, len(inputs), image, sha256))
            return sha256

        stored = {
            "request": written(work.request, keep),
            "user": work.to_send.user,
            "headers": dict(work.headers),
            "extensions": vars(work.extensions),
        }

        def write(tx: Tx, hold_id: str, now: int) -> None:
            generation_jobs.add(tx, GenerationJob(work.tenant_id, work.generation_id, stored))
            images.add(tx, [replace(one, created_at=now, expires_at=now + INPUT_SECONDS) for one in inputs])
            self._queue.add(
                tx,
                now=now,
                tenant_id=work.tenant_id,
                kind=KIND,
                payload={"generation": work.generation_id},
                subject=vendor,
                dedupe=hold_id,
                max_attempts=ATTEMPTS,
            )

        return write

    def _input(self, work: Work, position: int, image: InputImage, sha256: str) -> StoredImage:
        """A row that owns a picture of the request, and none of the generation's."""
        return StoredImage(
            tenant_id=work.tenant_id,
            id=self._new_id("img"),
            generation_id=f"{work.generation_id}/inputs",
            position=position,
            sha256=sha256,
            media_type=image.media_type,
            bytes=len(image.data),
            created_at=0,
            expires_at=0,
        )

    # -- for who does it -----------------------------------------------------------------------------------------------

    def carry_out(self, job: Job) -> Mapping[str, Any]:
        """Make the pictures, or look at their task. Raises JobWaits to be called again then, LedgerUnavailable."""
        found, now = self._read(job.payload["generation"])
        state = found.hold.state
        if state == "held":
            self._spare(found, now)
            self._begin(found)
        elif state in ("dispatched", "unknown") and _task(found):
            self._look(found, now)
        elif state == "dispatched":
            self._doubt(found)
        after, now = self._read(found.generation.id)
        if after.hold.state in ("dispatched", "unknown") and _task(after) and not _job(after).error:
            raise JobWaits(next_look(now - (_job(after).task_at or now), self._random()))
        return {"status": after.status}

    def _spare(self, found: Generated, now: int) -> None:
        """What was not sent can wait while its vendor keeps failing. Raises JobWaits."""
        made = found.generation
        if made.mode == "test" or now - made.created_at > LONGEST_WAIT:
            return
        try:
            self._breakers.check(self._vendor(found))
        except UpstreamUnavailable as rest:
            raise JobWaits(rest.retry_after or 1) from rest

    def _begin(self, found: Generated) -> None:
        switches = (vendor_switch(self._vendor(found)),)
        with self._taken_up(found, switches) as (held, call):
            work = self._refine.work(call, self._work(found))
            if not held.dispatch():
                held.let_go()
            elif work.model.is_async:
                self._submit(found, held, work)
            else:
                with self._results.failures_settled(work, held):
                    _, port = self._providers.images(work.model, test=call.is_test)
                    finished = upstream.send(work.model, lambda: port.generate(work.to_send))
                self._finish(found, held, call, work, finished)

    def _submit(self, found: Generated, held: Held, work: Work) -> None:
        with self._results.failures_settled(work, held):
            _, port = self._providers.tasks(work.model, test=found.generation.mode == "test")
            reference = work.generation_id
            task_id = upstream.send(work.model, lambda: port.submit(work.to_send, reference))
        held.upstream_id = task_id
        stored = {**_job(found).request, **_refined(work)}
        self._note(found, task_id=task_id, task_at=self._now(), request=stored)
        held.let_go()

    def _look(self, found: Generated, now: int) -> None:
        task_id = str(_task(found))
        with self._taken_up(found) as (held, call):
            work = self._work(found)
            held.upstream_id = task_id
            with self._results.failures_settled(work, held):
                seen = self._seen(work, task_id, found, now)
            if isinstance(seen, Finished):
                self._finish(found, held, call, work, seen)
            else:
                if seen is not None and seen.percent != _job(found).progress:
                    self._note(found, progress=seen.percent)
                held.let_go()

    def _seen(self, work: Work, task_id: str, found: Generated, now: int) -> Progress | Finished | None:
        """How the task does; None when that could not be seen. Raises OutcomeUnknown for one that should long be over."""
        seen: Progress | Finished | None = None
        try:
            _, port = self._providers.tasks(work.model, test=found.generation.mode == "test")
            seen = upstream.send(work.model, lambda: port.look(work.to_send, task_id, work.generation_id))
        except (NotSent, Throttled, OutcomeUnknown) as error:
            log.warning("task_not_seen", generation=work.generation_id, task=task_id, detail=error.detail)
        if not isinstance(seen, Finished) and now - (_job(found).task_at or now) > LONGEST_TASK:
            raise OutcomeUnknown("the task did not end", vendor_request_id=task_id)
        return seen

    def _finish(self, found: Generated, held: Held, call: Call, work: Work, finished: Finished) -> None:
        made = found.generation
        told = Told(self._results.headers(work, held), (), held.now)
        facts = call.identity.facts
        since_ever = replace(self._features.decide(facts, made.feature), revision=0)
        withheld = self._features.withheld(
            facts, since_ever, work.model.vendor
        )  # what is stopped is not sent

        def ended(tx: Tx, now: int) -> None:
            error = problem(FeatureKilled(WITHHELD)) if withheld else None
            values = {"progress": 100, "ended_at": now, "error": error}
            generation_jobs.change(tx, made.tenant_id, made.id, **values)

        delivered = self._results.settle(work, held, told, finished, also=ended)
        if not withheld:
            self._evaluate.judged(call, made, work, delivered)

    def _doubt(self, found: Generated) -> None:
        hold, why = found.hold, "its job found it sent, and nobody there who waits for the answer"
        self._ledger.resolve(Unknown(hold.tenant_id, hold.id, RECONCILER, why, self._ledger.grace_seconds))

    # -- inside --------------------------------------------------------------------------------------------------------

    @contextmanager
    def _taken_up(self, found: Generated, switches: tuple[str, ...] = ()) -> Iterator[tuple[Held, Call]]:
        """The hold in this job's hands, and the call as it was. What goes wrong is written down before the hold is ended by it;
        whoever sees the end sees the reason."""
        made = found.generation
        outcome = upstream.Outcome(made.decision_id, made.hold_id, _job(found).request["headers"], sent=True)
        try:
            with self._ledger.take_up(found.hold, switches) as held:
                try:
                    yield held, self._call(found)
                except LedgerUnavailable:
                    raise
                except (PortError, RolloutError) as error:
                    self._note_failure(found, upstream.explained(error, outcome))
                    raise
        except LedgerUnavailable:
            raise
        except (PortError, RolloutError) as error:
            log.warning("generation_failed", generation=made.id, error=repr(error))

    def _call(self, found: Generated) -> Call:
        made = found.generation
        with self._database.read() as tx:
            key = keys.get(tx, made.tenant_id, made.api_key_id)
        if key is None:
            raise NotFound("The key that asked for this is no longer there.")
        identity = Identity(self._state.facts(made.tenant_id), key)
        return Call(identity, made.request_id, found.hold.fingerprint, end_user=made.end_user)

    def _work(self, found: Generated) -> Work:
        """As it was accepted, at the price that was reserved at."""
        made, stored = found.generation, _job(found).request
        catalogue = self._catalogue()
        model, price = catalogue.get(made.model), catalogue.price(found.hold.price_id)
        request = read(stored["request"], self._blobs.get)
        return Work(
            tenant_id=made.tenant_id,
            generation_id=made.id,
            end_user=made.end_user,
            to_send=ImageCall(replace(model, prices=(price,)) if price else model, request, stored["user"]),
            headers=stored["headers"],
            asked_for=made.prompt,
            extensions=Extensions(**stored["extensions"]),
            refined=stored.get("refined"),
        )

    def _vendor(self, found: Generated) -> str:
        return self._catalogue().get(found.generation.model).vendor

    def _note_failure(self, found: Generated, error: RolloutError) -> None:
        """Never raises: what is to become of the hold hangs on what failed before."""
        try:
            self._note(found, error=problem(error), ended_at=self._now())
        except LedgerUnavailable:
            log.error("failure_not_noted", generation=found.generation.id, code=error.code)

    def _note(self, found: Generated, **values: Any) -> None:
        """Write it down in a transaction of its own, and try again while the database is away."""
        made = found.generation
        for pause in (*NOTE_PAUSES, None):
            try:
                with self._database.write() as tx:
                    generation_jobs.change(tx, made.tenant_id, made.id, **values)
                return
            except LedgerUnavailable:
                if pause is None:
                    raise
                self._sleep(pause)

    def _now(self) -> int:
        with self._database.read() as tx:
            return self._database.now(tx)

    def _read(self, generation_id: str) -> tuple[Generated, int]:
        with self._database.read() as tx:
            found = generation_jobs.find(tx, generation_id, tenant=None)
            if found is None or found.job is None:
                raise NotFound(f"There is no job for {generation_id!r}.")
            return found, self._database.now(tx)


def _job(found: Generated) -> GenerationJob:
    assert found.job is not None
    return found.job


def _task(found: Generated) -> str | None:
    return _job(found).task_id


def _refined(work: Work) -> dict[str, Any]:
    """What a later look has to know of a prompt that was rewritten."""
    return {} if work.refined is None else {"refined": dict(work.refined)}
