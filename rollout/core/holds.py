"""Holds: `held -> dispatched -> settled | void | unknown`, and `decide`, the one copy of the rules.

    held        reserved; nothing has left for the vendor
    dispatched  the vendor may have it: never silently refunded
    settled     charged: by usage, by price list, or by the estimate that was reserved
    void        nothing was done, nothing is charged
    unknown     the vendor may have done it: stays reserved, but its slot is free

    new        -> held, dispatched   every hard limit has room for its line: all lines or none
    held       -> dispatched         while its lease lasts and nobody stopped the feature
    held       -> void               nothing was sent: caller gone, refused, killed, or the lease passed
    dispatched -> settled            the vendor's result, or its refusal for content
    dispatched -> void               provably not sent, or refused as a call
    dispatched -> unknown            time-out, 5xx, cut stream, or the lease passed
    unknown    -> settled            the answer came late, the vendor or a person said so, or the grace passed: the estimate
    unknown    -> void               the vendor or a person said so
    void       -> settled            the work turned up after all

What is found out of an unknown outcome, by whom and when, is kept on the hold as `evidence`.

A hold is the reservation, the idempotency record and the head of its ledger entries in one. `request` lines
are used at once and for good; `slot` lines are only ever held; all others are held until the hold settles.
Amounts are integers, times UTC epoch seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from rollout.core.alerts import EXHAUSTED, Alert, crossed
from rollout.core.catalogue import Cost, SettledFrom
from rollout.core.kills import switched_off, vendor_of
from rollout.core.meters import (
    MAX_AMOUNT,
    PLATFORM,
    Bucket,
    BucketKey,
    Caller,
    Limit,
    Meter,
    Unit,
    end_topups,
    limit_of,
    open_bucket,
    refusal,
)
from rollout.core.times import rfc3339
from rollout.errors import (
    FeatureKilled,
    FeatureNotEnabled,
    IdempotencyKeyReused,
    LedgerUnavailable,
    OutcomeUnknown,
    RequestInProgress,
    ResultPurged,
    RolloutError,
)

State = Literal["held", "dispatched", "settled", "void", "unknown"]
Kind = Literal["reserve", "settle", "void", "slot", "late", "adjust", "topup", "expire"]

OPEN: tuple[State, ...] = ("held", "dispatched", "unknown")
"""States that still reserve something."""

ANSWERED = "the vendor answered"
"""Why a hold in doubt was settled, where its owner did it after all."""

SWEEPER, RECONCILER, LEDGER = "system:sweeper", "system:reconciler", "system:ledger"


@dataclass(frozen=True)
class StoredResult:
    """An answer as it is replayed: `body` is JSON, pictures in it are references to blobs."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Actual:
    """What a finished piece of work came to; `upstream_id` is the vendor's name for it."""

    cost: Cost
    images: int
    usage: Mapping[str, int] | None = None
    upstream_id: str | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.cost.usd_micro <= MAX_AMOUNT and 0 <= self.images <= MAX_AMOUNT):
            raise ValueError(f"amounts lie between 0 and {MAX_AMOUNT}: {self}")


