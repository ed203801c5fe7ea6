"""Everybody buys at once, and exactly what fits is sold: `python -m benchmarks.storm --runs 50 --database sqlite|postgresql`.

128 threads in four processes buy for eight callers of two tenants. One kind of meter is too small for them, another one in each run: of
every level and every unit. All of its windows are opened in the storm itself; in its middle a minute, a day and a month begin, and in two
runs of three the cap is raised or lowered meanwhile. What is left when the storm is over is bought one by one, on both sides of midnight:
then the sum must be the cap, to the last piece. The clock is ours, and says the same in all processes.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple, get_args

import sqlalchemy as sa

from benchmarks.databases import KINDS, made_of
from rollout import log
from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION, TenantFacts
from rollout.core.holds import HoldRequest
from rollout.core.meters import MAX_AMOUNT, PLATFORM, SHARED, Caller, Level, Meter, Period, Unit
from rollout.core.tenants import Tenant
from rollout.db import facts, meters, tenants
from rollout.db.engine import Database
from rollout.db.tables import bucket
from rollout.errors import QuotaExceeded
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.meters import Meters
from tests.clocks import ClockedDatabase
from tests.ledgers import actual, ledger_on, meter, request

Cut = Literal["kept", "raised", "lowered"]

LEVELS: tuple[Level, ...] = get_args(Level)
CUTS: tuple[Cut, ...] = get_args(Cut)
PERIODS: dict[Unit, Period] = {
    "image": "day", "usd_micro": "month", "request": "minute", "slot": "concurrent",
}  # fmt: skip
PRICE = 10

BEFORE = 1_796_083_170.0  # 2026-11-30 23:59:30 UTC: a minute, a day and a month end soon
AFTER = BEFORE + 60
FOR_EVER = 86_400

PROCESSES, THREADS = 4, 32
TO_SELL, SLOTS = 240, 16
PATIENCE = 15.0
PHASE = "beta"


class Buyer(NamedTuple):
    tenant: str
    key: str
    end_user: str


BUYERS = [
    Buyer(tenant, f"{tenant}_key_{key}", user)
    for tenant in ("acme", "globex")
    for key in (1, 2)
    for user in ("ann", "bob")
]
PLENTY: tuple[tuple[Level, Unit], ...] = (
    ("platform", "usd_micro"), ("tenant", "request"), ("feature", "image"), ("api_key", "slot"), ("end_user", "usd_micro"),
)  # fmt: skip

Sold = Counter[tuple[str, bool]]
"""How many pieces by whom a meter counts together, and whether after midnight."""


@dataclass(frozen=True)
class Storm:
    """Which meters are too small, and what becomes of their caps in its middle."""

    level: Level
    unit: Unit
    cut: Cut
    seed: int

    def group(self, buyer: Buyer) -> str:
        """Those whom one of the small meters counts together."""
        match self.level:
            case "platform" | "phase":
                return "all"
            case "tenant" | "feature":
                return buyer.tenant
            case "api_key":
                return buyer.key
            case "end_user":
                return f"{buyer.tenant} {buyer.end_user}"

    @property
    def groups(self) -> list[str]:
        return sorted({self.group(buyer) for buyer in BUYERS})

    @property
    def cap(self) -> int:
        """Of each window, in pieces."""
        return (SLOTS if self.unit == "slot" else TO_SELL) // len(self.groups)

    @property
    def last_cap(self) -> int:
        return {"kept": self.cap, "raised": self.cap * 3 // 2, "lowered": self.cap * 3 // 4}[self.cut]

    @property
    def a_piece(self) -> int:
        return PRICE if self.unit == "usd_micro" else 1

    @property
    def gives_back(self) -> float:
        """The share of calls that do not reach the vendor; with a cap that falls none, so that the sum tells what was sold by then."""
        return 0.0 if self.cut == "lowered" else 0.1

    def small(self) -> list[Meter]:
        owners = [PLATFORM] if self.level in SHARED else ["acme", "globex"]
        return [_meter(owner, self.level, self.unit, self.cap * self.a_piece) for owner in owners]

    @property
    def windows(self) -> dict[tuple[str, str | None], str]:
        """The group that a window counts, by its owner and subject."""
        return {
            (one.tenant_id, one.subject_of(Caller(buyer.key, buyer.end_user, PHASE))): self.group(buyer)
            for buyer in BUYERS
            for one in self.small()
            if one.tenant_id in (PLATFORM, buyer.tenant)
        }

    def meters(self) -> Iterator[Meter]:
        yield from self.small()
        for level, unit in PLENTY:
            if (level, unit) != (self.level, self.unit):
                for owner in [PLATFORM] if level in SHARED else ["acme", "globex"]:
                    yield _meter(owner, level, unit, MAX_AMOUNT)


@dataclass
class Told:
    """What one process saw: pieces `sold`, the most `at_once` by group, and what went wrong."""

    sold: Sold = field(default_factory=Counter)
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--database", choices=KINDS, help="only this one")
    asked.add_argument("--runs", type=int, default=50)
    options = asked.parse_args()
    log.configure("critical", "text")
    for kind in KINDS:
        if options.database in (None, kind):
            with made_of(kind) as make:
                failed = sum(_told_run(kind, make, number) for number in range(options.runs))
            print(f"{kind}: {options.runs} runs, {failed} failed", flush=True)


def storm_of(number: int) -> Storm:
    """Every level with every unit in turn, 24 of them; the next round with another cut."""
    kinds = list(itertools.product(LEVELS, PERIODS))
    level, unit = kinds[number % len(kinds)]
    return Storm(level, unit, CUTS[(number + number // len(kinds)) % len(CUTS)], seed=number)


def _told_run(kind: str, make: Callable[[str], str], number: int) -> bool:
    storm, began = storm_of(number), time.monotonic()
    wrong = run(make(f"storm_{number}"), storm)
    print(f"{kind} {number}: {storm.level}, {storm.unit}, {storm.cut}: "
          f"{wrong or 'right'}, {time.monotonic() - began:.1f} s", flush=True)  # fmt: skip
    return bool(wrong)


def run(url: str, storm: Storm) -> list[str]:
    """Let the storm loose on a migrated, empty database; what is wrong afterwards, a sentence each."""
    context = multiprocessing.get_context("spawn")
    clock, go, over = context.RawValue("d", BEFORE), context.Event(), context.Event()
    answers = context.SimpleQueue()
    with closing(ClockedDatabase(url, lambda: clock.value)) as database:
        _prepare(database, storm)
        processes: list[BaseProcess] = [
            context.Process(target=_process, args=(url, storm, number, clock, go, over, answers), daemon=True)
            for number in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        ready = [answers.get() for _ in processes]
        go.set()
        floor = _weather(database, storm, clock)
        over.set()
        told = [answers.get() for _ in ready]
        for process in processes:
            process.join()
        return _wrong(database, storm, clock, told, floor)


# -- those who buy ---------------------------------------------------------------------------------------------


def _process(url: str, storm: Storm, number: int, clock: Any, go: Any, over: Any, answers: Any) -> None:
    """One process: it says that it is ready, and at the end what it saw."""
    log.configure("critical", "text")
    with closing(ClockedDatabase(url, lambda: clock.value)) as database:
        shop = _Shop(storm, database)
        threads = [
            threading.Thread(target=shop.buy, args=(random.Random(f"{storm.seed} {number} {one}"), over))
            for one in range(THREADS)
        ]
        answers.put(number)
        go.wait()
        for thread in threads:
            thread.start()
        while not over.wait(0.05):
            shop.refresh()
            if not is_wanted():
                os._exit(1)
        for thread in threads:
            thread.join()
    answers.put(shop.told)


def is_wanted() -> bool:
    """Whether the process that started this one is still there."""
    parent = multiprocessing.parent_process()
    return parent is not None and parent.is_alive()


class _Shop:
    """The ledger as a worker uses it: with facts in memory that are a moment old."""

    def __init__(self, storm: Storm, database: Database) -> None:
        self.storm, self.told = storm, Told()
        self._database = database
        self._ledger = ledger_on(database, lease=FOR_EVER, new_id=new_id, sleep=time.sleep)
        self._facts: dict[str, TenantFacts] = {}
        self.refresh()

    def refresh(self) -> None:
        with self._database.read() as tx:
            for tenant in ("acme", "globex"):
                found = facts.get(tx, tenant)
                assert found is not None
                self._facts[tenant] = found

    def buy(self, chance: random.Random, over: Any) -> None:
        while not over.is_set():
            buyer = chance.choice(BUYERS)
            key = f"{chance.getrandbits(64):x}" if chance.random() < 0.5 else None
            try:
                self._one(buyer, key, chance.random() < self.storm.gives_back)
            except QuotaExceeded:
                time.sleep(chance.random() / 50)  # as a client that is told to come back
            except Exception as error:
                self.told.wrong.append(f"a buyer got {error!r}")
                return

    def _one(self, buyer: Buyer, key: str | None, is_sent_back: bool) -> None:
        """Buy one piece. An attempt counts as one when requests are limited, whatever becomes of it."""
        group, counts_attempts = self.storm.group(buyer), self.storm.unit == "request"
        with self._ledger.hold(wanted(buyer, self._facts[buyer.tenant], key)) as held:
            began = time.monotonic()
            place = (group, held.now >= AFTER)
            self.told.sold[place] += counts_attempts
            if is_sent_back:
                held.void("it did not reach the vendor")
                return
            if self.storm.unit == "slot":
                time.sleep(0.003)
                self.told.spans.append((group, began, time.monotonic()))
            held.settle(actual(money=PRICE), None)
            self.told.sold[place] += not counts_attempts


def wanted(buyer: Buyer, known: TenantFacts, key: str | None = None) -> HoldRequest:
    return request(
        *known.meters, tenant_id=buyer.tenant, api_key_id=buyer.key, end_user=buyer.end_user, phase=PHASE,
        meter_rev=known.meter_rev, money=PRICE, idem_key=key,
    )  # fmt: skip


# -- the storm and its books -----------------------------------------------------------------------------------


def _meter(owner: str, level: Level, unit: Unit, cap: int) -> Meter:
    name = f"{level}-{unit}".replace("usd_micro", "money").replace("_", "-")
    return meter(
        unit, PERIODS[unit], cap, id=f"mtr_{owner}_{name}", tenant_id=owner, level=level, name=name,
        feature=GENERATION, subject=PHASE if level == "phase" else None,
    )  # fmt: skip


def _prepare(database: Database, storm: Storm) -> None:
    with database.write() as tx:
        for tenant in ("acme", "globex"):
            tenants.add(tx, Tenant(tenant, tenant.title()))
        for one in storm.meters():
            meters.add(tx, one)


def _weather(database: Database, storm: Storm, clock: Any) -> dict[str, int]:
    """Change the caps when a quarter is sold, let midnight pass at the half. What was sold by group when a cap had fallen."""
    total = storm.cap * len(storm.groups)
    _wait(lambda: _used(database, storm, BEFORE).total() >= total // 4, storm)
    floor: dict[str, int] = {}
    if storm.cut != "kept":
        changes = Meters(database, Changes(database), new_id)
        for small in storm.small():
            changes.change(Actor("system:storm"), small.id, {"cap": storm.last_cap * storm.a_piece}, "storm")
        floor = dict(_used(database, storm, BEFORE)) if storm.cut == "lowered" else {}
    _wait(lambda: _used(database, storm, BEFORE).total() >= total // 2, storm)
    clock.value = AFTER
    _wait(lambda: _used(database, storm, AFTER).total() >= storm.last_cap * len(storm.groups), storm)
    return floor


def _wait(until: Callable[[], bool], storm: Storm) -> None:
    """Slots are given back: of them a moment's storm must do."""
    patience = time.monotonic() + (0.7 if storm.unit == "slot" else PATIENCE)
    while not until() and time.monotonic() < patience:
        time.sleep(0.01)


