"""No charge is lost and none is made twice: `python -m benchmarks.crash [--database sqlite|postgresql] [--seconds 60]`.

Four workers with eight threads each reserve, let a vendor work, and settle; each is killed (-9) after some tenths of a second, in whatever
it does, and another takes its place. Meanwhile PostgreSQL is stopped `immediate` ten times; of SQLite the file and its WAL are copied ten
times while all workers stand still at a random instant, and the copies opened. Callers of several workers use the same Idempotency-Keys.
What the vendor finished and what callers were told is charged is kept in a file of its own, on the disk before the next step. At the
end, when the sweeper and the reconciler have done their work, the ledger is held against that file.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import sqlalchemy as sa

from benchmarks.databases import KINDS, Kind, made_of, server
from benchmarks.storm import is_wanted
from rollout import log
from rollout.core.meters import MAX_AMOUNT, Meter
from rollout.db import meters
from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable, OutcomeUnknown, RequestInProgress, ResultPurged
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger
from tests import postgres
from tests.ledgers import RESULT, actual, ledger_on, meter, request

WORKERS, THREADS = 4, 8
KILLED_EVERY = (0.02, 0.12)
LEASE, GRACE = 2, 1
DISASTERS = 10
PATIENCE = 60.0
PRELOADED = ["benchmarks.databases", "rollout.services.ledger", "tests.ledgers"]
"""A worker is forked from a process that has these, so that it works at once."""
LIMITS: tuple[Meter, ...] = (
    meter("image", "life", MAX_AMOUNT),
    meter("usd_micro", "month", MAX_AMOUNT),
    meter("request", "minute", MAX_AMOUNT),
    meter("slot", "concurrent", MAX_AMOUNT),
)


@dataclass(frozen=True)
class Notes:
    """What the vendor finished, as (hold, key), and which holds callers were told are charged."""

    done: list[tuple[str, str]]
    charged: set[str]
    wrong: list[str]

    @classmethod
    def read(cls, file: Path) -> Notes:
        lines = [line.split(" ", 2) for line in file.read_text().splitlines()]
        return cls(
            [(line[1], line[2]) for line in lines if line[0] == "done"],
            {line[1] for line in lines if line[0] == "charged"},
            [" ".join(line[1:]) for line in lines if line[0] == "wrong"],
        )


@dataclass
class Told:
    """What happened, and what is `wrong` after it."""

    works: int = 0
    charged: int = 0
    kills: int = 0
    disasters: int = 0
    wrong: list[str] = field(default_factory=list)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--database", choices=KINDS, help="only this one")
    asked.add_argument("--seconds", type=float, default=60)
    options = asked.parse_args()
    log.configure("critical", "text")
    for kind in KINDS:
        if options.database in (None, kind):
            print(f"{kind}: {run(kind, options.seconds, DISASTERS)}", flush=True)


def run(kind: Kind, seconds: float, disasters: int) -> Told:
    """Raises `postgres.Unavailable`."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "postgresql":
            with server() as own:
                return _Stage(own.server().create("crash"), Path(folder), own).play(seconds, disasters)
        with made_of(kind) as make:
            return _Stage(make("crash"), Path(folder), None).play(seconds, disasters)


# -- those who work --------------------------------------------------------------------------------------------


def _worker(url: str, vendor: Path, seed: int) -> None:
    """Works until it is killed, or nobody is left to do so."""
    log.configure("critical", "text")
    ledger = _ledger(Database(url))
    notes = os.open(vendor, os.O_WRONLY | os.O_APPEND)
    for number in range(THREADS):
        caller = random.Random(f"{seed} {number}")
        threading.Thread(target=_call_on_and_on, args=(ledger, notes, caller), daemon=True).start()
    while is_wanted():
        time.sleep(LEASE / 3)
        with contextlib.suppress(LedgerUnavailable):
            ledger.renew_leases()


def _sweeper(url: str) -> None:
    """What jobs do in each worker."""
    log.configure("critical", "text")
    ledger = _ledger(Database(url))
    while is_wanted():
        time.sleep(LEASE / 6)
        with contextlib.suppress(LedgerUnavailable):
            ledger.sweep()
            ledger.reconcile()


def _ledger(database: Database) -> Ledger:
    return ledger_on(database, lease=LEASE, grace=GRACE, new_id=new_id, sleep=time.sleep)


def _call_on_and_on(ledger: Ledger, notes: int, chance: random.Random) -> None:
    while True:
        key = f"{int(time.time() * 10)}-{chance.randrange(40)}"
        try:
            _call(ledger, notes, key)
        except (RequestInProgress, OutcomeUnknown, ResultPurged, LedgerUnavailable):
            time.sleep(chance.random() / 20)
        except Exception as error:
            _note(notes, f"wrong {error!r}")
            return


def _call(ledger: Ledger, notes: int, key: str) -> None:
    asked = request(*LIMITS, money=10, idem_key=key, end_user="ann")
    with ledger.hold(asked) as held:
        if held.replay:
            return
        _note(notes, f"done {held.id} {key}")
        held.settle(actual(money=7), RESULT)
    _note(notes, f"charged {held.id}")


