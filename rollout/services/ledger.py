"""The ledger: reserve before the work, charge after it, never twice, never in silence.

    with ledger.hold(request) as held:                      # transaction 1: all limits, idempotency
        if held.replay: return held.replay
        answer = vendor.call()                              # no transaction is open
        held.settle(Actual(...), StoredResult(...))         # transaction 2

A block that is left without an outcome gets one: void when nothing was sent, or when the vendor's error proves that nothing
was done; unknown otherwise. What a dead process leaves behind is swept when its lease has passed, by the same rule.

Operations are written in batches (`services.writer`), each one transaction around `core.holds.decide`, under the locks of
`db.meters`; every operation may be repeated, so one whose COMMIT was not answered is tried again. On PostgreSQL analysis has a
lane of its own. A window that was full a moment ago refuses from memory (`services.denials`).

Failure behaviour: with the database away `hold` raises LedgerUnavailable and nothing was started (closed); what cannot be
written afterwards is logged as an error and left to `sweep` and `reconcile`, which charge what was reserved.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import structlog

from rollout.core.alerts import event_data, event_type
from rollout.core.audit import Actor
from rollout.core.catalogue import Cost, OnUnknown
from rollout.core.decisions import ANALYSIS, GENERATION, TenantFacts
from rollout.core.holds import (
    LEDGER,
    OPEN,
    Actual,
    Dispatch,
    Hold,
    HoldRequest,
    Note,
    Operation,
    Reconcile,
    Reply,
    Reserve,
    Rows,
    Settle,
    State,
    StoredResult,
    Sweep,
    Unknown,
    Void,
    bucket_keys,
    decide,
    hold_json,
    new_buckets,
)
from rollout.core.meters import (
    MAX_AMOUNT,
    PLATFORM,
    BucketKey,
    Caller,
    Limit,
    Meter,
    limit_of,
    open_bucket,
)
from rollout.core.outcomes import outcome
from rollout.db import alerts, entries, generations, holds, ledger, meters
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InvalidRequest, LedgerUnavailable, NotFound, QuotaExceeded
from rollout.providers.base import PortError
from rollout.services.changes import Changes
from rollout.services.denials import Denials
from rollout.services.events import Event
from rollout.services.ids import NewId
from rollout.services.writer import Also, Task, Writer
from rollout.sync.lru import LRU

__all__ = ["Actual", "Held", "HoldRequest", "Ledger", "Limit", "StoredResult", "Swept"]

log = structlog.get_logger()

Emit = Callable[[Tx, int, Sequence[Event]], None]
"""(tx, now, events): tells those who want to know, if and when the transaction commits."""

AlsoOf = Callable[[Tx, str, int], None]
"""(tx, hold_id, now): writes rows that commit with a reserve."""

Doubt = Callable[[Tx, int, Hold], None]
"""(tx, now, hold): leaves a job that asks the vendor of a hold that became unknown, if and when the transaction commits."""

KEY_SECONDS = 24 * 3600
"""How long an Idempotency-Key and its stored result are kept."""

RESERVE_PAUSES = (0.05,)
OUTCOME_PAUSES = (0.1, 0.5, 2.0)
"""Seconds before an operation that found no database is tried again. A reserve fails fast; an outcome is worth waiting for."""


NOBODY = Caller("")
SWEPT_AT_ONCE, RENEWED_AT_ONCE = 100, 1_000
REMEMBERED_METERS, REMEMBERED_BUCKETS = 10_000, 50_000


def _tell_nobody(tx: Tx, now: int, events: Sequence[Event]) -> None:
    """For books without an outbox."""


def _ask_nobody(tx: Tx, now: int, hold: Hold) -> None:
    """For books without a queue."""


@dataclass(frozen=True)
class _Applied:
    """What operations came to: `replies` in their order, at `now`; the `meters` seen with their revision, and the windows `opened`."""

    replies: list[Reply]
    now: int
    meters: Mapping[str, tuple[int, tuple[Meter, ...]]]
    opened: list[BucketKey]


@dataclass(frozen=True)
class Swept:
    voided: int
    unknown: int


class Ledger:
    """`lease_seconds`: how long a hold's owner may be silent; `grace_seconds`: how long an unknown hold waits for an answer, but those
    of `reviewed` models, which wait for a person."""

    def __init__(
        self,
        database: Database,
        *,
        lease_seconds: int,
        grace_seconds: int,
        new_id: NewId,
        emit: Emit = _tell_nobody,
        doubt: Doubt = _ask_nobody,
        reviewed: Callable[[], Collection[str]] = tuple,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.lease_seconds, self.grace_seconds, self.reviewed = lease_seconds, grace_seconds, reviewed
        self._database, self._changes = database, Changes(database)
        self._new_id, self._emit, self._doubt, self._sleep = new_id, emit, doubt, sleep
        self._denials = Denials(database.clock)
        self._writer = Writer(self._carry_out, self._take_back)
        self._lane = self._writer if database.is_sqlite else Writer(self._carry_out, self._take_back)
        self._live: LRU[str, tuple[int, tuple[Meter, ...]]] = LRU(REMEMBERED_METERS)
        self._opened: LRU[BucketKey, bool] = LRU(REMEMBERED_BUCKETS)
        self._own: set[holds.HoldId] = set()
        self._unanswered: set[holds.HoldId] = set()
        self._lock = threading.Lock()

    # -- one piece of work ---------------------------------------------------------------------------------------------

    @contextmanager
    def hold(self, request: HoldRequest, *, also: AlsoOf | None = None) -> Iterator[Held]:
        """Reserve for the length of the block; `also(tx, hold_id, now)` writes rows that commit with the reserve.

        Raises InsufficientQuota or RateLimitExceeded (members `limit`, `violated_policies`, `resets_at`), RequestInProgress,
        IdempotencyKeyReused, OutcomeUnknown, ResultPurged, FeatureKilled, FeatureNotEnabled, UpstreamUnavailable (the vendor is
        switched off), LedgerUnavailable.
        """
        with self._reserved(request, also) as held:
            if held.replay is not None:
                yield held
                return
            with _left(held):
                yield held

    def reserve(self, request: HoldRequest, *, also: AlsoOf | None = None) -> Held:
        """Reserve for work that a job will `take_up`. Raises as `hold`."""
        with self._reserved(dataclasses.replace(request, dispatch=False), also) as held:
            return held

    @contextmanager
    def take_up(self, hold: Hold, switches: tuple[str, ...]) -> Iterator[Held]:
        """Go on with the work of a hold that was left open; `switches` as in its request.

        A hold that could not be dispatched because the books were away is left as it is, for another try.
        """
        with self._owning((hold.tenant_id, hold.id)):
            held = Held(self, hold, hold.created_at, (), switches=switches)
            with _left(held):
                yield held

    @contextmanager
    def _reserved(self, request: HoldRequest, also: AlsoOf | None) -> Iterator[Held]:
        self._denials.check(request)
        releases = self._denials.releases(request.tenant_id)
        hold_id = self._new_id("hold")
        operation = Reserve(hold_id, request, self.lease_seconds)
        rows: Also | None = None if also is None else lambda tx, now: also(tx, hold_id, now)
        with self._owning((request.tenant_id, hold_id)):
            reply, now = self._persist(operation, request.feature, rows, RESERVE_PAUSES)
            if self._unanswered:
                with self._lock:
                    self._unanswered.discard((request.tenant_id, hold_id))
            if isinstance(reply.error, QuotaExceeded):
                self._denials.remember(request, reply.error, releases)
            hold = _hold_of(reply)
            if hold.id != hold_id:
                yield Held(self, hold, now, reply.limits, replay=hold.result)
            else:
                yield Held(self, hold, now, reply.limits, switches=request.switches)

    def limits(self, facts: TenantFacts, caller: Caller = NOBODY) -> list[Limit]:
        """The tenant's own limits, and those of this caller, as they stand; a window that nobody has used yet counts 0."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            windows = [
                (meter, open_bucket(meter, now, subject))
                for meter in facts.meters
                if meter.in_force(now) and (subject := meter.subject_of(caller)) is not None
            ]
            found = meters.read_buckets(tx, [window.key for _, window in windows])
        return [limit_of(meter, found.get(window.key, window), now) for meter, window in windows]

    # -- what runs by itself -------------------------------------------------------------------------------------------

    def renew_leases(self) -> None:
        """Prolong the leases of this process's open holds; to be called every third of a lease.

        Reserves whose COMMIT was not answered are voided here, once their callers were told that nothing was started.
        """
        with self._lock:
            own, unanswered = set(self._own), self._unanswered - self._own
        for tenant_id, hold_id in unanswered:
            self._once(Void(tenant_id, hold_id, LEDGER, "nobody was told that it was reserved"), None)
            with self._lock:
                self._unanswered.discard((tenant_id, hold_id))
        if own:
            with self._database.write() as tx:
                holds.renew(tx, own, self._database.now(tx) + self.lease_seconds)

    def renew_queued(self) -> None:
        """Prolong the leases of holds that a job goes on with, however long the queue is, and the graces of those in doubt: nobody
        charges an estimate while it may still find out. To be called every third of a lease, and before any sweep."""
        renewed = RENEWED_AT_ONCE
        while renewed == RENEWED_AT_ONCE:
            with self._database.write() as tx:
                until = self._database.now(tx) + self.lease_seconds
                renewed = holds.renew_left(tx, until, RENEWED_AT_ONCE)

    def sweep(self, limit: int = 500) -> Swept:
        """End what dead processes left: held becomes void, dispatched becomes unknown. Oldest first, at most `limit`."""
        operations = [
            Sweep(hold.tenant_id, hold.id, self.grace_seconds)
            for hold in self._overdue(("held", "dispatched"), limit)
        ]
        ended = [hold.state for hold in self._each(operations)]
        return Swept(voided=ended.count("void"), unknown=ended.count("unknown"))

    def reconcile(self, limit: int = 500) -> int:
        """Charge what was reserved by unknown holds whose grace has passed, where no review is due; how many it were."""
        overdue = self._overdue(("unknown",), limit, but=self.reviewed())
        return len(self._each([Reconcile(hold.tenant_id, hold.id) for hold in overdue]))

    def resolve(self, operation: Settle | Void | Unknown | Note) -> bool:
        """Carry out what was found out of a hold; whether that moved it. Raises LedgerUnavailable."""
        return bool(self._each([operation]))

    def forget_keys(self, limit: int = 500) -> int:
        """Clear Idempotency-Keys of ended holds after 24 hours; hold and entries stay. How many it were."""
        with self._database.write() as tx:
            return holds.forget_keys(tx, self._database.now(tx) - KEY_SECONDS, limit)

    def verify(self) -> list[str]:
        """What is wrong with the books, a sentence each; [] when they are right."""
        with self._database.read() as tx:
            wrong = [
                *entries.wrong_buckets(tx),
                *entries.wrong_caps(tx),
                *entries.wrong_charges(tx),
                *entries.charged_twice(tx),
            ]
            by_entries = entries.held_lines(tx)
            by_holds = {
                (key[0], hold.id, *key[1:]): line.held_in(hold.state)
                for hold in holds.all_open(tx)
                for line in hold.lines
                for key in [hold.bucket_key(line)]
            }
        for key in sorted(by_entries.keys() | by_holds.keys()):
            reserved, booked = by_holds.get(key, 0), by_entries.get(key, 0)
            if reserved != booked:
                tenant_id, hold_id, meter_id, *_ = key
                wrong.append(
                    f"hold {hold_id} of {tenant_id} reserves {reserved} of {meter_id}; its entries say {booked}"
                )
        return wrong

    # -- for admins ----------------------------------------------------------------------------------------------------

    def holds(self, *, tenant: str | None, state: str | None, cursor: str | None, limit: int) -> list[Hold]:
        """Newest first, from before the id `cursor`; `state` is a state, or `open` for all that still reserve something."""
        with self._database.read() as tx:
            return holds.page(tx, tenant=tenant, states=_states(state), before=cursor, limit=limit)

    def get_hold(self, hold_id: str) -> Hold:
        """Raises NotFound."""
        with self._database.read() as tx:
            return _require(tx, hold_id)

    def on_unknown(self, hold: Hold) -> OnUnknown | None:
        """What ends the doubt about a hold when its grace is over, as the catalogue says now; None where there is no doubt."""
        if hold.state != "unknown":
            return None
        return "review" if hold.model in self.reviewed() else "charge"

    def shown(self, hold: Hold) -> dict[str, Any]:
        """The shape that admins see."""
        return {**hold_json(hold), "on_unknown": self.on_unknown(hold)}

    def settle_by_hand(
        self,
        actor: Actor,
        hold_id: str,
        reason: str | None,
        cost_usd_micro: int | None,
        *,
        dry_run: bool = False,
    ) -> Hold:
        """Charge an unknown hold: `cost_usd_micro` as the vendor's books say, or (None) what was reserved.

        Raises NotFound, InvalidRequest, Conflict when the hold is not unknown.
        """
        if cost_usd_micro is not None and not 0 <= cost_usd_micro <= MAX_AMOUNT:
            raise InvalidRequest(f"A cost is a whole number from 0 to {MAX_AMOUNT}.", param="cost_usd_micro")

        def settle(hold: Hold, why: str) -> Settle:
            actual = None
            if cost_usd_micro is not None:
                actual = dataclasses.replace(
                    hold.reserve(), cost=Cost(cost_usd_micro, "usage", hold.price_id or "")
                )
            return Settle(hold.tenant_id, hold.id, actual, None, actor.name, why, of=("unknown",))

        return self._by_hand(actor, "hold.settled", hold_id, reason, settle, dry_run=dry_run)

    def void_by_hand(self, actor: Actor, hold_id: str, reason: str | None, *, dry_run: bool = False) -> Hold:
        """Charge nothing for an unknown hold. Raises NotFound, Conflict when the hold is not unknown."""

        def void(hold: Hold, why: str) -> Void:
            return Void(hold.tenant_id, hold.id, actor.name, why, of=("unknown",))

        return self._by_hand(actor, "hold.voided", hold_id, reason, void, dry_run=dry_run)

    def void_held(self, tx: Tx, switch: str, tenant_id: str | None, now: int) -> int:
        """In the transaction that stops a feature or vendor, under its exclusive gate: void what has not been sent; how many."""
        operations = [
            Void(hold.tenant_id, hold.id, "system:kill", f"{switch} was stopped", of=("held",))
            for hold in holds.held(tx, switch, tenant_id)
        ]
        return sum(reply.moved for reply in self._apply(tx, operations, now).replies)

    def cancel(self, tx: Tx, hold: Hold, actor: str, now: int) -> bool:
        """In a transaction that cancels its work: lock the hold, and void it if nothing was sent yet; whether it was voided."""
        operation = Void(hold.tenant_id, hold.id, actor, "cancelled", of=("held",))
        (reply,) = self._apply(tx, [operation], now).replies
        return reply.moved

    def running(self, tx: Tx, switch: str, tenant_id: str | None) -> int:
        """How many holds of the feature or vendor are dispatched."""
        return holds.count_dispatched(tx, switch, tenant_id)

    def write(self, tx: Tx, rows: Rows, by_id: Mapping[str, Meter]) -> None:
        """Write what was decided of these meters; of its alerts webhooks are told if and when the transaction commits."""
        ledger.write(tx, rows)
        for hold in rows.holds:
            if hold.upstream_id and hold.in_doubt_since is not None:
                self._doubt(tx, hold.in_doubt_since, hold)
        ends = {bucket.key: bucket.ends for bucket in rows.buckets}
        for alert in rows.alerts:
            alerts.add(tx, alert)
            data = event_data(alert, by_id[alert.meter_id], ends[alert[:4]])
            self._emit(tx, alert.at, [Event(event_type(alert), alert.tenant_id, data)])

    # -- inside --------------------------------------------------------------------------------------------------------

    def _persist(
        self,
        operation: Operation,
        feature: str,
        also: Also | None = None,
        pauses: Sequence[float] = OUTCOME_PAUSES,
    ) -> tuple[Reply, int]:
        """Carry out one operation durably: (reply, now). Safe to repeat, whatever became of an earlier try."""
        writer = self._lane if feature == ANALYSIS else self._writer
        for pause in pauses:
            try:
                return writer.submit(Task(operation, also))
            except LedgerUnavailable as error:
                log.warning("ledger_tried_again", hold=operation.hold_id, cause=repr(error.__cause__))
                self._sleep(pause)
                operation = _again(operation)
        return writer.submit(Task(operation, also))

    def _once(self, operation: Operation, also: Also | None) -> tuple[Reply, int]:
        """Carry out one operation in a transaction of its own."""
        task = Task(operation, also)
        self._carry_out([task])
        return task.result()

    def _each(self, operations: Sequence[Operation]) -> list[Hold]:
        """Carry out all of them, some at once; the holds that were moved."""
        moved = []
        for first in range(0, len(operations), SWEPT_AT_ONCE):
            tasks = [Task(operation) for operation in operations[first : first + SWEPT_AT_ONCE]]
            self._carry_out(tasks)
            for task in tasks:
                reply, _ = task.result()
                if not reply.moved:
                    continue
                hold = _hold_of(reply)
                moved.append(hold)
                log.warning(
                    "hold_ended", hold=hold.id, tenant=hold.tenant_id, state=hold.state, why=hold.resolution
                )
        return moved

    def _carry_out(self, batch: Sequence[Task]) -> None:
        """Write the batch in one transaction; when that fails for what is in it, each by itself. Never raises."""
        decided = False
        try:
            with self._database.write() as tx:
                applied = self._apply(tx, [task.operation for task in batch])
                for task, reply in zip(batch, applied.replies, strict=True):
                    if reply.moved and task.also is not None:
                        task.also(tx, applied.now)
                decided = True
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, LedgerUnavailable):
                for task in batch:
                    self._carry_out([task])
                return
            for task in batch:
                if decided and isinstance(error, LedgerUnavailable):
                    self._take_back(task)
                task.error = _own(error)
            return
        self._learn(applied)
        for task, reply in zip(batch, applied.replies, strict=True):
            if reply.moved and not isinstance(task.operation, Reserve):
                self._denials.released(task.operation.tenant_id)
            task.now, task.reply = applied.now, reply

    def _take_back(self, task: Task) -> None:
        """A reserve of which nobody was told, or nobody knows: it is voided soon."""
        if isinstance(task.operation, Reserve):
            with self._lock:
                self._unanswered.add((task.operation.tenant_id, task.operation.hold_id))

    def _apply(self, tx: Tx, operations: Sequence[Operation], at: int | None = None) -> _Applied:
        """Lock, read, decide, write; in a transaction that is not committed yet."""
        switches = {name for operation in operations for name in _gates(operation)}
        tenant_ids = {operation.tenant_id for operation in operations}
        known = [tenant_id for tenant_id in tenant_ids if self._live.get(tenant_id)]
        locked = ledger.lock(
            self._database, tx, switches, tenant_ids, known, _ids(operations), _keys(operations)
        )
        revisions, now = locked.revisions, locked.now if at is None else at
        live = {tenant_id: self._meters(tx, tenant_id, number) for tenant_id, number in revisions.items()}
        by_id = {meter.id: meter for of_tenant in live.values() for meter in of_tenant}
        operations = [_rebuilt(operation, revisions, live) for operation in operations]
        fresh = new_buckets(operations, now)
        unseen = [bucket for bucket in fresh if not self._opened.get(bucket.key)]
        buckets = meters.lock_buckets(tx, bucket_keys(fresh, locked.holds), opened=unseen)
        replies, rows = decide(operations, by_id, locked.gates, buckets, locked.holds, now)
        self.write(tx, rows, by_id)
        moved = [reply.hold for reply in replies if reply.moved and reply.hold is not None]
        self._emit(tx, now, _outcomes(tx, moved))
        learned = {tenant_id: (number, live[tenant_id]) for tenant_id, number in revisions.items()}
        return _Applied(replies, now, learned, [bucket.key for bucket in unseen])

    def _meters(self, tx: Tx, tenant_id: str, revision: int) -> tuple[Meter, ...]:
        """The tenant's meters at the revision that it was locked at, from memory if they are there."""
        known = self._live.get(tenant_id)
        return known[1] if known is not None and known[0] == revision else meters.live(tx, tenant_id)

    def _learn(self, applied: _Applied) -> None:
        """Remember what a committed transaction saw; one that is undone has shown nothing."""
        for tenant_id, found in applied.meters.items():
            self._live.put(tenant_id, found)
        for key in applied.opened:
            self._opened.put(key, True)

    def _overdue(self, states: Sequence[State], limit: int, but: Collection[str] = ()) -> list[Hold]:
        with self._database.read() as tx:
            return holds.overdue(tx, states, self._database.now(tx), limit, but=but)

    def _by_hand(
        self,
        actor: Actor,
        action: str,
        hold_id: str,
        reason: str | None,
        operation_on: Callable[[Hold, str], Operation],
        *,
        dry_run: bool,
    ) -> Hold:
        with self._changes.begin(actor, reason, dry_run=dry_run) as change:
            before = _require(change.tx, hold_id)
            (reply,) = self._apply(change.tx, [operation_on(before, change.reason)]).replies
            after = _hold_of(reply)
            if not reply.moved:
                raise _not_in_doubt(after)
            change.record(
                action,
                subject=hold_id,
                tenant=after.tenant_id,
                before=hold_json(before),
                after=hold_json(after),
            )
        return after

    @contextmanager
    def _owning(self, key: tuple[str, str]) -> Iterator[None]:
        """From before a hold is made, so that none is taken back while its caller still tries."""
        with self._lock:
            self._own.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._own.discard(key)