def _used(database: Database, storm: Storm, at: float) -> Counter[str]:
    """Pieces used and held by group in the small windows of that time."""
    found: Counter[str] = Counter()
    of_small = sa.select(bucket).where(bucket.c.meter_id.in_([one.id for one in storm.small()]))
    with database.read() as tx:
        for row in tx.execute(of_small):
            if row.start <= at and (row.ends is None or at < row.ends):
                found[storm.windows[row.tenant_id, row.subject]] += (row.used + row.held) // storm.a_piece
    return found


def _wrong(
    database: Database, storm: Storm, clock: Any, told: Sequence[Told], floor: dict[str, int]
) -> list[str]:
    shop = _Shop(storm, database)
    sold: Sold = sum((one.sold for one in told), start=Counter())
    wrong = [sentence for one in told for sentence in one.wrong]
    if storm.unit == "slot":
        wrong += _wrong_slots(shop, told)
    else:
        for now in (BEFORE, AFTER):
            clock.value = now
            shop = _Shop(storm, database)
            _buy_the_rest(shop)
            sold += shop.told.sold
            wrong += [*shop.told.wrong, *_wrong_sums(database, storm, sold, floor, now)]
    ledger = ledger_on(database)
    wrong += [
        f"{hold.id} is still {hold.state}"
        for hold in ledger.holds(tenant=None, state="open", cursor=None, limit=10)
    ]
    return wrong + _deadlocks(database) + ledger.verify()


