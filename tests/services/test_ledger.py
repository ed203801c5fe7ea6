"""The ledger on both databases: what a block leaves behind, idempotency, limits, who ends what, and the books."""

# ruff: noqa: PT012  # what a block of a hold is left by is raised after more than one statement

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import GRACE, LEASE, NOON, RESULT, actual, counting_ids, ledger_on, meter, open_ledger, request
from structlog.testing import capture_logs

from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION, TenantFacts
from rollout.core.holds import Hold, HoldRequest, Reserve, Rows
from rollout.core.kills import EVERYONE, Kill
from rollout.core.meters import Meter
from rollout.core.tenants import Tenant
from rollout.db import audit, entries, kills, meters, tables
from rollout.db import ledger as ledgers
from rollout.db.engine import Database, Tx
from rollout.errors import (
    Conflict,
    FeatureKilled,
    FeatureNotEnabled,
    IdempotencyKeyReused,
    InsufficientQuota,
    InvalidRequest,
    LedgerUnavailable,
    NotFound,
    OutcomeUnknown,
    RateLimitExceeded,
    RequestInProgress,
    ResultPurged,
    RolloutError,
)
from rollout.providers import base as port
from rollout.services.ledger import KEY_SECONDS, Held, Ledger, Swept
from rollout.services.writer import Task

IMAGES, MONEY = meter("image", "day", 3), meter("usd_micro", "month", 500_000)
SPEED, SLOTS = meter("request", "minute", 60), meter("slot", "concurrent", 4)
ALL = (IMAGES, MONEY, SPEED, SLOTS)
ALICE = Actor("token:alice", "admin", "req_alice")
DAY = 86_400


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    opened = open_ledger(database, *ALL)
    yield opened
    assert opened.verify() == []


def only_hold(ledger: Ledger) -> Hold:
    (found,) = ledger.holds(tenant=None, state=None, cursor=None, limit=10)
    return found


def amounts(ledger: Ledger, *limits: Meter) -> list[tuple[int, int]]:
    """(used, held) in the open windows."""
    facts = TenantFacts(Tenant("acme", "Acme"), meters=limits or ALL)
    return [(limit.used, limit.held) for limit in ledger.limits(facts)]


def generate(ledger: Ledger, asked: HoldRequest | None = None) -> Held:
    """A piece of work that goes well."""
    with ledger.hold(asked or request(*ALL)) as held:
        held.settle(actual(), RESULT)
    return held


# -- one piece of work -----------------------------------------------------------------------------------------


def test_while_work_runs_all_its_limits_are_held(ledger: Ledger) -> None:
    with ledger.hold(request(*ALL)) as held:
        assert [(limit.used, limit.held, limit.remaining) for limit in held.limits] == [
            (0, 1, 2), (0, 40_000, 460_000), (1, 0, 59), (0, 1, 3),
        ]  # fmt: skip
        assert held.now == NOON
        assert only_hold(ledger).state == "dispatched"
        held.settle(actual(), RESULT)
    assert amounts(ledger) == [(1, 0), (40_000, 0), (1, 0), (0, 0)]
    settled = only_hold(ledger)
    assert (settled.state, settled.result, settled.cost_usd_micro) == ("settled", RESULT, 40_000)
    assert settled.usage == {"output": 10, "images": 1}


def test_a_full_limit_refuses_and_writes_nothing(ledger: Ledger, database: Database) -> None:
    for _ in range(3):
        generate(ledger)
    with pytest.raises(InsufficientQuota) as refused, ledger.hold(request(*ALL)):
        raise AssertionError("the block must not run")
    assert refused.value.members["limit"] == "image-day"
    assert refused.value.members["resets_at"] == "2026-11-23T00:00:00Z"
    assert refused.value.retry_after == 12 * 3600
    assert len(ledger.holds(tenant="acme", state=None, cursor=None, limit=10)) == 3