class Held:
    """A reservation in the hands of its owner; to be used inside the `with` block of `Ledger.hold`.

    `now` is the time of the reserve, `limits` the buckets right after it. `replay` is the answer to a repeated request: then
    there is nothing to do, and the methods do nothing. `upstream_id`, once it is known: by which name the vendor can be asked what
    became of the work, should its outcome be lost.
    """

    def __init__(
        self,
        ledger: Ledger,
        hold: Hold,
        now: int,
        limits: tuple[Limit, ...],
        replay: StoredResult | None = None,
        switches: tuple[str, ...] = (),
    ) -> None:
        self.id, self.now, self.limits, self.replay = hold.id, now, limits, replay
        self._ledger, self._hold, self._switches = ledger, hold, switches
        self._dispatched = hold.state != "held"
        self._done = replay is not None
        self.upstream_id: str | None = None

    def dispatch(self) -> bool:
        """Say that the call is about to leave; when this raises, it must not. False when that had been said before, perhaps by this
        very call: then somebody may have sent it.

        Raises FeatureKilled, FeatureNotEnabled, UpstreamUnavailable (the vendor is switched off), LedgerUnavailable (also when
        the reservation has lapsed).
        """
        if self._done or self._dispatched:
            return False
        hold = self._hold
        operation = Dispatch(
            hold.tenant_id, hold.id, hold.feature, self._ledger.lease_seconds, self._switches
        )
        reply, _ = self._ledger._persist(operation, hold.feature, pauses=RESERVE_PAUSES)
        _hold_of(reply)
        self._dispatched = True
        return reply.moved

    def let_go(self) -> None:
        """Somebody else goes on: leave it as it is."""
        self._done = True

    def settle(
        self,
        actual: Actual,
        result: StoredResult | None,
        *,
        also: Also | None = None,
        why: str | None = None,
    ) -> None:
        """Charge; `result` is kept for replay, `also(tx, now)` writes rows that commit with the charge, `why` is kept where the work
        did not end as it should.

        Charging again changes nothing. Raises LedgerUnavailable when the charge could not be written: then the sweeper and the
        reconciler charge what was reserved, and nobody may be told to repeat the work.
        """
        if self._done:
            return
        if not self._dispatched:
            raise RuntimeError("a hold is dispatched before it is settled")
        operation = Settle(self._hold.tenant_id, self.id, actual, result, self._owner, why)
        try:
            reply, _ = self._ledger._persist(operation, self._hold.feature, also)
        except LedgerUnavailable:
            self._done = True
            log.error(
                "charge_not_written",
                cost_usd_micro=actual.cost.usd_micro,
                images=actual.images,
                **self._names,
            )
            raise
        self._done = True
        settled = _hold_of(reply)
        if settled.cost_usd_micro != actual.cost.usd_micro:
            log.warning(
                "charged_otherwise_before",
                charged=settled.cost_usd_micro,
                cost_usd_micro=actual.cost.usd_micro,
                **self._names,
            )
        if actual.cost.usd_micro > self._hold.cost_usd_micro:
            log.warning(
                "estimate_exceeded",
                reserved=self._hold.cost_usd_micro,
                cost_usd_micro=actual.cost.usd_micro,
                **self._names,
            )

    def void(self, why: str) -> None:
        """Nothing was done: give back what was reserved."""
        self._end(Void(self._hold.tenant_id, self.id, self._owner, why))

    def unknown(self, why: str) -> None:
        """Nobody can tell whether it was done: keep the reservation until somebody can, or the grace is over."""
        grace = self._ledger.grace_seconds
        self._end(Unknown(self._hold.tenant_id, self.id, self._owner, why, grace, self.upstream_id))

    def leave(self, error: BaseException | None) -> None:
        """End what the block left open, by what it was left with; never raises."""
        why = _why(error)
        if isinstance(error, PortError) and error.vendor_request_id:
            self.upstream_id = error.vendor_request_id
        if not self._dispatched or (isinstance(error, PortError) and error.hold == "void"):
            self.void(why)
        else:
            self.unknown(why)

    def _end(self, operation: Void | Unknown) -> None:
        """Never raises: an error here would invite the caller to repeat what may have been done."""
        if self._done:
            return
        self._done = True
        try:
            self._ledger._persist(operation, self._hold.feature)
        except Exception:
            log.exception(
                "hold_left_to_the_sweeper", wanted=type(operation).__name__, why=operation.why, **self._names
            )

    @property
    def _owner(self) -> str:
        return f"key:{self._hold.api_key_id}"

    @property
    def _names(self) -> dict[str, str]:
        return {"hold": self.id, "tenant": self._hold.tenant_id}