def _buy_the_rest(shop: _Shop) -> None:
    """What was left because somebody's call gave back what it had."""
    for buyer in BUYERS:
        for _ in range(2 * TO_SELL):
            try:
                shop._one(buyer, new_id("key"), False)
            except QuotaExceeded:
                break


def _wrong_sums(
    database: Database, storm: Storm, sold: Sold, floor: dict[str, int], now: float
) -> Iterator[str]:
    """A cap that fell below what was used by then sells no more."""
    is_after, used = now == AFTER, _used(database, storm, now)
    for group in storm.groups:
        right = storm.last_cap if is_after else max(storm.last_cap, floor.get(group, 0))
        counted = sold[group, is_after]
        if not counted == used[group] == right:
            side = "after" if is_after else "before"
            yield f"{group} {side} midnight: {counted} sold, {used[group]} in the books, {right} fit"


def _wrong_slots(shop: _Shop, told: Sequence[Told]) -> Iterator[str]:
    storm = shop.storm
    spans = [span for one in told for span in one.spans]
    for group in storm.groups:
        most = at_once([(began, ended) for name, began, ended in spans if name == group])
        if most > max(storm.cap, storm.last_cap):
            yield f"{group}: {most} at once, {storm.cap} fit"
        buyer = next(buyer for buyer in BUYERS if storm.group(buyer) == group)
        free = _open_all(shop, buyer)
        if free != storm.last_cap:
            yield f"{group}: {free} slots when all is over, {storm.last_cap} there are"


def _open_all(shop: _Shop, buyer: Buyer) -> int:
    with ExitStack() as opened:
        for number in itertools.count():
            try:
                asked = wanted(buyer, shop._facts[buyer.tenant], new_id("key"))
                held = opened.enter_context(shop._ledger.hold(asked))
                opened.callback(held.void, "it was only to count")
            except QuotaExceeded:
                return number
    raise AssertionError("unreachable")


def at_once(spans: Sequence[tuple[float, float]]) -> int:
    """How many of the spans overlap at most."""
    steps = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    return max(itertools.accumulate(step for _, step in steps), default=0)


def _deadlocks(database: Database) -> list[str]:
    if database.is_sqlite:
        return []
    with database.read() as tx:
        question = "select deadlocks from pg_stat_database where datname = current_database()"
        count = tx.execute(sa.text(question)).scalar_one()
    return [f"{count} deadlocks"] if count else []


if __name__ == "__main__":
    main()