def test_slots_are_freed_when_the_work_ends(ledger: Ledger) -> None:
    with ExitStack() as running:
        for _ in range(4):
            running.enter_context(ledger.hold(request(SLOTS)))
        with pytest.raises(RateLimitExceeded) as refused:
            running.enter_context(ledger.hold(request(SLOTS)))
        assert refused.value.retry_after == 1
    generate(ledger, request(SLOTS))


def test_rows_of_the_work_commit_with_the_reserve_and_with_the_charge(ledger: Ledger) -> None:
    written: list[tuple[str, str, int]] = []
    with ledger.hold(
        request(*ALL), also=lambda tx, hold_id, now: written.append(("reserve", hold_id, now))
    ) as held:
        held.settle(actual(), RESULT, also=lambda tx, now: written.append(("settle", held.id, now)))
        held.settle(actual(), RESULT, also=lambda tx, now: written.append(("again", held.id, now)))
    assert written == [("reserve", held.id, NOON), ("settle", held.id, NOON)]


def test_rows_that_cannot_be_written_undo_the_reserve(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError, match="no"), ledger.hold(request(*ALL), also=_fails):
        raise AssertionError("the block must not run")
    assert ledger.holds(tenant=None, state=None, cursor=None, limit=10) == []
    assert amounts(ledger) == [(0, 0)] * 4


def test_rows_that_cannot_be_written_leave_the_work_unknown_not_free(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError, match="no"), ledger.hold(request(*ALL)) as held:
        held.settle(actual(), RESULT, also=_fails)
    assert only_hold(ledger).state == "unknown"


def _fails(*_: Any) -> None:
    raise RuntimeError("no")


def test_a_charge_above_the_reserve_is_made_and_logged(ledger: Ledger) -> None:
    with capture_logs() as logs, ledger.hold(request(*ALL)) as held:
        held.settle(actual(money=50_000), RESULT)
    assert amounts(ledger, MONEY) == [(50_000, 0)]
    assert [line["event"] for line in logs] == ["estimate_exceeded"]


def test_settling_before_anything_was_sent_is_a_mistake_of_the_caller(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError, match="dispatched"), ledger.hold(request(*ALL, dispatch=False)) as held:
        held.settle(actual(), RESULT)
    assert only_hold(ledger).state == "void"


def test_work_with_a_remote_check_is_held_until_it_is_sent(ledger: Ledger) -> None:
    with ledger.hold(request(*ALL, dispatch=False)) as held:
        assert only_hold(ledger).state == "held"
        held.dispatch()
        held.dispatch()
        assert only_hold(ledger).state == "dispatched"
        held.settle(actual(), None)
    assert only_hold(ledger).state == "settled"


def test_a_reservation_that_lapsed_meanwhile_must_not_be_sent(ledger: Ledger, clock: Any) -> None:
    with pytest.raises(LedgerUnavailable, match="lapsed"), ledger.hold(request(*ALL, dispatch=False)) as held:
        clock.advance(LEASE)
        assert ledger.sweep() == Swept(voided=1, unknown=0)
        held.dispatch()
    assert only_hold(ledger).state == "void"


def test_amounts_of_a_test_key_limit_nothing(ledger: Ledger) -> None:
    held = generate(ledger, request(*ALL, metered=False, images=1000))
    assert held.limits == ()
    assert amounts(ledger) == [(0, 0)] * 4


# -- how a block may be left -----------------------------------------------------------------------------------


class Cancelled(BaseException):
    """Something that is not even an Exception."""


