"""The rules of holds, on values alone: every transition, idempotency, and every order of a handful of operations."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ledgers import GRACE, LEASE, NOON, RESULT, actual, meter, request

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.holds import (
    Actual,
    Dispatch,
    Entry,
    Gates,
    Hold,
    HoldRequest,
    Operation,
    Reconcile,
    Reply,
    Reserve,
    Settle,
    State,
    Sweep,
    Unknown,
    Void,
    bucket_keys,
    decide,
    hold_json,
    new_buckets,
    replay,
)
from rollout.core.kills import vendor_switch
from rollout.core.meters import Bucket, BucketKey, Meter
from rollout.errors import (
    FeatureKilled,
    FeatureNotEnabled,
    IdempotencyKeyReused,
    InsufficientQuota,
    LedgerUnavailable,
    OutcomeUnknown,
    RateLimitExceeded,
    RequestInProgress,
    ResultPurged,
    RolloutError,
    UpstreamUnavailable,
)

IMAGES, MONEY = meter("image", "day", 3), meter("usd_micro", "month", 100_000)
SPEED, SLOTS = meter("request", "minute", 60), meter("slot", "concurrent", 4)
ALL = (IMAGES, MONEY, SPEED, SLOTS)
OPEN_STATES: tuple[State, ...] = ("held", "dispatched", "unknown")
STATES: tuple[State, ...] = (*OPEN_STATES, "settled", "void")


@dataclass
class Store:
    """A database in memory: what `decide` is given and what it gives back."""

    now: int = NOON
    gates: Gates = field(default_factory=Gates)
    buckets: dict[BucketKey, Bucket] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    known: dict[str, Meter] = field(default_factory=dict)
    changed: dict[str, Meter] = field(default_factory=dict)

    def run(self, *operations: Operation) -> list[Reply]:
        operations = tuple(self.rebuilt(operation) for operation in operations)
        known = list(self.holds.values())
        fresh = new_buckets(operations, self.now)
        for bucket in fresh:
            self.buckets.setdefault(bucket.key, bucket)
        buckets = {key: self.buckets[key] for key in bucket_keys(fresh, known)}
        replies, rows = decide(operations, self.meters(operations), self.gates, buckets, known, self.now)
        assert not {hold.id for hold in rows.new_holds} & self.holds.keys()
        assert {hold.id for hold in rows.holds} <= self.holds.keys()
        self.holds.update({hold.id: hold for hold in [*rows.holds, *rows.new_holds]})
        self.buckets.update({bucket.key: bucket for bucket in rows.buckets})
        assert not {entry.id for entry in rows.entries} & self.entries.keys()
        self.entries.update({entry.id: entry for entry in rows.entries})
        self.check()
        return replies

    def rebuilt(self, operation: Operation) -> Operation:
        """A reserve with the meters of now, as the ledger builds it."""
        if not isinstance(operation, Reserve):
            return operation
        now = tuple(self.changed.get(one.id, one) for one in operation.request.meters)
        return replace(operation, request=replace(operation.request, meters=now))

    def meters(self, operations: Sequence[Operation]) -> dict[str, Meter]:
        """Those of now: what the latest request was built on."""
        for operation in operations:
            if isinstance(operation, Reserve):
                self.known |= {one.id: one for one in operation.request.meters}
        return self.known

    def one(self, operation: Operation) -> Hold:
        (reply,) = self.run(operation)
        if reply.error:
            raise reply.error
        assert reply.hold is not None
        return reply.hold

    def reserve(self, hold_id: str = "h1", meters: Sequence[Meter] = ALL, **changes: Any) -> Hold:
        return self.one(Reserve(hold_id, request(*meters, **changes), LEASE))

    def in_state(self, state: State, **changes: Any) -> Hold:
        """A hold brought into `state` by the shortest way."""
        hold = self.reserve(dispatch=state != "held", **changes)
        way: dict[State, list[Operation]] = {
            "held": [],
            "dispatched": [],
            "unknown": [unknown()],
            "settled": [settle()],
            "void": [Void("acme", "h1", "key:key_1", "not sent")],
        }
        for operation in way[state]:
            hold = self.one(operation)
        assert hold.state == state
        return hold

    def amounts(self, one: Meter) -> tuple[int, int]:
        """(used, held) over all windows."""
        of_meter = [bucket for bucket in self.buckets.values() if bucket.meter_id == one.id]
        return sum(bucket.used for bucket in of_meter), sum(bucket.held for bucket in of_meter)

    def check(self) -> None:
        """The books: buckets are the sums of their entries, and hold what open holds reserve."""
        for key, bucket in self.buckets.items():
            mine = [
                entry
                for entry in self.entries.values()
                if (entry.tenant_id, entry.meter_id, entry.subject, entry.start) == key
            ]
            reserved = sum(
                line.held_in(hold.state)
                for hold in self.holds.values()
                for line in hold.lines
                if hold.bucket_key(line) == key
            )
            assert bucket.used == sum(entry.d_used for entry in mine) >= 0
            assert bucket.held == sum(entry.d_held for entry in mine) == reserved >= 0

    def kinds(self) -> list[tuple[str, str, int, int]]:
        return [(entry.kind, entry.meter_id, entry.d_used, entry.d_held) for entry in self.entries.values()]


def settle(result: Any = RESULT, hold_id: str = "h1", **changes: int) -> Settle:
    return Settle("acme", hold_id, actual(**changes), result, "key:key_1")


def unknown() -> Unknown:
    return Unknown("acme", "h1", "key:key_1", "time-out", GRACE)


@pytest.fixture
def store() -> Store:
    return Store()


# -- reserve ---------------------------------------------------------------------------------------------------


def test_a_reserve_holds_every_line_and_uses_a_request_at_once(store: Store) -> None:
    hold = store.reserve(images=2)
    assert (hold.state, hold.lease_until, hold.attempt) == ("dispatched", NOON + LEASE, 1)
    assert [store.amounts(one) for one in ALL] == [(0, 2), (0, 40_000), (1, 0), (0, 1)]
    assert {kind for kind, *_ in store.kinds()} == {"reserve"}


def test_a_reserve_that_is_not_to_be_sent_yet_is_held(store: Store) -> None:
    assert store.reserve(dispatch=False).state == "held"


def test_all_lines_or_none(store: Store) -> None:
    with pytest.raises(InsufficientQuota) as refused:
        store.reserve(images=4)
    assert refused.value.members["violated_policies"] == ["image-day"]
    assert [store.amounts(one) for one in ALL] == [(0, 0)] * 4
    assert not store.holds
    assert not store.entries


def test_the_cap_itself_still_fits(store: Store) -> None:
    for number in range(3):
        store.reserve(f"h{number}", money=33_000)
    with pytest.raises(InsufficientQuota):
        store.reserve("h3", money=1)


def test_slots_refuse_with_a_rate_limit(store: Store) -> None:
    for number in range(4):
        store.reserve(f"h{number}", meters=[SLOTS])
    with pytest.raises(RateLimitExceeded) as refused:
        store.reserve("h4", meters=[SLOTS])
    assert refused.value.retry_after == 1


def test_a_soft_meter_counts_beyond_its_cap(store: Store) -> None:
    soft = replace(IMAGES, hard=False)
    store.reserve(meters=[soft], images=7)
    assert store.amounts(soft) == (0, 7)


def test_only_meters_that_count_the_request_get_a_line(store: Store) -> None:
    other = replace(IMAGES, id="mtr_other", name="other", feature=ANALYSIS)
    hold = store.reserve(meters=[*ALL, other], amounts={"request": 1, "usd_micro": 5})
    assert {line.meter_id for line in hold.lines} == {MONEY.id, SPEED.id}


def test_a_test_key_has_a_hold_without_lines(store: Store) -> None:
    hold = store.reserve(metered=False, images=1000)
    assert hold.lines == ()
    assert not store.buckets


def test_the_limits_are_told_as_they_are_after_the_hold(store: Store) -> None:
    (reply,) = store.run(Reserve("h1", request(*ALL), LEASE))
    assert [(limit.meter, limit.used, limit.held) for limit in reply.limits] == [
        (IMAGES, 0, 1), (MONEY, 0, 40_000), (SPEED, 1, 0), (SLOTS, 0, 1),
    ]  # fmt: skip


def test_a_lowered_cap_refuses_new_work_and_cancels_nothing(store: Store) -> None:
    store.reserve(images=3)
    store.changed[IMAGES.id] = replace(IMAGES, cap=1)
    with pytest.raises(InsufficientQuota):
        store.reserve("h2", images=0)
    assert store.one(settle(images=3)).state == "settled"


@pytest.mark.parametrize(
    ("gates", "error"),
    [
        (Gates(killed=frozenset({GENERATION})), FeatureKilled),
        (Gates(halted=frozenset({("acme", GENERATION)})), FeatureNotEnabled),
        (Gates(killed=frozenset({vendor_switch("openai")})), UpstreamUnavailable),
    ],
)
def test_a_stopped_feature_refuses_new_holds_and_those_not_sent(
    store: Store, gates: Gates, error: type[RolloutError]
) -> None:
    store.reserve("h1", dispatch=False)
    store.gates = gates
    switches = (vendor_switch("openai"),)
    for operation in (
        Reserve("h2", request(*ALL, switches=switches), LEASE),
        Dispatch("acme", "h1", GENERATION, LEASE, switches),
    ):
        with pytest.raises(error) as refused:
            store.one(operation)
        assert refused.value.members["decision_id"] == "dec_1"


def test_what_is_stopped_elsewhere_stops_nothing_here(store: Store) -> None:
    store.gates = Gates(frozenset({ANALYSIS, vendor_switch("x")}), frozenset({("globex", GENERATION)}))
    assert store.reserve(switches=(vendor_switch("openai"),)).state == "dispatched"


@pytest.mark.parametrize("amounts", [{"image": -1}, {"usd_micro": 2**53 + 1}])
def test_amounts_that_are_none_cannot_be_asked_for(amounts: Any) -> None:
    with pytest.raises(ValueError, match="amounts"):
        request(*ALL, amounts=amounts)


@pytest.mark.parametrize(("images", "money"), [(-1, 0), (0, -1), (0, 2**53 + 1)])
def test_nor_can_they_be_charged(images: int, money: int) -> None:
    with pytest.raises(ValueError, match="amounts"):
        actual(images, money)


# -- the table of transitions ----------------------------------------------------------------------------------

REACHED: dict[tuple[str, State], State] = {
    ("dispatch", "held"): "dispatched",
    ("settle", "dispatched"): "settled",
    ("settle", "unknown"): "settled",
    ("settle", "void"): "settled",
    ("void", "held"): "void",
    ("void", "dispatched"): "void",
    ("void by hand", "unknown"): "void",
    ("settle by hand", "unknown"): "settled",
    ("unknown", "dispatched"): "unknown",
    ("sweep late", "held"): "void",
    ("sweep late", "dispatched"): "unknown",
    ("reconcile late", "unknown"): "settled",
}
"""Every move there is; all others leave a hold as it stands."""

MOVES: dict[str, tuple[Operation, int]] = {
    "dispatch": (Dispatch("acme", "h1", GENERATION, LEASE), 0),
    "settle": (settle(), 0),
    "void": (Void("acme", "h1", "key:key_1", "not sent"), 0),
    "void by hand": (Void("acme", "h1", "token:alice", "never ran", of=("unknown",)), 0),
    "settle by hand": (Settle("acme", "h1", None, None, "token:alice", "it ran", of=("unknown",)), 0),
    "unknown": (unknown(), 0),
    "sweep": (Sweep("acme", "h1", GRACE), LEASE - 1),
    "sweep late": (Sweep("acme", "h1", GRACE), LEASE),
    "reconcile": (Reconcile("acme", "h1"), GRACE - 1),
    "reconcile late": (Reconcile("acme", "h1"), GRACE),
}


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("move", MOVES)
def test_a_hold_moves_as_the_table_says_and_never_otherwise(store: Store, move: str, before: State) -> None:
    hold = store.in_state(before, images=2)
    booked, operation = dict(store.entries), MOVES[move][0]
    store.now += MOVES[move][1]
    (reply,) = store.run(operation)
    after = REACHED.get((move, before))
    if after is None:
        assert store.holds["h1"] == hold
        assert store.entries == booked
        assert not reply.moved
    else:
        assert store.holds["h1"].state == after
        assert reply.moved
        assert reply.hold == store.holds["h1"]


@pytest.mark.parametrize("operation", [operation for operation, _ in MOVES.values()])
def test_what_is_not_there_does_not_move(store: Store, operation: Operation) -> None:
    assert store.run(operation) == [Reply(None)]


@pytest.mark.parametrize("charge", [0, 1, 2, 5])
@pytest.mark.parametrize("before", ["dispatched", "unknown", "void"])
def test_a_settle_charges_what_came_whether_less_or_more_was_reserved(
    store: Store, before: State, charge: int
) -> None:
    store.in_state(before, images=2, money=20_000)
    hold = store.one(settle(images=charge, money=charge * 10_000))
    assert [store.amounts(one) for one in ALL] == [(charge, 0), (charge * 10_000, 0), (1, 0), (0, 0)]
    assert (hold.cost_usd_micro, hold.settled_from, hold.price_id) == (charge * 10_000, "usage", "price_2")
    assert (hold.usage, hold.upstream_id, hold.result) == (
        {"output": 10, "images": charge},
        "upstream_1",
        RESULT,
    )
    assert (hold.lease_until, hold.settled_at) == (None, NOON)


def test_a_second_settle_returns_the_first_and_charges_nothing(store: Store) -> None:
    first = store.in_state("settled")
    booked = dict(store.entries)
    assert store.one(settle(images=3, money=90_000, result=None)) == first
    assert store.entries == booked


def test_an_unknown_hold_keeps_its_reservation_and_frees_its_slot(store: Store) -> None:
    hold = store.in_state("unknown", images=2)
    assert [store.amounts(one) for one in ALL] == [(0, 2), (0, 40_000), (1, 0), (0, 0)]
    assert (hold.lease_until, hold.resolution) == (NOON + GRACE, "time-out")


def test_a_void_hold_gives_everything_back_but_the_attempt(store: Store) -> None:
    hold = store.in_state("void", images=2)
    assert [store.amounts(one) for one in ALL] == [(0, 0), (0, 0), (1, 0), (0, 0)]
    assert (hold.cost_usd_micro, hold.lease_until, hold.resolution) == (0, None, "not sent")


def test_after_the_grace_the_reserve_is_charged_and_called_an_estimate(store: Store) -> None:
    store.in_state("unknown", images=2)
    store.now += GRACE
    hold = store.one(Reconcile("acme", "h1"))
    assert [store.amounts(one) for one in ALL] == [(2, 0), (40_000, 0), (1, 0), (0, 0)]
    assert (hold.cost_usd_micro, hold.settled_from, hold.price_id) == (40_000, "estimate", "price_1")
    assert {entry.settled_from for entry in store.entries.values() if entry.kind == "settle"} == {"estimate"}
    assert {entry.actor for entry in store.entries.values() if entry.kind == "settle"} == {
        "system:reconciler"
    }


def test_work_that_turns_up_after_a_void_is_charged_as_late(store: Store) -> None:
    store.in_state("void")
    store.one(settle())
    assert ("late", IMAGES.id, 1, 0) in store.kinds()


def test_a_settle_lands_in_the_window_of_its_reserve(store: Store) -> None:
    store.reserve()
    store.now += 2 * 86_400
    store.one(settle())
    assert [
        (bucket.start, bucket.used) for bucket in store.buckets.values() if bucket.meter_id == IMAGES.id
    ] == [(NOON - 12 * 3600, 1)]


def test_a_lapsed_reservation_must_not_be_sent(store: Store) -> None:
    store.reserve(dispatch=False)
    store.now += LEASE
    with pytest.raises(LedgerUnavailable, match="lapsed"):
        store.one(Dispatch("acme", "h1", GENERATION, LEASE))


def test_dispatching_again_after_an_unanswered_commit_is_the_same_dispatch(store: Store) -> None:
    store.reserve(dispatch=False)
    sent = store.one(Dispatch("acme", "h1", GENERATION, LEASE))
    assert store.run(Dispatch("acme", "h1", GENERATION, LEASE)) == [Reply(sent)]


def test_reserving_again_after_an_unanswered_commit_is_the_same_hold(store: Store) -> None:
    first = store.reserve(idem_key="k")
    (reply,) = store.run(Reserve("h1", request(*ALL, idem_key="k"), LEASE))
    assert (reply.hold, reply.moved, len(reply.limits)) == (first, False, 4)
    assert len(store.holds) == 1


# -- idempotency -----------------------------------------------------------------------------------------------


def repeat(store: Store, hold_id: str = "h2", **changes: Any) -> Hold:
    return store.reserve(hold_id, idem_key="k", **changes)


def test_a_repeat_of_a_settled_request_is_answered_with_its_hold(store: Store) -> None:
    settled = store.in_state("settled", idem_key="k")
    assert repeat(store) == settled
    assert replay(settled, "v1:aa") == RESULT
    assert len(store.holds) == 1


def test_a_repeat_is_answered_even_when_every_limit_is_full(store: Store) -> None:
    settled = store.in_state("settled", idem_key="k", images=3)
    store.one(settle(images=3, hold_id="h1"))
    assert repeat(store, images=3) == settled


@pytest.mark.parametrize("state", OPEN_STATES)
@pytest.mark.parametrize("fingerprint", ["v1:aa", "v1:bb"])
def test_a_repeat_of_open_work_is_never_run_again(store: Store, state: State, fingerprint: str) -> None:
    store.in_state(state, idem_key="k")
    expected: type[RolloutError] = OutcomeUnknown if state == "unknown" else RequestInProgress
    with pytest.raises(expected if fingerprint == "v1:aa" else IdempotencyKeyReused):
        repeat(store, fingerprint=fingerprint)
    assert len(store.holds) == 1


def test_a_request_in_progress_says_when_to_ask_again(store: Store) -> None:
    store.in_state("dispatched", idem_key="k")
    with pytest.raises(RequestInProgress) as refused:
        repeat(store)
    assert (refused.value.retry_after, refused.value.members) == (1, {"hold_id": "h1"})


def test_another_request_with_the_same_key_is_refused(store: Store) -> None:
    store.in_state("settled", idem_key="k")
    with pytest.raises(IdempotencyKeyReused):
        repeat(store, fingerprint="v1:bb")


def test_a_result_that_is_not_kept_is_not_made_again(store: Store) -> None:
    store.in_state("unknown", idem_key="k")
    store.now += GRACE
    store.one(Reconcile("acme", "h1"))
    with pytest.raises(ResultPurged, match="was charged"):
        repeat(store)


def test_a_void_hold_does_not_consume_the_key_and_any_request_may_take_it(store: Store) -> None:
    store.in_state("void", idem_key="k")
    second = repeat(store, fingerprint="v1:bb")
    assert (second.state, second.attempt, second.idem_key) == ("dispatched", 2, "k")
    assert store.holds["h1"].idem_key is None


def test_work_that_turns_up_after_another_attempt_took_the_key_is_charged_too(store: Store) -> None:
    store.in_state("void", idem_key="k", money=10_000)
    repeat(store, money=10_000)
    store.run(settle(money=10_000), settle(hold_id="h2", money=10_000))
    assert store.amounts(IMAGES) == (2, 0)
    assert [hold.idem_key for hold in store.holds.values()] == [None, "k"]


def test_a_refused_attempt_leaves_the_key_where_it_was(store: Store) -> None:
    store.in_state("void", idem_key="k")
    with pytest.raises(InsufficientQuota):
        repeat(store, images=9)
    assert store.holds["h1"].idem_key == "k"


def test_keys_of_another_tenant_are_other_keys(store: Store) -> None:
    store.in_state("settled", idem_key="k")
    other = request(*(replace(one, tenant_id="globex") for one in ALL), tenant_id="globex", idem_key="k")
    assert store.one(Reserve("h2", other, LEASE)).id == "h2"


def test_a_hold_shows_what_became_of_it(store: Store) -> None:
    shown = hold_json(store.in_state("unknown"))
    assert shown["state"] == "unknown"
    assert shown["lease_until"] == "2026-11-22T12:15:00Z"
    assert shown["lines"][0] == {
        "meter_id": IMAGES.id, "subject": "", "start": NOON - 12 * 3600, "unit": "image", "amount": 1, "shared": False,
    }  # fmt: skip


# -- batches and orders ----------------------------------------------------------------------------------------

TWO = (meter("image", "day", 5), meter("usd_micro", "month", 50_000))


def asked(number: int) -> HoldRequest:
    """Requests for 1, 2 and 3 pictures at 10,000 each: all three are too many pictures and too much money."""
    return request(*TWO, images=number, money=number * 10_000)


CAP = "cap"
STEPS: list[Operation | str] = [
    Reserve("h1", asked(1), LEASE),
    Reserve("h2", asked(2), LEASE),
    Reserve("h3", asked(3), LEASE),
    Settle("acme", "h1", actual(1, 8_000), None, "key:key_1"),
    Settle("acme", "h3", actual(4, 35_000), None, "key:key_1"),
    Sweep("acme", "h2", GRACE),
    CAP,
]
"""A sweep finds the lease passed; the change of cap makes room for all pictures."""


class Sequential:
    """What must come of STEPS in a given order, worked out with four numbers and a dict."""

    def __init__(self) -> None:
        self.cap, self.used, self.held = 5, [0, 0], [0, 0]
        self.state: dict[str, str] = {}

    def step(self, step: Operation | str) -> None:
        match step:
            case str():
                self.cap = 6
            case Reserve(hold_id=hold_id):
                amounts = self.amounts(hold_id)
                room = [self.cap - self.used[0] - self.held[0], 50_000 - self.used[1] - self.held[1]]
                if all(amount <= left for amount, left in zip(amounts, room, strict=True)):
                    self.state[hold_id] = "dispatched"
                    self.hold(amounts)
            case Settle(hold_id=hold_id, actual=Actual() as came) if self.state.get(hold_id) == "dispatched":
                self.state[hold_id] = "settled"
                self.hold([-amount for amount in self.amounts(hold_id)])
                self.used = [self.used[0] + came.images, self.used[1] + came.cost.usd_micro]
            case Sweep(hold_id=hold_id) if self.state.get(hold_id) == "dispatched":
                self.state[hold_id] = "unknown"

    def amounts(self, hold_id: str) -> list[int]:
        number = int(hold_id[1:])
        return [number, number * 10_000]

    def hold(self, amounts: Iterable[int]) -> None:
        self.held = [held + amount for held, amount in zip(self.held, amounts, strict=True)]


@pytest.mark.parametrize("first", range(len(STEPS)))
def test_every_order_of_the_steps_ends_as_one_after_another_does(first: int) -> None:
    rest = [step for number, step in enumerate(STEPS) if number != first]
    for order in itertools.permutations(rest):
        store, model = Store(), Sequential()
        for bucket in new_buckets([Reserve("h1", asked(1), LEASE)], NOON):
            store.buckets[bucket.key] = bucket
        for step in (STEPS[first], *order):
            store.now = NOON + LEASE if isinstance(step, Sweep) else NOON
            if isinstance(step, str):
                store.changed[TWO[0].id] = replace(TWO[0], cap=6)
            else:
                store.run(step)
            model.step(step)
        assert {name: hold.state for name, hold in store.holds.items()} == model.state
        assert [store.amounts(one) for one in TWO] == list(zip(model.used, model.held, strict=True))


BATCH: list[Operation] = [
    Reserve("h1", asked(1), LEASE),
    Reserve("h2", replace(asked(2), idem_key="k", dispatch=False), LEASE),
    Reserve("h3", replace(asked(3), idem_key="k"), LEASE),
    Dispatch("acme", "h2", GENERATION, LEASE),
    Settle("acme", "h1", actual(1, 8_000), RESULT, "key:key_1"),
    Void("acme", "h2", "key:key_1", "not sent"),
    Reserve("h4", replace(asked(3), idem_key="k"), LEASE),
    Settle("acme", "h4", actual(3, 30_000), RESULT, "key:key_1"),
    Reserve("h5", replace(asked(3), idem_key="k"), LEASE),
    Reserve("h6", asked(2), LEASE),
]


@pytest.mark.parametrize("cut", range(len(BATCH) + 1))
def test_a_batch_is_its_operations_one_after_another(cut: int) -> None:
    together, alone = Store(), Store()
    replies = together.run(*BATCH[:cut]) + together.run(*BATCH[cut:])
    one_by_one = [reply for operation in BATCH for reply in alone.run(operation)]
    assert [(reply.hold, reply.moved, reply.limits, type(reply.error)) for reply in replies] == [
        (reply.hold, reply.moved, reply.limits, type(reply.error)) for reply in one_by_one
    ]
    assert (together.holds, together.buckets, together.entries) == (alone.holds, alone.buckets, alone.entries)
    assert [type(reply.error) for reply in replies].count(RequestInProgress) == 1