@contextmanager
def _left(held: Held) -> Iterator[None]:
    """End, after the block, what it left open."""
    try:
        yield
    except BaseException as error:
        held.leave(error)
        raise
    held.leave(None)


def _why(error: BaseException | None) -> str:
    if error is None:
        return "left without an outcome"
    return f"{type(error).__name__}: {error.detail}" if isinstance(error, PortError) else type(error).__name__


def _own(error: Exception) -> Exception:
    """An error for one caller of many: each adds to it what its own answer says."""
    if not isinstance(error, LedgerUnavailable):
        return error
    own = LedgerUnavailable(error.message, retry_after=error.retry_after)
    own.__cause__ = error.__cause__
    return own


def _hold_of(reply: Reply) -> Hold:
    """The hold that was replied, or the refusal as an exception."""
    if reply.error is not None:
        raise reply.error
    if reply.hold is None:
        raise NotFound("There is no such hold.")
    return reply.hold


def _not_in_doubt(hold: Hold) -> Conflict:
    """Shows who was faster, if somebody was."""
    by = hold.evidence[-1]["by"] if hold.evidence else f"key:{hold.api_key_id}"
    error = Conflict(
        f"The hold is {hold.state}; only an unknown one is ended by hand.",
        remedy="A hold that is held or dispatched is ended by its owner, or swept when its lease has passed.",
        hold=hold_json(hold),
    )
    if hold.state not in OPEN:
        error.remedy_text = f"It was ended by {by}: {hold.resolution or 'the vendor answered'}"
    return error