@pytest.mark.parametrize(
    ("error", "state", "why"),
    [
        (None, "unknown", "left without an outcome"),
        (port.NotSent("no route"), "void", "NotSent: no route"),
        (port.Throttled("529"), "void", "Throttled: 529"),
        (port.OutOfCredit(), "void", "OutOfCredit: "),
        (port.BadCredential(), "void", "BadCredential: "),
        (port.Rejected("bad size"), "void", "Rejected: bad size"),
        (port.Retired(), "void", "Retired: "),
        (port.Refused("violence"), "unknown", "Refused: "),
        (port.Fault("502"), "unknown", "Fault: 502"),
        (port.OutcomeUnknown("time-out"), "unknown", "OutcomeUnknown: time-out"),
        (ValueError("the caller's secret"), "unknown", "ValueError"),
        (GeneratorExit(), "unknown", "GeneratorExit"),
        (KeyboardInterrupt(), "unknown", "KeyboardInterrupt"),
        (Cancelled(), "unknown", "Cancelled"),
    ],
)
def test_a_block_left_after_dispatch_ends_as_the_error_proves(
    ledger: Ledger, error: BaseException | None, state: str, why: str
) -> None:
    with _left_by(error), ledger.hold(request(*ALL)):
        if error is not None:
            raise error
    hold = only_hold(ledger)
    assert (hold.state, hold.resolution) == (state, why)
    assert amounts(ledger, IMAGES, SLOTS) == [(0, 1 if state == "unknown" else 0), (0, 0)]


@pytest.mark.parametrize("error", [None, port.Fault("502"), ValueError(), GeneratorExit(), Cancelled()])
def test_a_block_left_before_dispatch_is_void(ledger: Ledger, error: BaseException | None) -> None:
    with _left_by(error), ledger.hold(request(*ALL, dispatch=False)):
        if error is not None:
            raise error
    assert only_hold(ledger).state == "void"


@pytest.mark.parametrize("error", [None, port.Refused("violence"), ValueError()])
@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (lambda held: held.settle(actual(), RESULT), "settled"),
        (lambda held: held.void("never sent"), "void"),
        (lambda held: held.unknown("half a picture"), "unknown"),
    ],
)
def test_what_the_caller_said_stands_whatever_happens_next(
    ledger: Ledger, outcome: Callable[[Held], None], state: str, error: BaseException | None
) -> None:
    with _left_by(error), ledger.hold(request(*ALL)) as held:
        outcome(held)
        if error is not None:
            raise error
    assert only_hold(ledger).state == state


@contextmanager
def _left_by(error: BaseException | None) -> Iterator[None]:
    if error is None:
        yield
        return
    with pytest.raises(type(error)) as raised:
        yield
    assert raised.value is error


# -- idempotency, row by row -----------------------------------------------------------------------------------


def keyed(**changes: Any) -> HoldRequest:
    return request(*ALL, idem_key="k", **changes)


def test_first_then_replay_without_a_second_charge(ledger: Ledger) -> None:
    first = generate(ledger, keyed())
    assert first.replay is None
    with ledger.hold(keyed(), also=_fails) as second:
        assert second.replay == RESULT
        assert second.id == first.id
        second.dispatch()
        second.settle(actual(), None)
    assert amounts(ledger) == [(1, 0), (40_000, 0), (1, 0), (0, 0)]


def test_a_replay_needs_no_room(ledger: Ledger) -> None:
    generate(ledger, keyed())
    generate(ledger)
    generate(ledger)
    with ledger.hold(keyed()) as again:
        assert again.replay == RESULT
        assert again.limits[0].remaining == 0


def test_a_refusal_for_content_is_replayed_too(ledger: Ledger) -> None:
    refusal = replace(RESULT, status=400, body={"error": {"code": "content_refused"}})
    with pytest.raises(port.Refused), ledger.hold(keyed()) as held:
        held.settle(actual(0, 0), refusal)
        raise port.Refused("violence")
    with ledger.hold(keyed()) as again:
        assert again.replay == refusal


def test_the_same_key_with_another_request_is_refused(ledger: Ledger) -> None:
    generate(ledger, keyed())
    with pytest.raises(IdempotencyKeyReused):
        generate(ledger, keyed(fingerprint="v1:bb"))


def test_the_same_key_in_flight_is_asked_to_come_back(ledger: Ledger) -> None:
    with ledger.hold(keyed()) as held:
        with pytest.raises(RequestInProgress) as refused:
            generate(ledger, keyed())
        assert refused.value.retry_after == 1
        held.settle(actual(), RESULT)


