"""What the ledger does a second: `python -m benchmarks.quota [--database sqlite|postgresql] [--seconds 4]`.

A *pair* is a durable reserve and its durable settle: four limits (images a day, money a month, requests a minute, slots), an
Idempotency-Key, ten entries or so, the result kept for replay. It is asked by many threads at once, of one hot tenant and of 1,000, in
one process, and on PostgreSQL in four. Both databases are made for this and thrown away; they flush to the disk at every commit.
Nothing is asserted: this is for people who read it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Barrier

import psycopg
import sqlalchemy as sa

from benchmarks.databases import KINDS, made_of
from rollout import log
from rollout.app import calm_collector
from rollout.core.catalogue import Cost
from rollout.core.decisions import GENERATION
from rollout.core.holds import Actual, HoldRequest, Operation, Reply, StoredResult
from rollout.core.meters import MAX_AMOUNT, Meter, Period, Unit
from rollout.db import meters
from rollout.db.engine import Database
from rollout.errors import InsufficientQuota
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger
from rollout.services.writer import Also

TENANTS = [f"tenant-{number:03}" for number in range(1000)]
HOT, EVERYBODY = TENANTS[:1], TENANTS
FULL = "full"
LIMITS: tuple[tuple[Unit, Period], ...] = (
    ("image", "day"),
    ("usd_micro", "month"),
    ("request", "minute"),
    ("slot", "concurrent"),
)
RESULT = StoredResult(200, {"x-rollout-model": "gpt-image-2"}, {"data": [{"sha256": "ab" * 32}]})
ACTUAL = Actual(Cost(38_000, "usage", "price_1"), 1, {"input": 20, "output": 1056}, "vendor_1")
WAITING = (1, 8, 32, 128)
PROCESSES = 4
WARM_UP_SECONDS = 1.0


@dataclass
class Times:
    """Seconds of every reserve and every pair while it was measured, in one process or several; `cpu` of this process or these."""

    reserves: list[float]
    pairs: list[float]
    seconds: float
    cpu: float

    def __add__(self, other: Times) -> Times:
        return Times(
            self.reserves + other.reserves, self.pairs + other.pairs, self.seconds, self.cpu + other.cpu
        )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--database", choices=KINDS, help="only this one")
    asked.add_argument("--seconds", type=float, default=4, help="how long each cell is measured")
    asked.add_argument("--waiting", type=int, nargs="+", default=WAITING, help="how many threads")
    options = asked.parse_args()
    log.configure("critical", "text")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {options.seconds:g} s a cell")
    for kind in KINDS:
        if options.database in (None, kind):
            with made_of(kind) as make:
                _measure(make("benchmark"), options.waiting, options.seconds)


def _measure(url: str, waiting: Sequence[int], seconds: float) -> None:
    with closing(Database(url)) as database:
        _fill(database)
        calm_collector()
        print(f"\n{database.engine.dialect.name} {_version(database)}\n")
        print(
            "| tenants | processes x threads | pairs/s | CPU ms a pair | reserve p50 | p99 | pair p50 | p99 ms |"
        )
        print("|--:|--:|--:|--:|--:|--:|--:|--:|")
        cells = [(tenants, 1, threads) for tenants in (HOT, EVERYBODY) for threads in waiting]
        if not database.is_sqlite:
            few = [threads for threads in waiting if 1 < threads <= max(WAITING) // PROCESSES]
            cells += [(tenants, PROCESSES, threads) for tenants in (HOT, EVERYBODY) for threads in few]
        for tenants, processes, threads in cells:
            _show(tenants, f"{processes} x {threads}", _cell(url, tenants, processes, threads, seconds))
        begin = time.time() + WARM_UP_SECONDS
        _show(HOT, f"1 x {waiting[-1]}, no batches", _load(url, HOT, waiting[-1], begin, seconds, _OneByOne))
        _show_idle(database, seconds)
        _show_refusals(_ledger(database), seconds)


# -- what is asked ---------------------------------------------------------------------------------------------


def _ledger(database: Database, kind: type[Ledger] = Ledger) -> Ledger:
    return kind(database, lease_seconds=120, grace_seconds=900, new_id=new_id)


def _limits(tenant: str, cap: int) -> tuple[Meter, ...]:
    return tuple(
        Meter(f"mtr_{tenant}_{unit}", tenant, f"{unit}-{period}".replace("usd_micro", "money"), "feature",
              GENERATION, unit, period, "UTC", cap)
        for unit, period in LIMITS
    )  # fmt: skip


def _request(tenant: str, cap: int = MAX_AMOUNT) -> HoldRequest:
    """As a request's facts tell it; the Idempotency-Key comes with each call."""
    return HoldRequest(
        tenant_id=tenant,
        feature=GENERATION,
        decision_id="dec_1",
        request_id="req_1",
        api_key_id="key_1",
        meters=_limits(tenant, cap),
        meter_rev=0,
        amounts={"image": 1, "usd_micro": 40_000, "request": 1, "slot": 1},
        fingerprint="v1:" + "0" * 64,
        idem_key=None,
        vendor="openai",
        model="gpt-image-2",
        price_id="price_1",
    )


