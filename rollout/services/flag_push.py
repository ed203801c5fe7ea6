"""Our phases, written to an Unleash server after every change that moves a plan's flag, and compared whenever flags change there.

The job is left in the transaction of the change. It takes up whatever holds when it runs, so what is late is overtaken, never undone.
One process at a time writes a flag.

Failure behaviour: while the server is away, the job is tried again each half minute for a day, and what was not written is shown. That
holds up only who would come in: whom a change here puts out is out at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

from rollout.core.audit import Actor
from rollout.core.flag_push import (
    Call,
    FlagPush,
    Standing,
    context_fields,
    differences,
    next_call,
    push_json,
)
from rollout.core.jobs import Job, JobFailed
from rollout.core.meters import PLATFORM
from rollout.core.plans import compile_flag
from rollout.db import flag_push, jobs, kills, plans, revision, ticks
from rollout.db.engine import Database, Tx
from rollout.delivery.unleash import UnleashFailed
from rollout.errors import Conflict, NotFound
from rollout.services.changes import Change, Changes
from rollout.services.ids import NewId
from rollout.services.upstream_flags import FETCHED, UpstreamFlags

log = structlog.get_logger()

KIND = "flag_push"
RETRY_SECONDS = 30
ATTEMPTS = 86400 // RETRY_SECONDS
LEASE_SECONDS = 120
SECONDS = 60.0
"""For all calls of one push: well within its lease."""

MAX_CALLS = 100
"""More than any plan needs: a server that does not keep what was written is left alone."""

DESCRIPTION = "Written by Phasegate: the phases of this feature. Change them there."


class Admin(Protocol):
    """One environment of an Unleash server. Methods raise UnleashFailed."""

    def fields(self) -> set[str]: ...

    def add_field(self, name: str) -> None: ...

    def read(self, flag: str) -> Standing | None: ...

    def create(self, flag: str, description: str) -> None: ...

    def do(self, flag: str, call: Call) -> None: ...


def follow(new_id: NewId) -> Callable[[Change], None]:
    """For `Changes`: leaves a push for each plan's flag that a change moves, and a look at all when those at Unleash changed."""

    def leave(change: Change) -> None:
        moved = {record["subject"] for record in change.records if _moves(record)}
        for feature in sorted(moved & plans.all_(change.tx).keys()) if moved else ():
            flag_push.want(change.tx, feature, change.revision, change.now)
            _leave(change.tx, new_id, feature, change.now)
        if any(record["action"] == FETCHED for record in change.records):
            for push in flag_push.all_(change.tx):
                _leave(change.tx, new_id, push.feature, change.now, dedupe=f"look:{push.feature}")

    return leave


def _moves(record: Mapping[str, Any]) -> bool:
    return record["tenant_id"] is None and record["action"].partition(".")[0] in ("plan", "feature")