def test_work_that_ended_before_it_was_sent_leaves_the_key_free(ledger: Ledger) -> None:
    with pytest.raises(port.NotSent), ledger.hold(keyed()):
        raise port.NotSent
    generate(ledger, keyed(fingerprint="v1:bb"))
    latest, voided = ledger.holds(tenant="acme", state=None, cursor=None, limit=10)
    assert [(latest.attempt, latest.idem_key), (voided.attempt, voided.idem_key)] == [(2, "k"), (1, None)]


def test_a_request_that_was_refused_leaves_the_key_free(ledger: Ledger) -> None:
    with pytest.raises(InsufficientQuota):
        generate(ledger, keyed(images=4))
    assert generate(ledger, keyed()).replay is None


def test_unknown_work_is_never_done_a_second_time(ledger: Ledger, clock: Any) -> None:
    with pytest.raises(port.OutcomeUnknown), ledger.hold(keyed()):
        raise port.OutcomeUnknown
    with pytest.raises(OutcomeUnknown) as refused:
        generate(ledger, keyed())
    assert refused.value.members["hold_id"] == only_hold(ledger).id
    clock.advance(GRACE)
    assert ledger.reconcile() == 1
    with pytest.raises(ResultPurged):
        generate(ledger, keyed())


def test_unknown_work_that_a_person_voided_may_be_done_again(ledger: Ledger) -> None:
    with pytest.raises(port.OutcomeUnknown), ledger.hold(keyed()):
        raise port.OutcomeUnknown
    ledger.void_by_hand(ALICE, only_hold(ledger).id, "the vendor never saw it")
    assert generate(ledger, keyed()).replay is None


def test_no_key_is_never_a_repeat(ledger: Ledger) -> None:
    generate(ledger)
    assert generate(ledger).replay is None


def test_keys_are_forgotten_after_a_day_but_not_those_of_open_work(ledger: Ledger, clock: Any) -> None:
    generate(ledger, keyed())
    with pytest.raises(port.OutcomeUnknown), ledger.hold(request(*ALL, idem_key="open")):
        raise port.OutcomeUnknown
    clock.advance(KEY_SECONDS - 1)
    assert ledger.forget_keys() == 0
    clock.advance(1)
    assert ledger.forget_keys() == 1
    unknown, settled = ledger.holds(tenant="acme", state=None, cursor=None, limit=10)
    assert (unknown.idem_key, settled.idem_key, settled.result) == ("open", None, None)
    assert generate(ledger, keyed()).replay is None


# -- who ends what nobody ended --------------------------------------------------------------------------------


@pytest.fixture
def dead(database: Database, ledger: Ledger) -> Callable[..., Hold]:
    """Make a hold whose process died: its block is never left."""
    graves: list[Any] = []
    new_id = counting_ids()
    other = ledger_on(database, new_id=lambda prefix: f"{prefix}_dead_{new_id('n')}")

    def die(**changes: Any) -> Hold:
        block = other.hold(request(*ALL, **changes))
        held = block.__enter__()
        held._done = True
        graves.append(block)
        return other.get_hold(held.id)

    return die


def test_what_a_dead_process_left_is_swept_when_its_lease_has_passed(
    ledger: Ledger, dead: Callable[..., Hold], clock: Any
) -> None:
    sent, unsent = dead(), dead(dispatch=False)
    clock.advance(LEASE - 1)
    assert ledger.sweep() == Swept(0, 0)
    clock.advance(1)
    assert ledger.sweep() == Swept(voided=1, unknown=1)
    assert ledger.get_hold(sent.id).state == "unknown"
    assert ledger.get_hold(unsent.id).state == "void"
    assert ledger.sweep() == Swept(0, 0)
    clock.advance(GRACE)
    assert ledger.reconcile() == 1
    assert amounts(ledger, IMAGES, MONEY, SLOTS) == [(1, 0), (40_000, 0), (0, 0)]
    assert ledger.get_hold(sent.id).settled_from == "estimate"
    assert ledger.holds(tenant=None, state="open", cursor=None, limit=10) == []


def test_sweeping_takes_the_oldest_first_and_no_more_than_it_is_told(
    ledger: Ledger, dead: Callable[..., Hold], clock: Any
) -> None:
    first = dead(images=0)
    clock.advance(1)
    dead(images=0)
    clock.advance(LEASE)
    assert ledger.sweep(limit=1) == Swept(0, 1)
    assert ledger.get_hold(first.id).state == "unknown"


