"""The ledger against a model in plain dicts, under any sequence of events; after each step every window must be where the model has it.

The model has its own calendar, its own caps by time, its own top-ups, and foretells every alert: with `window()` or `cap_by()` on both
sides a wrong one would agree with itself.

    PHASEGATE_MACHINE=2000x60 python -m pytest tests/services/test_ledger_machine.py -n0

runs 2,000 examples of 60 steps, on each database.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from doors import ALICE
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

from rollout.core.adjustments import NewAdjustment
from rollout.core.decisions import GENERATION, TenantFacts
from rollout.core.meters import PLATFORM, Caller, Meter, end_user_subject
from rollout.core.tenants import Key, Tenant
from rollout.core.topups import NewTopUp
from rollout.db import keys, meters, tables, tenants
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InsufficientQuota, InvalidRequest, LedgerUnavailable, RateLimitExceeded
from rollout.services.adjustments import Adjustments
from rollout.services.changes import Changes
from rollout.services.events import Event
from rollout.services.ids import new_id
from rollout.services.ledger import Held
from rollout.services.meters import Meters
from rollout.services.topups import TopUps

SIZE = os.environ.get("PHASEGATE_MACHINE")
"""`2000x60`: so many examples of so many steps."""

VERIFIED_EVERY = 10
"""The whole of the books is added up every so many steps, and at the end; what is looked at each step is every window."""

DAY = 86_400
METERS = (
    meter("image", "day", 5, tz="America/New_York"),
    meter("usd_micro", "month", 60, tz="Pacific/Auckland"),
    meter("request", "minute", 4, tz="Asia/Kathmandu"),
    meter("slot", "concurrent", 3),
    meter("image", "life", 25, thresholds=(10, 50, 100)),
    meter("image", "month", 9, id="mtr_key", name="key-month", level="api_key", thresholds=()),
    meter("image", "day", 4, id="mtr_user", name="user-day", level="end_user", tz="Australia/Lord_Howe"),
    meter("image", "month", 30, id="mtr_all", name="all-month", level="platform", tenant_id=PLATFORM),
)
BY_NAME = {one.name: one for one in METERS}
LASTING = ("day", "month", "life")
TOPPED = [one.name for one in METERS if one.period in LASTING]
MOVED = [one.name for one in METERS if one.period in ("day", "month")]
ADJUSTED = [one.name for one in METERS if one.level == "feature" and one.period in LASTING]
ZONES = ("UTC", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia")
KEYS, USERS = ("key_1", "key_2"), ("anonymous", "ana", "bob")
EMPTIED = ("hold", "bucket", "entry", "meter", "quota_owner", "topup", "adjustment", "alert")

Spot = tuple[str, str, int]
"""(meter, key or end user or '', start)"""


@dataclass
class Gift:
    """What the model knows of a top-up."""

    amount: int
    effective: int
    expires: int | None


@dataclass
class Window:
    used: int = 0
    held: int = 0
    gifts: dict[str, Gift] = field(default_factory=dict)
    kept: int = 0
    told: int = 0
    exhausted: bool = False


@dataclass
class Plan:
    """A meter's cap and zone by time: (since, value) in order."""

    caps: list[tuple[int, int]]
    zones: list[tuple[int, str]]

    def cap(self, now: int) -> int:
        return [cap for since, cap in self.caps if since <= now][-1]

    def window(self, period: str, now: int) -> tuple[int, int | None]:
        since, tz = [item for item in self.zones if item[0] <= now][-1]
        start, ends = calendar_window(period, tz, now)
        later = [at for at, _ in self.zones if at > now]
        return max(start, since), min(filter(None, [ends, *later]), default=None)


@dataclass
class Work:
    """What the model knows of a hold."""

    state: str
    lease: int
    spots: dict[str, Spot]  # by meter
    asked: dict[str, int]  # by unit
    held: Held
    block: AbstractContextManager[Held]