def _require(tx: Tx, hold_id: str) -> Hold:
    found = holds.get(tx, hold_id)
    if found is None:
        raise NotFound(f"There is no hold {hold_id!r}.", param="hold")
    return found


def _rebuilt(
    operation: Operation, revisions: Mapping[str, int], live: Mapping[str, tuple[Meter, ...]]
) -> Operation:
    """A reserve with the meters of now: other ones than it was built on, if they changed, and those that tenants share."""
    if not isinstance(operation, Reserve):
        return operation
    request, shared = operation.request, live[PLATFORM]
    is_current = request.meter_rev == revisions[operation.tenant_id]
    if is_current and not shared:
        return operation
    own = request.meters if is_current else live[operation.tenant_id]
    return dataclasses.replace(operation, request=dataclasses.replace(request, meters=own + shared))


def _again(operation: Operation) -> Operation:
    """A reserve that may have been committed is looked for first."""
    return dataclasses.replace(operation, again=True) if isinstance(operation, Reserve) else operation


def _gates(operation: Operation) -> tuple[str, ...]:
    """The feature and the vendors' switches whose gates the operation passes."""
    match operation:
        case Reserve(request=request):
            return (request.feature, *request.switches)
        case Dispatch(feature=feature, switches=switches):
            return (feature, *switches)
    return ()