def test_an_owner_that_lives_keeps_its_holds(ledger: Ledger, clock: Any) -> None:
    with ledger.hold(request(*ALL)) as held:
        for _ in range(10):
            clock.advance(LEASE / 3)
            ledger.renew_leases()
            assert ledger.sweep() == Swept(0, 0)
        held.settle(actual(), RESULT)
    assert only_hold(ledger).state == "settled"
    ledger.renew_leases()
    assert only_hold(ledger).lease_until is None


def test_nobody_renews_what_another_process_owns(
    ledger: Ledger, dead: Callable[..., Hold], clock: Any
) -> None:
    dead()
    with ledger.hold(request(*ALL)) as held:
        clock.advance(LEASE - 1)
        ledger.renew_leases()
        clock.advance(1)
        assert ledger.sweep() == Swept(0, 1)
        held.settle(actual(), RESULT)


def test_an_answer_that_comes_after_the_sweep_is_charged_as_it_is(ledger: Ledger, clock: Any) -> None:
    with ledger.hold(keyed()) as held:
        clock.advance(LEASE)
        assert ledger.sweep() == Swept(0, 1)
        held.settle(actual(money=7), RESULT)
    assert amounts(ledger, MONEY) == [(7, 0)]
    assert generate(ledger, keyed()).replay == RESULT


def test_an_answer_that_comes_after_the_estimate_changes_nothing_and_is_logged(
    ledger: Ledger, clock: Any
) -> None:
    with ledger.hold(request(*ALL)) as held:
        clock.advance(LEASE)
        ledger.sweep()
        clock.advance(GRACE)
        ledger.reconcile()
        with capture_logs() as logs:
            held.settle(actual(money=7), RESULT)
    assert amounts(ledger, MONEY) == [(40_000, 0)]
    assert [line["event"] for line in logs] == ["charged_otherwise_before"]


def test_work_that_a_person_voided_wrongly_is_charged_when_it_turns_up(ledger: Ledger, clock: Any) -> None:
    with ledger.hold(request(*ALL)) as held:
        clock.advance(LEASE)
        ledger.sweep()
        ledger.void_by_hand(ALICE, held.id, "I think it never ran")
        held.settle(actual(), RESULT)
    assert amounts(ledger, IMAGES) == [(1, 0)]


# -- by hand ---------------------------------------------------------------------------------------------------


@pytest.fixture
def unknown_hold(ledger: Ledger) -> Hold:
    with pytest.raises(port.OutcomeUnknown), ledger.hold(request(*ALL)):
        raise port.OutcomeUnknown("time-out")
    return only_hold(ledger)


@pytest.mark.parametrize(
    ("cost", "charged", "source"), [(None, 40_000, "estimate"), (9, 9, "usage"), (0, 0, "usage")]
)
def test_a_person_charges_an_unknown_hold_and_the_audit_says_so(
    ledger: Ledger, database: Database, unknown_hold: Hold, cost: int | None, charged: int, source: str
) -> None:
    settled = ledger.settle_by_hand(ALICE, unknown_hold.id, "the vendor's invoice", cost)
    assert (settled.state, settled.cost_usd_micro, settled.settled_from) == ("settled", charged, source)
    assert amounts(ledger, IMAGES, MONEY) == [(1, 0), (charged, 0)]
    with database.read() as tx:
        ((entry, _),) = audit.walk(tx)
        booked = entries.of_hold(tx, "acme", unknown_hold.id)
    assert (entry.action, entry.subject, entry.tenant_id) == ("hold.settled", unknown_hold.id, "acme")
    assert (entry.actor, entry.reason, entry.request_id) == (
        "token:alice",
        "the vendor's invoice",
        "req_alice",
    )
    assert entry.before is not None
    assert entry.after is not None
    assert (entry.before["state"], entry.after["state"]) == ("unknown", "settled")
    assert {(one.actor, one.reason) for one in booked if one.kind == "settle"} == {
        ("token:alice", "the vendor's invoice")
    }