def _fill(database: Database) -> None:
    """Meters of all tenants, each of them used, so that nobody is new when it is measured; and statistics of such a load, as autovacuum
    makes them within a minute."""
    with database.write() as tx:
        for tenant in TENANTS:
            for one in _limits(tenant, MAX_AMOUNT):
                meters.add(tx, one)
        for one in _limits(FULL, 0):
            meters.add(tx, one)
    ledger = _ledger(database)
    for tenant in TENANTS:
        with ledger.hold(_request(tenant)) as held:
            held.settle(ACTUAL, RESULT)
    for tenants in (HOT, EVERYBODY):
        _load(database.url, tenants, 32, time.time(), WARM_UP_SECONDS)
    with database.write() as tx:
        tx.exec_driver_sql("analyze")


# -- how fast --------------------------------------------------------------------------------------------------


def _cell(url: str, tenants: Sequence[str], processes: int, threads: int, seconds: float) -> Times:
    if processes == 1:
        return _load(url, tenants, threads, time.time() + WARM_UP_SECONDS, seconds)
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, _begin, (together,)) as pool:
        for started in [pool.submit(os.getpid) for _ in range(processes)]:
            started.result()
        begin = time.time() + WARM_UP_SECONDS
        tasks = [pool.submit(_load, url, tenants, threads, begin, seconds) for _ in range(processes)]
        first, *others = [task.result() for task in tasks]
    return sum(others, start=first)


def _begin(together: Barrier) -> None:
    """In each process before its first task: wait for the others, so that none is still starting when they are measured."""
    log.configure("critical", "text")
    calm_collector()
    together.wait()


class _OneByOne(Ledger):
    """Each operation in a transaction of its own, for comparison."""

    def _persist(
        self, operation: Operation, feature: str, also: Also | None = None, pauses: object = ()
    ) -> tuple[Reply, int]:
        return self._once(operation, also)


def _load(
    url: str,
    tenants: Sequence[str],
    threads: int,
    begin: float,
    seconds: float,
    kind: type[Ledger] = Ledger,
) -> Times:
    """Pairs by so many threads, until `seconds` after `begin`; what began before it warms up and does not count."""
    found = Times([], [], seconds, 0)
    requests = [_request(tenant) for tenant in tenants]
    with closing(Database(url)) as database:
        ledger = _ledger(database, kind)
        workers = [
            threading.Thread(target=_pairs, args=(ledger, requests, begin, begin + seconds, found))
            for _ in range(threads)
        ]
        for worker in workers:
            worker.start()
        time.sleep(max(0, begin - time.time()))
        worked = time.process_time()
        time.sleep(max(0, begin + seconds - time.time()))
        found.cpu = time.process_time() - worked
        for worker in workers:
            worker.join()
    return found