class Books:
    """What is used, held and topped up in each window, worked out with no idea of how the ledger does it."""

    def __init__(self) -> None:
        self.plans = {one.name: Plan([(0, one.cap)], [(0, one.tz)]) for one in METERS}
        self.windows: dict[Spot, Window] = {}
        self.alerts: list[tuple[Spot, int]] = []

    def at(self, spot: Spot) -> Window:
        return self.windows.setdefault(spot, Window())

    def spot(self, name: str, who: str, now: int) -> Spot:
        return name, who, self.plans[name].window(BY_NAME[name].period, now)[0]

    def spots(self, key: str, user: str, now: int) -> dict[str, Spot]:
        whose = {"api_key": key, "end_user": user}
        return {one.name: self.spot(one.name, whose.get(one.level, ""), now) for one in METERS}

    def cap(self, spot: Spot, now: int) -> int:
        window = self.at(spot)
        live = [
            gift.amount
            for gift in window.gifts.values()
            if gift.effective <= now and (gift.expires is None or now < gift.expires)
        ]
        return self.plans[spot[0]].cap(now) + window.kept + sum(live)

    def violated(self, asked: dict[str, int], spots: dict[str, Spot], now: int) -> list[Meter]:
        return [
            one
            for one in METERS
            for window in [self.at(spots[one.name])]
            if window.used + window.held + asked[one.unit] > self.cap(spots[one.name], now)
        ]

    def refuse(self, violated: list[Meter], spots: dict[str, Spot]) -> None:
        for one in violated:
            window = self.at(spots[one.name])
            if one.period in LASTING and not window.exhausted:
                window.exhausted = True
                self.alerts.append((spots[one.name], 0))

    def reserve(self, work: Work) -> None:
        for one in METERS:
            window = self.at(work.spots[one.name])
            if one.unit == "request":
                window.used += 1
            else:
                window.held += work.asked[one.unit]

    def give_back(self, work: Work, *, slot_only: bool = False) -> None:
        for one in METERS:
            if one.unit == "slot" and work.state == "unknown":
                continue
            if one.unit != "request" and (one.unit == "slot" or not slot_only):
                self.at(work.spots[one.name]).held -= work.asked[one.unit]

    def charge(self, work: Work, images: int, money: int, now: int) -> None:
        for one in METERS:
            came = {"image": images, "usd_micro": money}.get(one.unit, 0)
            self.use(work.spots[one.name], came, now)

    def use(self, spot: Spot, amount: int, now: int) -> None:
        """Use so much more, or (negative) less; thresholds that are reached are told once."""
        window, one = self.at(spot), BY_NAME[spot[0]]
        window.used += amount
        for threshold in one.thresholds if amount > 0 and one.period in LASTING else ():
            if threshold > window.told and window.used * 100 >= threshold * self.cap(spot, now):
                window.told = threshold
                self.alerts.append((spot, threshold))

    def end_gifts(self, now: int) -> None:
        """What was drawn of a top-up when it expired stays, by the cap of that moment; the earliest first."""
        ended = sorted(
            (gift.expires, gift_id, spot)
            for spot, window in self.windows.items()
            for gift_id, gift in window.gifts.items()
            if gift.expires is not None and gift.expires <= now
        )
        for expires, gift_id, spot in ended:
            window = self.at(spot)
            beyond = window.used + window.held - self.plans[spot[0]].cap(expires) - window.kept
            window.kept += min(window.gifts.pop(gift_id).amount, max(0, beyond))

    def take_back(self, spot: Spot, gift_id: str, now: int) -> None:
        """Only what nothing else covers was drawn of it."""
        window = self.at(spot)
        gift = window.gifts.pop(gift_id)
        if gift.effective <= now:
            window.kept += min(gift.amount, max(0, window.used + window.held - self.cap(spot, now)))