def test_a_person_voids_an_unknown_hold(ledger: Ledger, unknown_hold: Hold) -> None:
    voided = ledger.void_by_hand(ALICE, unknown_hold.id, "the vendor never saw it")
    assert (voided.state, voided.resolution) == ("void", "the vendor never saw it")
    assert amounts(ledger, IMAGES, MONEY) == [(0, 0), (0, 0)]


def test_a_dry_run_shows_and_keeps_nothing(ledger: Ledger, database: Database, unknown_hold: Hold) -> None:
    assert ledger.void_by_hand(ALICE, unknown_hold.id, "would it?", dry_run=True).state == "void"
    assert only_hold(ledger) == unknown_hold
    with database.read() as tx:
        assert audit.last_seq(tx) == 0


def test_only_unknown_holds_are_ended_by_hand(ledger: Ledger) -> None:
    with ledger.hold(request(*ALL)) as held:
        with pytest.raises(Conflict, match="dispatched"):
            ledger.void_by_hand(ALICE, held.id, "stop it")
        held.settle(actual(), RESULT)
    with pytest.raises(Conflict, match="settled"):
        ledger.settle_by_hand(ALICE, held.id, "again", None)


def test_wrong_words_by_hand_are_refused(ledger: Ledger, unknown_hold: Hold) -> None:
    with pytest.raises(NotFound):
        ledger.void_by_hand(ALICE, "hold_none", "why not")
    with pytest.raises(InvalidRequest) as refused:
        ledger.settle_by_hand(ALICE, unknown_hold.id, "a gift", -1)
    assert refused.value.members["param"] == "cost_usd_micro"
    with pytest.raises(InvalidRequest, match="reason"):
        ledger.void_by_hand(ALICE, unknown_hold.id, None)
    assert only_hold(ledger) == unknown_hold


def test_holds_are_listed_newest_first_by_tenant_and_state(ledger: Ledger, database: Database) -> None:
    for number in range(3):
        generate(ledger)
        if number == 1:
            with pytest.raises(port.OutcomeUnknown), ledger.hold(request(tenant_id="globex")):
                raise port.OutcomeUnknown
    everything = ledger.holds(tenant=None, state=None, cursor=None, limit=10)
    assert [hold.id for hold in everything] == sorted((hold.id for hold in everything), reverse=True)
    page = ledger.holds(tenant="acme", state="settled", cursor=everything[0].id, limit=1)
    assert [hold.id for hold in page] == [everything[2].id]
    for state in ("open", "unknown"):
        assert [hold.tenant_id for hold in ledger.holds(tenant=None, state=state, cursor=None, limit=9)] == [
            "globex"
        ]
    with pytest.raises(InvalidRequest, match="there are held, dispatched") as refused:
        ledger.holds(tenant=None, state="lost", cursor=None, limit=10)
    assert refused.value.members["param"] == "state"


# -- what changes under a caller's feet ------------------------------------------------------------------------


def stop(ledger: Ledger, database: Database, tenant_id: str = EVERYONE) -> tuple[int, int]:
    """What the kill switch does in its transaction: (voided, running)."""
    only = None if tenant_id == EVERYONE else tenant_id
    with database.write() as tx:
        meters.lock_gate(tx, GENERATION, exclusive=True)
        kills.put(tx, Kill(GENERATION, tenant_id, True, "finish", "drill", "token:alice", NOON, 1))
        voided = ledger.void_held(tx, GENERATION, only, NOON)
        return voided, ledger.running(tx, GENERATION, only)


@pytest.mark.parametrize(("tenant_id", "error"), [(EVERYONE, FeatureKilled), ("acme", FeatureNotEnabled)])
def test_a_stop_voids_what_is_held_lets_run_what_runs_and_refuses_stale_callers(
    ledger: Ledger, database: Database, tenant_id: str, error: type[RolloutError]
) -> None:
    with ledger.hold(request(*ALL)) as running:
        with pytest.raises(error), ledger.hold(request(*ALL, dispatch=False)) as unsent:
            assert stop(ledger, database, tenant_id) == (1, 1)
            unsent.dispatch()
        with pytest.raises(error):
            generate(ledger)
        running.settle(actual(), RESULT)
    assert ledger.get_hold(unsent.id).state == "void"
    assert amounts(ledger, IMAGES) == [(1, 0)]