def _pairs(ledger: Ledger, requests: Sequence[HoldRequest], begin: float, end: float, found: Times) -> None:
    chance = random.Random()
    while (now := time.time()) < end:
        asked = replace(chance.choice(requests), idem_key=f"{chance.getrandbits(128):x}")
        began = time.perf_counter()
        with ledger.hold(asked) as held:
            reserved = time.perf_counter()
            held.settle(ACTUAL, RESULT)
        if now >= begin and time.time() < end:
            found.reserves.append(reserved - began)
            found.pairs.append(time.perf_counter() - began)


def _show(tenants: Sequence[str], waiting: str, found: Times) -> None:
    rate = len(found.pairs) / found.seconds
    figures = [
        f"{1000 * _part(times, share):.1f}"
        for times in (found.reserves, found.pairs)
        for share in (0.5, 0.99)
    ]
    cpu = 1000 * found.cpu / max(1, len(found.pairs))
    print(
        f"| {len(tenants):,} | {waiting} | {rate:,.0f} | {cpu:.2f} | {' | '.join(figures)} |",
        flush=True,
    )


def _show_idle(database: Database, seconds: float) -> None:
    """A reserve with nobody else about, beside a commit of one row by the bare driver, turn and turn about."""
    ledger, asked = _ledger(database), _request(TENANTS[0])
    bare, reserves = [], []
    with _bare_commit(database) as commit:
        end = time.time() + seconds
        while time.time() < end:
            began = time.perf_counter()
            commit()
            bare.append(time.perf_counter() - began)
            began = time.perf_counter()
            with ledger.hold(replace(asked, idem_key=new_id("key"))) as held:
                reserves.append(time.perf_counter() - began)
                held.settle(ACTUAL, RESULT)
    told = [f"{1000 * _part(times, share):.2f}" for share in (0.5, 0.99) for times in (reserves, bare)]
    print("\nidle: a reserve takes {} ms, a bare commit of one row {} (p50); {} and {} (p99)".format(*told))


def _show_refusals(ledger: Ledger, seconds: float) -> None:
    """Of a full window, from memory; without an Idempotency-Key."""
    for threads in (1, 8):
        counted: list[int] = []
        end = time.time() + seconds
        workers = [threading.Thread(target=_refused, args=(ledger, end, counted)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(f"refusals by {threads} thread{'s' * (threads > 1)}: {sum(counted) / seconds:,.0f}/s")


def _refused(ledger: Ledger, end: float, counted: list[int]) -> None:
    asked, number = _request(FULL, cap=0), 0
    while time.time() < end:
        with suppress(InsufficientQuota), ledger.hold(asked):
            raise AssertionError("a cap of 0 admits nobody")
        number += 1
    counted.append(number)


def _part(times: Sequence[float], share: float) -> float:
    return sorted(times)[int(share * len(times))] if times else 0.0


# -- databases -------------------------------------------------------------------------------------------------


@contextmanager
def _bare_commit(database: Database) -> Iterator[Callable[[], object]]:
    """A durable commit of one changed row by the driver alone."""
    create, change = "create table one (n integer)", "update one set n = n + 1"
    url = sa.make_url(database.url)
    if database.is_sqlite:
        with closing(sqlite3.connect(str(url.database), isolation_level=None)) as connection:
            for statement in ("pragma synchronous=full", create, "insert into one values (0)"):
                connection.execute(statement)
            yield lambda: connection.execute(change)
        return
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as server:
        server.execute(create)
        server.execute("insert into one values (0)")
        yield lambda: server.execute(change)


def _version(database: Database) -> str:
    question = "select sqlite_version()" if database.is_sqlite else "show server_version"
    with database.read() as tx:
        return str(tx.execute(sa.text(question)).scalar_one())


if __name__ == "__main__":
    main()