def _ids(operations: Sequence[Operation]) -> set[holds.HoldId]:
    """The holds that may be there already: all but those that are to be made."""
    return {
        (operation.tenant_id, operation.hold_id)
        for operation in operations
        if not isinstance(operation, Reserve) or operation.again
    }


def _keys(operations: Sequence[Operation]) -> set[tuple[str, str]]:
    reserves = [operation.request for operation in operations if isinstance(operation, Reserve)]
    return {(request.tenant_id, request.idem_key) for request in reserves if request.idem_key}


def _outcomes(tx: Tx, moved: Sequence[Hold]) -> list[Event]:
    """What became of generations, to be told to webhooks. A result says whose it is; without one it is looked up."""
    nameless = [hold for hold in moved if hold.feature == GENERATION and hold.state in ("void", "unknown")]
    ids = generations.ids_of_holds(tx, [(hold.tenant_id, hold.id) for hold in nameless])
    return [Event(*told) for hold in moved if (told := outcome(hold, ids.get(hold.id)))]


def _states(state: str | None) -> tuple[State, ...] | None:
    known: dict[str, tuple[State, ...]] = {name: (name,) for name in get_args(State)}
    known["open"] = OPEN
    if state is None:
        return None
    if state not in known:
        raise InvalidRequest(f"There is no state {state!r}; there are {', '.join(known)}.", param="state")
    return known[state]