def test_a_halt_of_one_tenant_leaves_the_others_alone(ledger: Ledger, database: Database) -> None:
    with ledger.hold(request(tenant_id="globex", dispatch=False)) as other:
        assert stop(ledger, database, "acme") == (0, 0)
        other.dispatch()
        other.settle(actual(), None)


def test_a_meter_that_the_caller_has_not_heard_of_counts_at_once(ledger: Ledger, database: Database) -> None:
    generate(ledger)
    change_meters(database, lambda tx: meters.add(tx, meter("image", "life", 1)))
    with pytest.raises(InsufficientQuota) as refused:
        generate(ledger, request(*ALL, images=2))
    assert refused.value.members["limit"] == "image-life"
    held = generate(ledger)
    assert [limit.meter.name for limit in held.limits] == [
        "image-day", "image-life", "money-month", "request-minute", "slot-concurrent",
    ]  # fmt: skip


def test_a_meter_that_is_gone_limits_nobody_who_still_has_it(ledger: Ledger, database: Database) -> None:
    change_meters(database, lambda tx: meters.archive(tx, IMAGES, NOON))
    generate(ledger, request(*ALL, images=9))


def test_unmetered_work_stays_unmetered_when_meters_change(ledger: Ledger, database: Database) -> None:
    change_meters(database, lambda tx: meters.add(tx, meter("image", "life", 0)))
    assert generate(ledger, request(metered=False)).limits == ()


def change_meters(database: Database, write: Callable[[Tx], None]) -> None:
    with database.write() as tx:
        meters.lock_owners(tx, ["acme"])
        write(tx)
        meters.bump_meter_rev(tx, "acme")


def test_the_next_day_begins_anew_and_the_month_goes_on(ledger: Ledger, clock: Any) -> None:
    generate(ledger, request(*ALL, images=3))
    clock.advance(DAY)
    assert amounts(ledger, IMAGES, MONEY) == [(0, 0), (40_000, 0)]
    generate(ledger)


# -- the database goes away ------------------------------------------------------------------------------------


class Flaky(Database):
    """Fails where it is told to: before the block, or when the COMMIT has happened but nobody hears of it."""

    failures: list[str]

    @contextmanager
    def write(self) -> Iterator[Tx]:
        failure = self.failures.pop(0) if self.failures else ""
        if failure == "away":
            raise LedgerUnavailable
        with super().write() as tx:
            yield tx
        if failure == "unanswered":
            raise LedgerUnavailable


@pytest.fixture
def flaky(database: Database) -> Flaky:
    database.__class__ = type("FlakyClocked", (Flaky, type(database)), {})
    database.failures = []  # type: ignore[attr-defined]
    return database  # type: ignore[return-value]


def test_with_the_books_away_nothing_is_started(ledger: Ledger, flaky: Flaky) -> None:
    flaky.failures = ["away"] * 2
    with pytest.raises(LedgerUnavailable), ledger.hold(request(*ALL)):
        raise AssertionError("the block must not run")
    assert ledger.holds(tenant=None, state=None, cursor=None, limit=10) == []


def test_a_reserve_that_committed_unheard_is_voided_since_its_caller_was_told_that_nothing_started(
    ledger: Ledger, flaky: Flaky
) -> None:
    flaky.failures = ["unanswered", "away"]
    with pytest.raises(LedgerUnavailable), ledger.hold(keyed()):
        raise AssertionError("the block must not run")
    assert only_hold(ledger).state == "dispatched"
    flaky.failures = ["away"]
    with pytest.raises(LedgerUnavailable):
        ledger.renew_leases()
    ledger.renew_leases()
    assert only_hold(ledger).state == "void"
    assert generate(ledger, keyed()).replay is None
    ledger.renew_leases()


