"""The ledger against a model in plain dicts, under any sequence of events; after each step the books must be right.

The model has its own calendar: with `window()` on both sides a wrong time zone would agree with itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from ledgers import (
    GRACE,
    LEASE,
    NOON,
    RESULT,
    actual,
    calendar_window,
    ledger_on,
    meter,
    request,
)

from rollout.core.decisions import TenantFacts
from rollout.core.meters import Meter
from rollout.core.tenants import Tenant
from rollout.db import meters, tables
from rollout.db.engine import Database
from rollout.errors import InsufficientQuota, LedgerUnavailable, RateLimitExceeded
from rollout.services.ledger import Held

DAY = 86_400
METERS = (
    meter("image", "day", 5, tz="America/New_York"),
    meter("usd_micro", "month", 60, tz="Pacific/Auckland"),
    meter("request", "minute", 4, tz="Asia/Kathmandu"),
    meter("slot", "concurrent", 3),
    meter("image", "life", 12),
)
LASTING = ("day", "month", "life")


@dataclass
class Work:
    """What the model knows of a hold."""

    state: str
    lease: int
    windows: dict[str, int]  # meter -> start
    asked: dict[str, int]  # unit -> amount
    held: Held
    block: AbstractContextManager[Held]


@dataclass
class Books:
    """Caps, and (meter, start) -> [used, held], worked out with no idea of how the ledger does it."""

    caps: dict[str, int] = field(default_factory=lambda: {one.name: one.cap for one in METERS})
    windows: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def at(self, name: str, start: int) -> list[int]:
        return self.windows.setdefault((name, start), [0, 0])

    def violated(self, asked: dict[str, int], windows: dict[str, int]) -> list[Meter]:
        return [
            one
            for one in METERS
            if sum(self.at(one.name, windows[one.name])) + asked[one.unit] > self.caps[one.name]
        ]

    def reserve(self, work: Work) -> None:
        for one in METERS:
            column = 0 if one.unit == "request" else 1
            self.at(one.name, work.windows[one.name])[column] += work.asked[one.unit]

    def give_back(self, work: Work, *, slot_only: bool = False) -> None:
        for one in METERS:
            if one.unit == "slot" and work.state == "unknown":
                continue
            if one.unit != "request" and (one.unit == "slot" or not slot_only):
                self.at(one.name, work.windows[one.name])[1] -= work.asked[one.unit]

    def charge(self, work: Work, images: int, money: int) -> None:
        for one in METERS:
            came = {"image": images, "usd_micro": money}.get(one.unit, 0)
            self.at(one.name, work.windows[one.name])[0] += came


class LedgerMachine(RuleBasedStateMachine):
    database: Database
    clock: Any

    works = Bundle("works")

    def __init__(self) -> None:
        super().__init__()
        self.clock.now = NOON
        self.meters = METERS
        self.ledger = ledger_on(self.database)
        with self.database.write() as tx:
            for table in (tables.hold, tables.bucket, tables.entry, tables.meter, tables.quota_owner):
                tx.execute(sa.delete(table))
            for one in METERS:
                meters.add(tx, one)
            meters.lock_owners(tx, ["acme"])
        self.meter_rev = 0
        self.books = Books()
        self.all_works: list[Work] = []

    @property
    def now(self) -> int:
        return int(self.clock.now)

    def windows(self) -> dict[str, int]:
        return {one.name: calendar_window(one.period, one.tz, self.now)[0] for one in METERS}

    # -- what may happen -------------------------------------------------------------------------------------------

    @rule(
        target=works,
        images=st.integers(0, 3),
        money=st.integers(0, 25),
        dispatch=st.booleans(),
        stale=st.booleans(),
    )
    def reserve(self, images: int, money: int, dispatch: bool, stale: bool) -> Any:
        asked = {"image": images, "usd_micro": money, "request": 1, "slot": 1}
        windows = self.windows()
        violated = self.books.violated(asked, windows)
        block = self.ledger.hold(
            request(
                *(METERS if stale else self.meters),
                images=images,
                money=money,
                dispatch=dispatch,
                meter_rev=-1 if stale else self.meter_rev,
            )
        )
        if violated:
            lasting = any(one.period in LASTING for one in violated)
            with pytest.raises(InsufficientQuota if lasting else RateLimitExceeded) as refused:
                block.__enter__()
            assert set(refused.value.members["violated_policies"]) == {one.name for one in violated}
            return multiple()
        held = block.__enter__()
        work = Work("dispatched" if dispatch else "held", self.now + LEASE, windows, asked, held, block)
        self.books.reserve(work)
        self.all_works.append(work)
        return work

    @rule(work=works)
    def dispatch(self, work: Work) -> None:
        if work.held._done or work.held._dispatched:
            return
        if work.state == "held" and work.lease > self.now:
            work.held.dispatch()
            work.state, work.lease = "dispatched", self.now + LEASE
        else:
            with pytest.raises(LedgerUnavailable, match="lapsed"):
                work.held.dispatch()

    @rule(work=works, images=st.integers(0, 4), money=st.integers(0, 40))
    def settle(self, work: Work, images: int, money: int) -> None:
        """Less, as much as, or more than was reserved; also after the sweep, and again."""
        if not work.held._dispatched:
            return
        first = not work.held._done and work.state in ("dispatched", "unknown", "void")
        work.held.settle(actual(images, money), RESULT)
        if first:
            if work.state != "void":
                self.books.give_back(work)
            self.books.charge(work, images, money)
            work.state = "settled"

    @rule(work=works)
    def void(self, work: Work) -> None:
        moves = not work.held._done and work.state in ("held", "dispatched")
        work.held.void("not sent")
        if moves:
            self.books.give_back(work)
            work.state = "void"

    @rule(work=works)
    def unknown(self, work: Work) -> None:
        moves = not work.held._done and work.state == "dispatched"
        work.held.unknown("time-out")
        if moves:
            self.lose(work)

    def lose(self, work: Work) -> None:
        self.books.give_back(work, slot_only=True)
        work.state, work.lease = "unknown", self.now + GRACE

    @rule()
    def sweep(self) -> None:
        swept = self.ledger.sweep()
        late = [
            work for work in self.all_works if work.lease <= self.now and work.state in ("held", "dispatched")
        ]
        assert swept.voided == sum(work.state == "held" for work in late)
        assert swept.unknown == len(late) - swept.voided
        for work in late:
            if work.state == "dispatched":
                self.lose(work)
            else:
                self.books.give_back(work)
                work.state = "void"

    @rule()
    def reconcile(self) -> None:
        late = [work for work in self.all_works if work.lease <= self.now and work.state == "unknown"]
        assert self.ledger.reconcile() == len(late)
        for work in late:
            self.books.give_back(work)
            self.books.charge(work, work.asked["image"], work.asked["usd_micro"])
            work.state = "settled"

    @rule()
    def renew(self) -> None:
        self.ledger.renew_leases()
        for work in self.all_works:
            if work.state in ("held", "dispatched"):
                work.lease = self.now + LEASE

    @rule(
        seconds=st.one_of(
            st.integers(1, 70), st.sampled_from([LEASE, GRACE, 3600, DAY]), st.integers(1, 20 * DAY)
        )
    )
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([1, 61, LEASE, 3600, DAY]))
    def the_clock_goes_back(self, seconds: int) -> None:
        self.clock.advance(-seconds)

    @rule(which=st.integers(0, len(METERS) - 1), cap=st.integers(0, 80))
    def cap_changes(self, which: int, cap: int) -> None:
        old = self.meters[which]
        new = replace(old, cap=cap, version=old.version + 1)
        with self.database.write() as tx:
            meters.lock_owners(tx, ["acme"])
            meters.put(tx, new)
            meters.set_caps(tx, new, self.now)
            meters.bump_meter_rev(tx, "acme")
        self.meters = (*self.meters[:which], new, *self.meters[which + 1 :])
        self.meter_rev += 1
        self.books.caps[new.name] = cap

    # -- what must always be true ----------------------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        assert self.ledger.verify() == []

    @invariant()
    def the_ledger_is_where_the_model_is(self) -> None:
        facts = TenantFacts(Tenant("acme", "Acme"), meters=self.meters)
        windows = self.windows()
        for limit in self.ledger.limits(facts):
            name = limit.meter.name
            assert [limit.used, limit.held] == self.books.at(name, windows[name]), name
            assert limit.cap == self.books.caps[name]
        states = {work.held.id: work.state for work in self.all_works}
        found = self.ledger.holds(tenant="acme", state=None, cursor=None, limit=500)
        assert {hold.id: hold.state for hold in found} == states

    def teardown(self) -> None:
        for work in self.all_works:
            work.held._done = True
            with suppress(StopIteration):
                work.block.__exit__(None, None, None)


@pytest.fixture
def machine(database: Database, clock: Any) -> Callable[[], RuleBasedStateMachine]:
    return type("Machine", (LedgerMachine,), {"database": database, "clock": clock})


@pytest.mark.timeout(600)
def test_the_ledger_does_what_the_model_says(machine: Any, database: Database) -> None:
    examples, steps = (60, 40) if database.is_sqlite else (10, 25)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