@dataclass(frozen=True)
class HoldRequest:
    """What is to be reserved; `meter_rev` tells the ledger whether `meters`, the tenant's own, are still the right
    ones. Those that tenants share are the ledger's to add. `switches`: what stops it beside its feature, its vendor's.

    `amounts` are maxima; a unit that is missing has no line. Not `metered` (test keys): a hold without lines.
    """

    tenant_id: str
    feature: str
    decision_id: str
    request_id: str
    api_key_id: str
    meters: tuple[Meter, ...]
    meter_rev: int
    amounts: Mapping[Unit, int]
    fingerprint: str
    idem_key: str | None
    vendor: str
    model: str
    price_id: str
    dispatch: bool = True
    metered: bool = True
    end_user: str | None = None
    phase: str | None = None
    switches: tuple[str, ...] = ()
    _lines: dict[int, list[tuple[Meter, Bucket, int]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not all(0 <= amount <= MAX_AMOUNT for amount in self.amounts.values()):
            raise ValueError(f"amounts lie between 0 and {MAX_AMOUNT}: {self.amounts}")

    def lines(self, now: int) -> list[tuple[Meter, Bucket, int]]:
        """What counts this request: meter, its window of now as nobody has used it yet, amount."""
        if now not in self._lines:  # asked for twice a batch, and dear
            self._lines[now] = self._counted(now) if self.metered else []
        return self._lines[now]

    def _counted(self, now: int) -> list[tuple[Meter, Bucket, int]]:
        caller = Caller(self.api_key_id, self.end_user, self.phase)
        return [
            (meter, open_bucket(meter, now, subject), amount)
            for meter in self.meters
            if meter.in_force(now) and (subject := meter.subject_of(caller)) is not None
            for unit, amount in self.amounts.items()
            if meter.counts(self.feature, unit)
        ]


class Line(NamedTuple):
    """What a hold reserves in one bucket. A settle lands in the same one, whatever the clock says by then.

    `shared`: the bucket is not the tenant's, but one of all.
    """

    meter_id: str
    subject: str
    start: int
    unit: Unit
    amount: int
    shared: bool = False

    def held_in(self, state: State) -> int:
        """How much of the bucket's `held` is this line's."""
        if self.unit == "request" or state in ("settled", "void"):
            return 0
        return 0 if self.unit == "slot" and state == "unknown" else self.amount


@dataclass(frozen=True)
class Hold:
    """A reservation and what became of it; `resolution` says why it ended as it did.

    `cost_usd_micro`: the most it may cost; settled, what it cost; void, 0. `lease_until`: the owner's lease
    while held or dispatched, the end of the grace while unknown, else None. `unsent`: the caller left before the
    answer did. `evidence`: {"at", "by", "found"} of an outcome in doubt, oldest first; with "to", the state that
    it led to, and "flag": `estimate_exceeded` where more was charged than was reserved, `late` where it had been void.
    """

    tenant_id: str
    id: str
    state: State
    feature: str
    decision_id: str
    request_id: str
    api_key_id: str
    idem_key: str | None
    attempt: int
    fingerprint: str
    lines: tuple[Line, ...]
    vendor: str
    model: str
    price_id: str | None
    cost_usd_micro: int
    lease_until: int | None
    created_at: int
    settled_from: SettledFrom | None = None
    usage: Mapping[str, int] | None = None
    upstream_id: str | None = None
    result: StoredResult | None = None
    resolution: str | None = None
    settled_at: int | None = None
    unsent: bool = False
    evidence: tuple[Mapping[str, Any], ...] = ()

    def bucket_key(self, line: Line) -> BucketKey:
        return (PLATFORM if line.shared else self.tenant_id, line.meter_id, line.subject, line.start)

    @property
    def in_doubt_since(self) -> int | None:
        """When it became unknown, while nobody has found out anything since."""
        last = self.evidence[-1] if self.evidence else {}
        return last["at"] if last.get("to") == "unknown" else None

    @property
    def was_answered(self) -> bool:
        """Whether, once settled, it was by the vendor's answer to its owner, in time or late."""
        return self.resolution in (None, ANSWERED)

    @property
    def images(self) -> int:
        """How many pictures it was settled for."""
        return int((self.usage or {}).get("images", 0))

    @property
    def was_late(self) -> bool:
        """Whether it was void when its work turned up after all."""
        return any(item.get("flag") == "late" for item in self.evidence)

    def overdue(self, now: int) -> bool:
        """Whether its lease, or its grace, has passed: the only test of an owner's death."""
        return self.lease_until is not None and self.lease_until <= now

    def reserve(self) -> Actual:
        """What it comes to when nobody can tell: all that was reserved."""
        images = max((line.amount for line in self.lines if line.unit == "image"), default=0)
        return Actual(Cost(self.cost_usd_micro, "estimate", self.price_id or ""), images)


class Entry(NamedTuple):
    """One line of the ledger, never changed; its id follows from what it is, so none can be written twice.

    `hold_id` None: of a top-up or an adjustment. `d_cap`: what top-ups give, and take along when they end.
    """

    tenant_id: str
    id: str
    hold_id: str | None
    meter_id: str
    subject: str
    start: int
    kind: Kind
    d_used: int
    d_held: int
    settled_from: SettledFrom | None
    price_id: str | None
    actor: str
    reason: str | None
    at: int
    d_cap: int = 0

    @property
    def bucket_key(self) -> BucketKey:
        return self.tenant_id, self.meter_id, self.subject, self.start


@dataclass(frozen=True)
class Gates:
    """Who is stopped, read under the gates' locks: features killed for all, vendors' switches that are off, and
    (tenant, feature) halted."""

    killed: frozenset[str] = frozenset()
    halted: frozenset[tuple[str, str]] = frozenset()

    def check(self, tenant_id: str, feature: str, switches: Iterable[str], decision_id: str) -> None:
        """Raises FeatureKilled, FeatureNotEnabled, UpstreamUnavailable."""
        if feature in self.killed:
            raise FeatureKilled(reason="killed", decision_id=decision_id)
        if (tenant_id, feature) in self.halted:
            raise FeatureNotEnabled(
                f"{feature} is halted for your organisation.",
                remedy="Nothing is wrong with your request; ask the operator why it was halted.",
                reason="tenant_halted",
                decision_id=decision_id,
            )
        for vendor in filter(None, map(vendor_of, self.killed.intersection(switches))):
            raise switched_off(vendor, decision_id=decision_id)


# -- operations --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reserve:
    """`again`: an earlier try may have been committed."""

    hold_id: str
    request: HoldRequest
    lease_seconds: int
    again: bool = False

    @property
    def tenant_id(self) -> str:
        return self.request.tenant_id


@dataclass(frozen=True)
class Dispatch:
    """The owner is about to send; `feature` is the hold's, `switches` its request's."""

    tenant_id: str
    hold_id: str
    feature: str
    lease_seconds: int
    switches: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settle:
    """The work was done. `actual` None: nobody can tell at what cost, so what was reserved is charged.

    `of`: the states it may leave.
    """

    tenant_id: str
    hold_id: str
    actual: Actual | None
    result: StoredResult | None
    actor: str
    why: str | None = None
    of: tuple[State, ...] = ("dispatched", "unknown", "void")


@dataclass(frozen=True)
class Void:
    """The work was provably not done."""

    tenant_id: str
    hold_id: str
    actor: str
    why: str
    of: tuple[State, ...] = ("held", "dispatched")


@dataclass(frozen=True)
class Unknown:
    """Nobody can tell whether the work was done; `upstream_id`: by which name the vendor can be asked."""

    tenant_id: str
    hold_id: str
    actor: str
    why: str
    grace_seconds: int
    upstream_id: str | None = None


@dataclass(frozen=True)
class Note:
    """Somebody found out something of an unknown outcome that does not end it."""

    tenant_id: str
    hold_id: str
    actor: str
    found: str


@dataclass(frozen=True)
class Sweep:
    """Look after a hold whose owner seems dead."""

    tenant_id: str
    hold_id: str
    grace_seconds: int


@dataclass(frozen=True)
class Reconcile:
    """End an unknown hold whose grace has passed."""

    tenant_id: str
    hold_id: str


Operation: TypeAlias = Reserve | Dispatch | Settle | Void | Unknown | Note | Sweep | Reconcile


@dataclass(frozen=True)
class Reply:
    """What became of one operation: the hold as it stands, whether this operation `moved` it, or the refusal.

    A Reserve that is answered with another hold than its own is a repeat: that hold's result is replayed.
    """

    hold: Hold | None = None
    moved: bool = False
    limits: tuple[Limit, ...] = ()
    error: RolloutError | None = None


@dataclass
class Rows:
    """What to write, each row once."""

    new_holds: list[Hold] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    buckets: list[Bucket] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)


def decide(
    operations: Sequence[Operation],
    meters: Mapping[str, Meter],
    gates: Gates,
    buckets: Mapping[BucketKey, Bucket],
    holds: Sequence[Hold],
    now: int,
) -> tuple[list[Reply], Rows]:
    """Carry out `operations` in order on what was read under the locks: a reply for each, and what to write.

    `meters` by id, those in use of every tenant named; `buckets` has every bucket of `bucket_keys(...)`; `holds`
    those that the operations name, by id or by Idempotency-Key.
    """
    books = Books(meters, buckets, holds, now)
    replies = []
    for operation in operations:
        try:
            replies.append(_carry_out(books, gates, operation))
        except RolloutError as error:
            replies.append(Reply(error=error))
    return replies, books.rows()


def new_buckets(operations: Iterable[Operation], now: int) -> list[Bucket]:
    """The buckets that reserves count in, as they are before anybody used them, in order of locking."""
    found = {
        bucket.key: bucket
        for operation in operations
        if isinstance(operation, Reserve)
        for _, bucket, _ in operation.request.lines(now)
    }
    return [found[key] for key in sorted(found)]


def bucket_keys(buckets: Iterable[Bucket], holds: Iterable[Hold]) -> list[BucketKey]:
    """What `decide` will ask for, in order of locking."""
    reserved = {hold.bucket_key(line) for hold in holds for line in hold.lines}
    return sorted(reserved.union(bucket.key for bucket in buckets))


def replay(earlier: Hold, fingerprint: str) -> StoredResult:
    """The answer to a request whose Idempotency-Key has this hold, which is not void.

    Raises IdempotencyKeyReused, RequestInProgress, OutcomeUnknown, ResultPurged.
    """
    if earlier.fingerprint != fingerprint:
        raise IdempotencyKeyReused(param="Idempotency-Key")
    if earlier.state == "unknown":
        raise OutcomeUnknown(hold_id=earlier.id)
    if earlier.state != "settled":
        raise RequestInProgress(retry_after=1, hold_id=earlier.id)
    if earlier.result is None:
        raise ResultPurged("This request was charged, but its result is not kept.", hold_id=earlier.id)
    return earlier.result


# -- the rules ---------------------------------------------------------------------------------------------


class Books:
    """The state inside one transaction: what one operation wrote the next one reads.

    `meters` by id: a window of one that is not there tells nobody, and keeps its cap.
    """

    def __init__(
        self,
        meters: Mapping[str, Meter],
        buckets: Mapping[BucketKey, Bucket],
        holds: Sequence[Hold],
        now: int,
    ) -> None:
        self.now, self._meters = now, meters
        self.buckets = dict(buckets)
        self._holds = {(hold.tenant_id, hold.id): hold for hold in holds}
        self._keys = {(hold.tenant_id, hold.idem_key): hold.id for hold in holds if hold.idem_key}
        self._entries: list[Entry] = []
        self._alerts: list[Alert] = []
        self._buckets_before, self._holds_before = buckets, dict(self._holds)
        self._end_topups()

    def find(self, tenant_id: str, hold_id: str) -> Hold | None:
        return self._holds.get((tenant_id, hold_id))

    def by_key(self, tenant_id: str, idem_key: str | None) -> Hold | None:
        hold_id = self._keys.get((tenant_id, idem_key)) if idem_key else None
        return self._holds[tenant_id, hold_id] if hold_id else None

    def put(self, hold: Hold) -> None:
        self._holds[hold.tenant_id, hold.id] = hold
        if hold.idem_key:
            self._keys[hold.tenant_id, hold.idem_key] = hold.id

    def book(
        self, hold: Hold, line: Line, kind: Kind, d_used: int, d_held: int, actor: str, reason: str | None
    ) -> None:
        """Add to a bucket, and say so in the ledger; nothing is written where nothing changes."""
        if not d_used and not d_held:
            return
        tenant_id, meter_id, subject, start = hold.bucket_key(line)
        self.enter(
            Entry(
                tenant_id=tenant_id,
                id=f"{hold.id}.{kind}.{hold.lines.index(line)}",
                hold_id=hold.id,
                meter_id=meter_id,
                subject=subject,
                start=start,
                kind=kind,
                d_used=d_used,
                d_held=d_held,
                settled_from=hold.settled_from,
                price_id=hold.price_id,
                actor=actor,
                reason=reason,
                at=self.now,
            )
        )

    def enter(self, entry: Entry) -> None:
        """Keep the entry, and add what it says to its bucket; top-ups are the bucket's own."""
        bucket = self.buckets[entry.bucket_key]
        bucket = bucket._replace(used=bucket.used + entry.d_used, held=bucket.held + entry.d_held)
        self.buckets[bucket.key] = self._told(bucket) if entry.d_used > 0 else bucket
        self._entries.append(entry)

    def fits(self, meter: Meter, key: BucketKey, amount: int) -> bool:
        bucket = self.buckets[key]
        return bucket.used + bucket.held + amount <= bucket.cap_by(meter, self.now)

    def refuse(self, meter: Meter, key: BucketKey) -> None:
        """A request did not fit into a window: tell it once."""
        bucket = self.buckets[key]
        if meter.lasts and bucket.exhausted_at is None:
            self.buckets[key] = bucket._replace(exhausted_at=self.now)
            self._alerts.append(self._alert(bucket, EXHAUSTED, bucket.cap_by(meter, self.now)))

    def _told(self, bucket: Bucket) -> Bucket:
        """The bucket after every threshold that it has reached was told."""
        meter = self._meters.get(bucket.meter_id)
        reached = crossed(meter, bucket.alerted, bucket, self.now) if meter else []
        if meter is None or not reached:
            return bucket
        cap = bucket.cap_by(meter, self.now)
        self._alerts += [self._alert(bucket, percent, cap) for percent in reached]
        return bucket._replace(alerted=reached[-1])

    def _alert(self, bucket: Bucket, threshold: int, cap: int) -> Alert:
        return Alert(*bucket.key, threshold, cap, bucket.used, bucket.held, self.now)

    def _end_topups(self) -> None:
        """Top-ups end when their time has come, before anything else is done to their bucket."""
        for key, bucket in self.buckets.items():
            meter = self._meters.get(bucket.meter_id) if bucket.topups else None
            if meter is None:
                continue
            self.buckets[key], rests = end_topups(meter, bucket, self.now)
            self._entries += [expiry(bucket, topup.id, rest, LEDGER, self.now) for topup, rest in rests]

    def rows(self) -> Rows:
        before = self._holds_before
        return Rows(
            new_holds=[hold for key, hold in self._holds.items() if key not in before],
            holds=[hold for key, hold in self._holds.items() if key in before and hold is not before[key]],
            buckets=[
                self._capped(now) for key, now in self.buckets.items() if now is not self._buckets_before[key]
            ],
            entries=self._entries,
            alerts=self._alerts,
        )

    def _capped(self, bucket: Bucket) -> Bucket:
        meter = self._meters.get(bucket.meter_id)
        return bucket._replace(cap=bucket.cap_by(meter, self.now)) if meter else bucket


def expiry(bucket: Bucket, topup_id: str, rest: int, actor: str, now: int) -> Entry:
    """What a top-up that ends takes along out of its window's cap."""
    return booking(bucket.key, f"{topup_id}.expire", "expire", actor, None, now, d_cap=-rest)


def booking(
    key: BucketKey,
    entry_id: str,
    kind: Kind,
    actor: str,
    reason: str | None,
    now: int,
    *,
    d_used: int = 0,
    d_cap: int = 0,
) -> Entry:
    """An entry of no hold."""
    tenant_id, meter_id, subject, start = key
    return Entry(
        tenant_id, entry_id, None, meter_id, subject, start, kind, d_used, 0, None, None, actor, reason, now, d_cap
    )  # fmt: skip


def _carry_out(books: Books, gates: Gates, operation: Operation) -> Reply:
    match operation:
        case Reserve():
            return _reserve(books, gates, operation)
        case Dispatch():
            return _dispatch(books, gates, operation)
        case Settle():
            return _settle(books, operation)
        case Void():
            return _void(books, operation)
        case Unknown():
            return _unknown(books, operation)
        case Note():
            return _note(books, operation)
        case Sweep():
            return _sweep(books, operation)
        case Reconcile():
            return _reconcile(books, operation)


def _reserve(books: Books, gates: Gates, op: Reserve) -> Reply:
    request = op.request
    wanted = [(meter, bucket.key, amount) for meter, bucket, amount in request.lines(books.now)]

    def limits() -> tuple[Limit, ...]:
        return tuple(limit_of(meter, books.buckets[key], books.now) for meter, key, _ in wanted)

    if written := books.find(request.tenant_id, op.hold_id):
        return Reply(written, limits=limits())
    gates.check(request.tenant_id, request.feature, request.switches, request.decision_id)
    earlier = books.by_key(request.tenant_id, request.idem_key)
    if earlier and earlier.state != "void":
        replay(earlier, request.fingerprint)
        return Reply(earlier, limits=limits())
    full = [item for item in wanted if item[0].hard and not books.fits(*item)]
    if full:
        for meter, key, _ in full:
            books.refuse(meter, key)
        too_much = [(limit_of(meter, books.buckets[key], books.now), amount) for meter, key, amount in full]
        refused = refusal(too_much, request.decision_id, books.now)
        refused.limits, refused.at = limits(), books.now
        raise refused
    if earlier:  # one key, one hold: the void one gives it up
        books.put(dataclasses.replace(earlier, idem_key=None))
    lines = tuple(
        Line(meter.id, key[2], key[3], meter.unit, amount, meter.shared) for meter, key, amount in wanted
    )
    hold = _new_hold(op, lines, earlier.attempt + 1 if earlier else 1, books.now)
    books.put(hold)
    for line in hold.lines:
        at_once = line.amount if line.unit == "request" else 0
        books.book(hold, line, "reserve", at_once, line.held_in(hold.state), f"key:{hold.api_key_id}", None)
    return Reply(hold, moved=True, limits=limits())


def _new_hold(op: Reserve, lines: tuple[Line, ...], attempt: int, now: int) -> Hold:
    request = op.request
    return Hold(
        tenant_id=request.tenant_id,
        id=op.hold_id,
        state="dispatched" if request.dispatch else "held",
        feature=request.feature,
        decision_id=request.decision_id,
        request_id=request.request_id,
        api_key_id=request.api_key_id,
        idem_key=request.idem_key,
        attempt=attempt,
        fingerprint=request.fingerprint,
        lines=lines,
        vendor=request.vendor,
        model=request.model,
        price_id=request.price_id,
        cost_usd_micro=request.amounts.get("usd_micro", 0),
        lease_until=now + op.lease_seconds,
        created_at=now,
    )


def _dispatch(books: Books, gates: Gates, op: Dispatch) -> Reply:
    hold = books.find(op.tenant_id, op.hold_id)
    if hold is None or hold.state == "dispatched":
        return Reply(hold)
    gates.check(hold.tenant_id, hold.feature, op.switches, hold.decision_id)
    if hold.state != "held" or hold.overdue(books.now):
        raise LedgerUnavailable(
            "The reservation lapsed before the call was made; nothing was sent or charged.", retry_after=1
        )
    sent = dataclasses.replace(hold, state="dispatched", lease_until=books.now + op.lease_seconds)
    books.put(sent)
    return Reply(sent, moved=True)


def _settle(books: Books, op: Settle) -> Reply:
    hold = books.find(op.tenant_id, op.hold_id)
    if hold is None or hold.state not in op.of:
        return _answered_late(books, hold, op)
    actual = op.actual or hold.reserve()
    flag = "estimate_exceeded" if actual.cost.usd_micro > hold.cost_usd_micro else None
    return _move(
        books,
        hold,
        "settled",
        "late" if hold.state == "void" else "settle",
        actor=op.actor,
        why=op.why,
        flag="late" if hold.state == "void" else flag,
        charge={"image": actual.images, "usd_micro": actual.cost.usd_micro},
        cost_usd_micro=actual.cost.usd_micro,
        settled_from=actual.cost.settled_from,
        price_id=actual.cost.price_id,
        usage={**(actual.usage or {}), "images": actual.images},
        upstream_id=actual.upstream_id or hold.upstream_id,
        result=op.result,
        lease_until=None,
        settled_at=books.now,
    )


def _answered_late(books: Books, hold: Hold | None, op: Settle) -> Reply:
    """An answer after the doubt about it was ended otherwise: nothing is charged again, but it is remembered."""
    if hold is None or hold.state != "settled" or not hold.evidence or op.actual is None:
        return Reply(hold)
    cost = op.actual.cost.usd_micro
    found = f"the vendor answered: {cost} micro-dollars, where {hold.cost_usd_micro} had been charged"
    if cost == hold.cost_usd_micro or any(item["found"] == found for item in hold.evidence):
        return Reply(hold)
    books.put(_with_evidence(hold, books.now, op.actor, found))
    return Reply(books.find(op.tenant_id, op.hold_id))


def _void(books: Books, op: Void) -> Reply:
    hold = books.find(op.tenant_id, op.hold_id)
    if hold is None or hold.state not in op.of:
        return Reply(hold)
    return _move(books, hold, "void", "void", actor=op.actor, why=op.why, cost_usd_micro=0, lease_until=None)


def _unknown(books: Books, op: Unknown) -> Reply:
    hold = books.find(op.tenant_id, op.hold_id)
    if hold is None or hold.state != "dispatched":
        return Reply(hold)
    until = books.now + op.grace_seconds
    upstream_id = op.upstream_id or hold.upstream_id
    return _move(
        books,
        hold,
        "unknown",
        "slot",
        actor=op.actor,
        why=op.why,
        lease_until=until,
        upstream_id=upstream_id,
    )


def _note(books: Books, op: Note) -> Reply:
    hold = books.find(op.tenant_id, op.hold_id)
    if hold is not None and hold.state == "unknown":
        hold = _with_evidence(hold, books.now, op.actor, op.found)
        books.put(hold)
    return Reply(hold)


def _sweep(books: Books, op: Sweep) -> Reply:
    hold = books.find(op.tenant_id, op.hold_id)
    if hold is None or not hold.overdue(books.now):
        return Reply(hold)
    if hold.state == "held":
        why = "the lease passed before anything was sent"
        return _void(books, Void(op.tenant_id, op.hold_id, SWEEPER, why))
    why = "the lease passed without an answer"
    return _unknown(books, Unknown(op.tenant_id, op.hold_id, SWEEPER, why, op.grace_seconds))


def _reconcile(books: Books, op: Reconcile) -> Reply:
    hold = books.find(op.tenant_id, op.hold_id)
    if hold is None or not hold.overdue(books.now):
        return Reply(hold)
    why = "nobody could tell within the grace: charged as reserved (on_unknown = charge)"
    return _settle(books, Settle(op.tenant_id, op.hold_id, None, None, RECONCILER, why, of=("unknown",)))


def _move(
    books: Books,
    hold: Hold,
    to: State,
    kind: Kind,
    *,
    actor: str,
    why: str | None,
    flag: str | None = None,
    charge: Mapping[str, int] | None = None,
    **changes: Any,
) -> Reply:
    """The hold in its next state, and what that gives back or charges in each of its buckets."""
    in_doubt = to == "unknown" or hold.state in ("unknown", "void") or flag is not None
    found = why or (ANSWERED if in_doubt else None)
    moved = dataclasses.replace(hold, state=to, resolution=found, **changes)
    if found and in_doubt:
        moved = _with_evidence(moved, books.now, actor, found, to=to, flag=flag)
    books.put(moved)
    for line in hold.lines:
        charged = (charge or {}).get(line.unit, 0)
        books.book(moved, line, kind, charged, line.held_in(to) - line.held_in(hold.state), actor, why)
    return Reply(moved, moved=True)


def _with_evidence(hold: Hold, now: int, by: str, found: str, **more: str | None) -> Hold:
    item = {"at": now, "by": by, "found": found} | {name: value for name, value in more.items() if value}
    return dataclasses.replace(hold, evidence=(*hold.evidence, item))


def hold_json(hold: Hold) -> dict[str, Any]:
    """The shape that admins see."""
    return {
        "id": hold.id,
        "tenant": hold.tenant_id,
        "state": hold.state,
        "feature": hold.feature,
        "vendor": hold.vendor,
        "model": hold.model,
        "cost_usd_micro": hold.cost_usd_micro,
        "settled_from": hold.settled_from,
        "resolution": hold.resolution,
        "evidence": [{**item, "at": rfc3339(item["at"])} for item in hold.evidence],
        "lines": [line._asdict() for line in hold.lines],
        "decision_id": hold.decision_id,
        "request_id": hold.request_id,
        "api_key_id": hold.api_key_id,
        "upstream_id": hold.upstream_id,
        "attempt": hold.attempt,
        "created_at": rfc3339(hold.created_at),
        "lease_until": rfc3339(hold.lease_until),
        "settled_at": rfc3339(hold.settled_at),
    }