@pytest.mark.parametrize("failure", ["away", "unanswered"])
def test_a_reserve_and_a_charge_survive_a_blink_of_the_database(
    ledger: Ledger, flaky: Flaky, failure: str
) -> None:
    wrote: list[str] = []
    flaky.failures = [failure]
    with ledger.hold(keyed(), also=lambda tx, hold_id, now: wrote.append("reserve")) as held:
        flaky.failures = [failure]
        held.settle(actual(), RESULT, also=lambda tx, now: wrote.append("settle"))
    assert wrote == ["reserve", "settle"]
    assert amounts(ledger) == [(1, 0), (40_000, 0), (1, 0), (0, 0)]


def test_a_charge_that_cannot_be_written_leaves_the_hold_to_the_sweeper(
    ledger: Ledger, flaky: Flaky, clock: Any
) -> None:
    with capture_logs() as logs, pytest.raises(LedgerUnavailable), ledger.hold(request(*ALL)) as held:
        flaky.failures = ["away"] * 99
        held.settle(actual(money=7), RESULT)
    flaky.failures = []
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["charge_not_written"]
    assert only_hold(ledger).state == "dispatched"
    clock.advance(LEASE)
    assert ledger.sweep() == Swept(0, 1)
    clock.advance(GRACE)
    assert ledger.reconcile() == 1
    assert amounts(ledger, IMAGES, MONEY) == [(1, 0), (40_000, 0)]


def test_an_end_that_cannot_be_written_does_not_hide_why_the_block_was_left(
    ledger: Ledger, flaky: Flaky
) -> None:
    with capture_logs() as logs, pytest.raises(port.NotSent), ledger.hold(request(*ALL)):
        flaky.failures = ["away"] * 99
        raise port.NotSent("no route")
    flaky.failures = []
    assert "hold_left_to_the_sweeper" in [line["event"] for line in logs]
    assert only_hold(ledger).state == "dispatched"


# -- the books -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (sa.update(tables.bucket).values(used=tables.bucket.c.used + 1), "has used 2"),
        (sa.update(tables.bucket).values(held=7), "held 7"),
        (sa.delete(tables.bucket).where(tables.bucket.c.meter_id == IMAGES.id), "is missing"),
        (sa.delete(tables.entry).where(tables.entry.c.kind == "settle"), "its entries"),
        (sa.update(tables.hold).values(state="dispatched"), "reserves 1"),
        (sa.update(tables.hold).values(cost_usd_micro=1), "cost 1; its entries charge money-month 40000"),
        (
            sa.update(tables.entry).where(tables.entry.c.kind == "reserve").values(kind="late"),
            "more than once",
        ),
    ],
)
def test_every_kind_of_damage_to_the_books_is_found(
    database: Database, damage: sa.Executable, sentence: str
) -> None:
    ledger = open_ledger(database, *ALL)
    generate(ledger)
    assert ledger.verify() == []
    with database.write() as tx:
        tx.execute(damage)
    found = ledger.verify()
    assert any(sentence in line for line in found), found


def test_a_charge_cannot_be_written_twice_even_by_mistake(ledger: Ledger, database: Database) -> None:
    held = generate(ledger)
    with database.read() as tx:
        charge = next(one for one in entries.of_hold(tx, "acme", held.id) if one.kind == "settle")
    with pytest.raises(sa.exc.IntegrityError), database.write() as tx:
        ledgers.write(tx, Rows(entries=[charge._replace(id="another")]))


def test_callers_who_fail_together_get_an_error_each(
    ledger: Ledger, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise LedgerUnavailable(retry_after=2)

    monkeypatch.setattr(database, "write", away)
    tasks = [Task(Reserve(f"hold_{number}", request(IMAGES), LEASE)) for number in (1, 2)]
    ledger._carry_out(tasks)
    first, second = (task.error for task in tasks)
    assert isinstance(first, LedgerUnavailable)
    assert isinstance(second, LedgerUnavailable)
    assert first is not second
    assert first.members is not second.members