def _note(notes: int, line: str) -> None:
    os.write(notes, f"{line}\n".encode())
    os.fsync(notes)


# -- those who look after it, and those who do not -------------------------------------------------------------


class _Stage:
    def __init__(self, url: str, folder: Path, own: postgres.Run | None) -> None:
        self._url, self._folder, self._server = url, folder, own
        self._vendor = folder / "vendor.log"
        self._vendor.touch()
        self._chance = random.Random(42)
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(PRELOADED)
        self._copies: list[tuple[Path, Notes]] = []

    def play(self, seconds: float, disasters: int) -> Told:
        told = Told()
        with closing(Database(self._url)) as database:
            with database.write() as tx:
                for one in LIMITS:
                    meters.add(tx, one)
            self._let_them_die(seconds, disasters, told)
            ledger = _ledger(database)
            told.wrong += [*_end_all(ledger), *self._wrong(ledger, Notes.read(self._vendor), told)]
        for copy, notes in self._copies:
            told.wrong += _wrong_copy(copy, notes)
        return told

    def _let_them_die(self, seconds: float, disasters: int, told: Told) -> None:
        sweeper = self._start(_sweeper, self._url)
        workers = [self._start(_worker, self._url, self._vendor, seed) for seed in range(WORKERS)]
        began, each = time.monotonic(), seconds / (disasters + 1)
        try:
            while (passed := time.monotonic() - began) < seconds or told.disasters < disasters:
                time.sleep(self._chance.uniform(*KILLED_EVERY))
                victim = self._chance.randrange(WORKERS)
                _end(workers[victim])
                told.kills += 1
                workers[victim] = self._start(_worker, self._url, self._vendor, WORKERS + told.kills)
                if told.disasters < disasters and passed > each * (told.disasters + 1):
                    told.disasters += 1
                    self._disaster([*workers, sweeper])
        finally:
            for worker in [*workers, sweeper]:
                _end(worker)

    def _start(self, target: Callable[..., None], *arguments: object) -> BaseProcess:
        process = self._processes.Process(target=target, args=arguments, daemon=True)
        process.start()
        return process

    def _disaster(self, processes: list[BaseProcess]) -> None:
        if self._server:
            self._server.crash()
            return
        copy, file = self._folder / f"copy{len(self._copies)}", Path(str(sa.make_url(self._url).database))
        copy.mkdir()
        with _standing_still(processes):
            for name in (file.name, f"{file.name}-wal"):
                shutil.copyfile(file.with_name(name), copy / name)
            self._copies.append((copy / file.name, Notes.read(self._vendor)))

    def _wrong(self, ledger: Ledger, notes: Notes, told: Told) -> Iterator[str]:
        told.works, told.charged = len(notes.done), len(notes.charged)
        yield from _wrong_books(ledger, notes)
        states = _states(ledger)
        for hold_id, key in notes.done:
            if states.get(hold_id) != "settled":
                yield f"{hold_id} was finished for {key}; it is {states.get(hold_id)}"


@contextlib.contextmanager
def _standing_still(processes: list[BaseProcess]) -> Iterator[None]:
    pids = [process.pid for process in processes if process.pid]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _end(process: BaseProcess) -> None:
    process.kill()
    process.join()
    process.close()


def _end_all(ledger: Ledger) -> Iterator[str]:
    """Sweep and reconcile as the jobs do, until nothing is open."""
    patience = time.monotonic() + PATIENCE
    while ledger.holds(tenant=None, state="open", cursor=None, limit=1):
        if time.monotonic() > patience:
            yield "holds stay open beyond lease and grace"
            return
        time.sleep(0.05)
        ledger.sweep()
        ledger.reconcile()


def _wrong_copy(file: Path, notes: Notes) -> Iterator[str]:
    """As after a power cut: what was acknowledged when it was copied is in it, and it adds up."""
    with closing(Database(f"sqlite:///{file}")) as database:
        with database.read() as tx:
            found = tx.execute(sa.text("pragma integrity_check")).scalar_one()
        if found != "ok":
            yield f"{file.parent.name}: {found}"
        yield from (f"{file.parent.name}: {sentence}" for sentence in _wrong_books(_ledger(database), notes))


def _wrong_books(ledger: Ledger, notes: Notes) -> Iterator[str]:
    states = _states(ledger)
    yield from notes.wrong
    for hold_id in notes.charged:
        if states.get(hold_id) != "settled":
            yield f"{hold_id} was acknowledged as charged; it is {states.get(hold_id)}"
    for key, times in Counter(key for _, key in notes.done).items():
        if times > 1:
            yield f"the vendor was asked {times} times for {key}"
    yield from ledger.verify()


def _states(ledger: Ledger) -> dict[str, str]:
    found = ledger.holds(tenant=None, state=None, cursor=None, limit=10_000_000)
    return {hold.id: hold.state for hold in found}


if __name__ == "__main__":
    main()