class FlagPushes:
    """`upstream` None: no Unleash server decides with us, nothing is written. `monotonic` gives seconds that only pass."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        new_id: NewId,
        upstream: UpstreamFlags | None,
        admin: Admin,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._changes, self._new_id = database, changes, new_id
        self._upstream, self._admin, self._monotonic = upstream, admin, monotonic

    def upstream(self) -> dict[str, Any]:
        """Whose flags decide: of an Unleash server what it last said (`feed`), and how far each plan's flag has got there."""
        if self._upstream is None:
            return {"mode": "embedded", "feed": None, "pushes": []}
        with self._database.read() as tx:
            self._upstream.document(tx)
            pushes = [push_json(push) for push in flag_push.all_(tx)]
        return {"mode": "unleash", "feed": self._upstream.as_json(), "pushes": pushes}

    def push(
        self, actor: Actor, feature: str, reason: str | None, *, dry_run: bool = False
    ) -> dict[str, Any]:
        """Write the plan's flag anew, over what somebody changed of it there, and switch it on if it is on here.

        Raises NotFound, Conflict without an Unleash server.
        """
        if self._upstream is None:
            raise Conflict(
                "There is no Unleash server to write to.", remedy="Set ROLLOUT_FLAGS=unleash to have one."
            )
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            if plans.get(change.tx, feature) is None:
                raise NotFound(f"There is no plan for {feature!r}.", param="feature")
            before = flag_push.get(change.tx, feature)
            flag_push.want(change.tx, feature, change.revision, change.now)
            _leave(change.tx, self._new_id, feature, change.now, anew=True)
            wanted = push_json(_require(change.tx, feature))
            known = push_json(before) if before else None
            change.record("flag.pushed", subject=feature, tenant=None, before=known, after=wanted)
        return wanted

    def look(self) -> None:
        """The tick: plans that were there before the Unleash server are written too, and what differed there is compared anew."""
        if self._upstream is None:
            return
        with self._database.write() as tx:
            number, _ = revision.lock(tx)
            now, known = self._database.now(tx), {push.feature: push for push in flag_push.all_(tx)}
            for feature in sorted(plans.all_(tx)):
                if feature not in known:
                    flag_push.want(tx, feature, number, now)
                if feature not in known or known[feature].drift:
                    _leave(tx, self._new_id, feature, now, dedupe=f"look:{feature}")

    def carry_out(self, job: Job) -> dict[str, Any]:
        """One attempt at writing a flag, or at comparing it. Raises JobFailed."""
        feature = str(job.payload["feature"])
        if self._upstream is None:
            raise JobFailed("there is no Unleash server to write to", final=True)
        with self._alone(feature, job.lease or job.id):
            with self._database.read() as tx:
                push, running = flag_push.get(tx, feature), plans.get(tx, feature)
                killed = feature in kills.for_everyone(tx)
            if push is None or running is None:
                return {"done": "nothing"}
            try:
                return self._written(push, compile_flag(running, killed=killed), job)
            except UnleashFailed as failure:
                with self._database.write() as tx:
                    flag_push.failed(tx, feature, str(failure), self._database.now(tx))
                raise JobFailed(str(failure), retry_after=RETRY_SECONDS) from None

    # -- inside --------------------------------------------------------------------------------------------------------

    def _written(self, push: FlagPush, flag: Mapping[str, Any], job: Job) -> dict[str, Any]:
        anew = bool(job.payload.get("anew"))
        calls = 0
        if push.is_waiting or anew:
            calls = self._bring_about(flag, may_open=anew or not push.was_switched_off)
        drift = differences(flag, self._admin.read(push.feature))
        with self._database.write() as tx:
            reached = push.wanted_revision if push.is_waiting else None
            flag_push.reached(tx, push.feature, reached, drift, self._database.now(tx))
        if drift and tuple(drift) != push.drift:
            log.warning("unleash_drift", feature=push.feature, what=[item["name"] for item in drift])
        return {"done": "pushed" if calls else "compared", "calls": calls, "drift": len(drift)}

    def _bring_about(self, flag: Mapping[str, Any], *, may_open: bool) -> int:
        """Call after call, each on what is there by then; how many it took."""
        admin, name, calls, began = self._admin, flag["name"], 0, self._monotonic()
        for field in sorted(context_fields(flag) - admin.fields()):
            admin.add_field(field)
        there = admin.read(name)
        if there is None:
            admin.create(name, DESCRIPTION)
            there = Standing(enabled=False)
        while (call := next_call(flag, there, may_open=may_open)) is not None:
            if calls == MAX_CALLS or self._monotonic() - began > SECONDS:
                raise UnleashFailed(f"After {calls} calls the flag is not yet as it was written: {call}")
            admin.do(name, call)
            calls += 1
            there = admin.read(name) or Standing(enabled=False)
        return calls

    @contextmanager
    def _alone(self, feature: str, owner: str) -> Iterator[None]:
        """While no other process writes this flag. Raises JobFailed while one does."""
        name = f"push:{feature}"[:64]
        with self._database.write() as tx:
            now = self._database.now(tx)
            if not ticks.claim(tx, name, owner, now, now + LEASE_SECONDS):
                raise JobFailed("another process is writing this flag", retry_after=2)
        try:
            yield
        finally:
            with self._database.write() as tx:
                ticks.finish(tx, name, owner, now)


def _leave(
    tx: Tx, new_id: NewId, feature: str, now: int, *, dedupe: str | None = None, anew: bool = False
) -> None:
    job = Job(
        tenant_id=PLATFORM,
        id=new_id("job"),
        kind=KIND,
        payload={"feature": feature, "anew": anew},
        run_at=now,
        max_attempts=ATTEMPTS,
        created_at=now,
        subject=feature,
        dedupe=dedupe,
    )
    jobs.add(tx, job)


def _require(tx: Tx, feature: str) -> FlagPush:
    found = flag_push.get(tx, feature)
    assert found is not None, "it was wanted a moment ago"
    return found