class LedgerMachine(RuleBasedStateMachine):
    database: Database
    clock: Any

    works = Bundle("works")
    given = Bundle("given")

    def __init__(self) -> None:
        super().__init__()
        self.clock.now = NOON
        self.emitted: list[tuple[Any, ...]] = []
        self.ledger = ledger_on(self.database, emit=self._emit)
        changes = Changes(self.database)
        self.limits = Meters(self.database, changes, new_id)
        self.topups = TopUps(self.database, changes, self.ledger, new_id)
        self.adjustments = Adjustments(self.database, changes, self.ledger, new_id)
        with self.database.write() as tx:
            for name in EMPTIED:
                tx.execute(sa.delete(tables.metadata.tables[name]))
            for one in METERS:
                meters.add(tx, one)
            meters.lock_owners(tx, ["acme", PLATFORM])
        self.books = Books()
        self.all_works: list[Work] = []
        self.steps = 0
        self.floor = NOON - 40 * DAY
        self._look_again()
        self._watch_the_memory()

    def _emit(self, _tx: Tx, _now: int, events: Sequence[Event]) -> None:
        self.emitted += [
            (event.type, event.tenant_id, event.data["meter"], event.data["threshold"])
            for event in events
            if event.type.startswith("quota.")
        ]

    def _watch_the_memory(self) -> None:
        """`from_memory`: whether the last refusal came from what was full a moment ago, without a transaction."""
        check = self.ledger._denials.check
        self.from_memory = False

        def watched(asked: Any) -> None:
            self.from_memory = True
            check(asked)
            self.from_memory = False

        self.ledger._denials.check = watched  # type: ignore[method-assign]

    def _look_again(self) -> None:
        with self.database.read() as tx:
            self.own = meters.live(tx, "acme")
            owner = tables.quota_owner.c
            self.meter_rev = tx.execute(
                sa.select(owner.meter_rev).where(owner.tenant_id == "acme")
            ).scalar_one()

    @property
    def now(self) -> int:
        return int(self.clock.now)

    # -- what may happen to a piece of work ------------------------------------------------------------------------

    @rule(
        target=works,
        images=st.integers(0, 3),
        money=st.integers(0, 25),
        dispatch=st.booleans(),
        key=st.sampled_from(KEYS),
        user=st.sampled_from(USERS),
        how=st.sampled_from(["plain", "keyed", "stale"]),
    )
    def reserve(self, images: int, money: int, dispatch: bool, key: str, user: str, how: str) -> Any:
        """A keyed request, or one made on stale meters, is never refused from memory."""
        asked = {"image": images, "usd_micro": money, "request": 1, "slot": 1}
        spots = self.books.spots(key, user, self.now)
        violated = self.books.violated(asked, spots, self.now)
        block = self.ledger.hold(
            request(
                *(METERS[:1] if how == "stale" else self.own),
                images=images,
                money=money,
                dispatch=dispatch,
                meter_rev=-1 if how == "stale" else self.meter_rev,
                idem_key=None if how == "plain" else f"key {self.steps}",
                api_key_id=key,
                end_user=None if user == "anonymous" else user,
            )
        )
        if violated:
            self._is_refused(block, violated, spots)
            return multiple()
        held = block.__enter__()
        work = Work("dispatched" if dispatch else "held", self.now + LEASE, spots, asked, held, block)
        self.books.reserve(work)
        self.all_works.append(work)
        return work

    def _is_refused(self, block: Any, violated: list[Meter], spots: dict[str, Spot]) -> None:
        with pytest.raises((InsufficientQuota, RateLimitExceeded)) as refused:
            block.__enter__()
        named = set(refused.value.members.get("violated_policies", ()))
        right = {one.name for one in violated if one.tenant_id != PLATFORM}
        if self.from_memory:
            assert named
            assert named <= right
            return
        assert named == right
        lasting = any(one.period in LASTING for one in violated)
        assert type(refused.value) is (InsufficientQuota if lasting else RateLimitExceeded)
        self.books.refuse(violated, spots)

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
            self.books.charge(work, images, money, self.now)
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
            self.books.charge(work, work.asked["image"], work.asked["usd_micro"], self.now)
            work.state = "settled"

    @rule()
    def renew(self) -> None:
        self.ledger.renew_leases()
        for work in self.all_works:
            if work.state in ("held", "dispatched"):
                work.lease = self.now + LEASE

    # -- time ------------------------------------------------------------------------------------------------------

    @rule(
        seconds=st.one_of(
            st.integers(5, 70),
            st.sampled_from([LEASE, GRACE, 3600, DAY]),
            st.integers(1, 20).map(lambda n: n * DAY),
        )
    )
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.books.end_gifts(self.now)

    @rule(seconds=st.sampled_from([1, 61, LEASE, 3600, DAY]))
    def the_clock_goes_back(self, seconds: int) -> None:
        """Not before a change of a meter, nor before the end of a top-up: these are not undone."""
        ended = [topup.expires for topup in self._topups() if (topup.expires or DAY) <= self.now]
        floor = max([self.floor, *(at for at in ended if at)])
        self.clock.advance(-max(0, min(seconds, self.now - floor)))
        self.ledger._denials.__init__(self.clock)  # type: ignore[misc]

    def _topups(self) -> list[Any]:
        return self.topups.page(tenant=None, meter=None, cursor=None, limit=1000)

    # -- what admins do --------------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(sorted(BY_NAME)),
        cap=st.integers(0, 80),
        later=st.sampled_from([0, 3600, DAY, 9 * DAY]),
    )
    def cap_changes(self, name: str, cap: int, later: int) -> None:
        """Now, or from some time on; what was planned before is forgotten."""
        plan, of_now = self.books.plans[name].caps, self.books.plans[name].cap(self.now)
        if later:
            fields: dict[str, Any] = {"scheduled": ((self.now + later, cap),)}
            plan[:] = [(0, of_now), (self.now + later, cap)]
        else:
            fields = {"cap": cap, "scheduled": ()}
            plan[:] = [(0, cap)]
        self.limits.change(ALICE, BY_NAME[name].id, fields, "as agreed")
        self.floor = self.now
        self._look_again()

    @rule(name=st.sampled_from(MOVED), tz=st.sampled_from(ZONES))
    def zone_changes(self, name: str, tz: str) -> None:
        """From the end of the open window on."""
        plan, period = self.books.plans[name], BY_NAME[name].period
        before = [item for item in plan.zones if item[0] <= self.now]
        _, ends = Plan([], before).window(period, self.now)
        assert ends is not None
        after = before if before[-1][1] == tz else [*before, (ends, tz)]
        changed = min((at for at, _ in set(after) ^ set(plan.zones)), default=None)
        ahead = [
            spot
            for spot in self.books.windows
            if spot[0] == name and changed is not None and spot[2] >= changed
        ]
        if any(work.spots[name] in ahead for work in self.all_works):
            return  # the clock went back over the edge of a window
        full = [spot for spot in ahead if self._is_kept(self.books.windows[spot])]
        if full:
            with pytest.raises(Conflict):
                self.limits.change(ALICE, BY_NAME[name].id, {"tz": tz}, "they moved")
            return
        for spot in ahead:
            del self.books.windows[spot]
        self.limits.change(ALICE, BY_NAME[name].id, {"tz": tz}, "they moved")
        plan.zones, self.floor = after, self.now
        self._look_again()

    def _is_kept(self, window: Window) -> bool:
        return bool(window.used or window.held or window.gifts or window.kept)

    @rule(
        target=given,
        name=st.sampled_from(TOPPED),
        key=st.sampled_from(KEYS),
        user=st.sampled_from(USERS),
        amount=st.integers(1, 9),
        ahead=st.sampled_from([None, 0, 600, 3600, DAY, 2 * DAY]),
        lasts=st.sampled_from([None, 60, 3600, DAY]),
        names_it=st.booleans(),
    )
    def top_up(
        self,
        name: str,
        key: str,
        user: str,
        amount: int,
        ahead: int | None,
        lasts: int | None,
        names_it: bool,
    ) -> Any:
        one = BY_NAME[name]
        who = {"api_key": key, "end_user": user}.get(one.level, "")
        effective = self.now + (ahead or 0)
        expires = None if lasts is None else effective + lasts
        asked = NewTopUp(
            one.id,
            amount,
            None if ahead is None else effective,
            expires,
            who or None,
            f"top_{self.steps}" if names_it else None,
        )
        start, ends = self.books.plans[name].window(one.period, effective)
        if expires is not None and ends is not None and expires > ends:
            with pytest.raises(InvalidRequest, match="of one window"):
                self.topups.add(ALICE, asked, "launch")
            return multiple()
        for is_new in (True, False) if names_it else (True,):
            added, was_new = self.topups.add(ALICE, asked, "launch")
            assert was_new == is_new
        self.books.at((name, who, start)).gifts[added.id] = Gift(amount, effective, expires)
        self._look_again()
        return (name, who, start), added.id

    @rule(topup=given)
    def top_up_is_taken_back(self, topup: tuple[Spot, str]) -> None:
        spot, topup_id = topup
        window = self.books.windows.get(spot)
        is_over = self.books.plans[spot[0]].window(BY_NAME[spot[0]].period, spot[2])[1] or self.now + 1
        if window is None or topup_id not in window.gifts or is_over <= self.now:
            with pytest.raises(Conflict):
                self.topups.void(ALICE, topup_id, "not needed")
            return
        self.topups.void(ALICE, topup_id, "not needed")
        self.books.take_back(spot, topup_id, self.now)
        self._look_again()

    @rule(
        unit=st.sampled_from(["image", "usd_micro"]),
        amount=st.integers(-6, 6).filter(bool),
        ago=st.sampled_from([0, 0, 3600, DAY]),
    )
    def use_is_adjusted(self, unit: str, amount: int, ago: int) -> None:
        at = max(self.now - ago, min(self.floor, self.now))
        asked = NewAdjustment("acme", GENERATION, unit, amount, at)
        spots = [self.books.spot(name, "", at) for name in ADJUSTED if BY_NAME[name].unit == unit]
        if any(self.books.at(spot).used + amount < 0 for spot in spots):
            with pytest.raises(InvalidRequest, match="cannot be added"):
                self.adjustments.add(ALICE, asked, "ticket 812")
            return
        self.adjustments.add(ALICE, asked, "ticket 812")
        for spot in spots:
            self.books.use(spot, amount, self.now)
        self._look_again()

    # -- what must always be true ----------------------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        self.steps += 1
        if self.steps % VERIFIED_EVERY == 0:
            assert self.ledger.verify() == []

    @invariant()
    def every_window_and_hold_is_where_the_model_is(self) -> None:
        bucket, hold = tables.bucket.c, tables.hold.c
        with self.database.read() as tx:
            windows = tx.execute(
                sa.select(bucket.meter_id, bucket.subject, bucket.start, bucket.used, bucket.held)
            ).all()
            states = {row.id: row.state for row in tx.execute(sa.select(hold.id, hold.state))}
        found = {(row[0], row[1], row[2]): (row[3], row[4]) for row in windows if row[3] or row[4]}
        assert found == {
            _key(spot): (window.used, window.held)
            for spot, window in self.books.windows.items()
            if window.used or window.held
        }
        assert states == {work.held.id: work.state for work in self.all_works}

    @invariant()
    def every_cap_is_where_the_model_is(self) -> None:
        key, user = KEYS[self.steps % 2], USERS[self.steps % 3]
        spots = self.books.spots(key, user, self.now)
        facts = TenantFacts(Tenant("acme", "Acme"), meters=self.own)
        for limit in self.ledger.limits(facts, Caller(key, None if user == "anonymous" else user)):
            spot = spots[limit.meter.name]
            window = self.books.at(spot)
            assert (limit.start, limit.used, limit.held) == (spot[2], window.used, window.held), spot
            assert limit.cap == self.books.cap(spot, self.now), spot
            assert limit.ends == self.books.plans[spot[0]].window(limit.meter.period, self.now)[1]

    @invariant()
    def every_threshold_is_told_once(self) -> None:
        alert = tables.alert.c
        with self.database.read() as tx:
            rows = tx.execute(sa.select(alert.meter_id, alert.subject, alert.start, alert.threshold)).all()
        assert sorted(map(tuple, rows)) == sorted(
            (*_key(spot), percent) for spot, percent in self.books.alerts
        )
        assert sorted(map(str, self.emitted)) == sorted(
            str(
                (
                    "quota.threshold" if percent else "quota.exhausted",
                    BY_NAME[spot[0]].tenant_id,
                    BY_NAME[spot[0]].id,
                    percent or None,
                )
            )
            for spot, percent in self.books.alerts
        )

    def teardown(self) -> None:
        assert self.ledger.verify() == []
        for work in self.all_works:
            work.held._done = True
            with suppress(StopIteration):
                work.block.__exit__(None, None, None)


def _key(spot: Spot) -> tuple[str, str, int]:
    """The bucket's (meter_id, subject, start)."""
    name, who, start = spot
    one = BY_NAME[name]
    return one.id, end_user_subject("acme", who) if one.level == "end_user" else who, start


@pytest.fixture
def machine(database: Database, clock: Any) -> Callable[[], RuleBasedStateMachine]:
    if database.is_sqlite:  # nothing here is about power cuts
        sa.event.listen(
            database.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
        )
    with database.write() as tx:
        tenants.add(tx, Tenant("acme", "Acme"))
        for id_ in KEYS:
            keys.add(tx, Key(id_, "acme", id_, "live", id_, id_, ("generate",), 0))
    return type("Machine", (LedgerMachine,), {"database": database, "clock": clock})


@pytest.mark.timeout(0 if SIZE else 600)
def test_the_ledger_does_what_the_model_says(machine: Any, database: Database) -> None:
    examples, steps = (60, 40) if database.is_sqlite else (8, 25)
    if SIZE:
        examples, steps = (int(number) for number in SIZE.split("x"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
