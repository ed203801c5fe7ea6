"""Group commit: who shares a batch, who leads it, and what becomes of those who leave or fail."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from clocks import Clock, ClockedDatabase
from ledgers import counting_ids, ledger_on, meter, request

from rollout.core.holds import Reply, Reserve, Void
from rollout.db import meters
from rollout.db.engine import Tx
from rollout.errors import LedgerUnavailable
from rollout.services import writer as writers
from rollout.services.ledger import Ledger
from rollout.services.writer import Task, Writer

SECONDS = 30


def until(is_so: Callable[[], bool]) -> None:
    patience = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < patience, "it never comes to that"
        threading.Event().wait(0.001)


def reserve(hold_id: str, tenant: str = "acme") -> Task:
    return Task(Reserve(hold_id, request(tenant_id=tenant), 60))


def void(hold_id: str, tenant: str = "acme") -> Task:
    return Task(Void(tenant, hold_id, "tests", "it was not sent"))


class Books:
    """Writes batches by taking them down, each only when it is `allowed` to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.late: list[str] = []
        self.allowed = threading.Semaphore(0)
        self.begun = 0
        self.writer = Writer(self._carry_out, lambda task: self.late.append(task.operation.hold_id))
        self.threads: list[threading.Thread] = []
        self.answers: dict[str, Any] = {}

    def _carry_out(self, batch: Sequence[Task]) -> None:
        self.begun += 1
        assert self.allowed.acquire(timeout=SECONDS)
        self.batches.append([task.operation.hold_id for task in batch])
        for task in batch:
            task.reply, task.now = Reply(moved=True), 7

    def submit(self, *tasks: Task) -> None:
        """Each by a thread of its own, in this order."""
        for task in tasks:
            waiting = len(self.writer._queue)
            self.threads.append(threading.Thread(target=self._submit, args=(task,)))
            self.threads[-1].start()
            until(lambda waiting=waiting: len(self.writer._queue) > waiting or self.begun == 1)

    def _submit(self, task: Task) -> None:
        try:
            self.answers[task.operation.hold_id] = self.writer.submit(task)
        except LedgerUnavailable as error:
            self.answers[task.operation.hold_id] = error

    def lead(self) -> None:
        """Somebody whose batch is being written."""
        self.submit(reserve("first"))
        until(lambda: self.begun == 1)
        self.begun = 2  # so that those who follow are seen to queue

    def end(self) -> None:
        self.allowed.release(1000)
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def books() -> Iterator[Books]:
    made = Books()
    yield made
    made.end()


def test_on_an_idle_writer_the_caller_does_its_own_work_alone(books: Books) -> None:
    books.allowed.release()
    before = threading.active_count()
    assert books.writer.submit(reserve("one")) == (Reply(moved=True), 7)
    assert books.batches == [["one"]]
    assert threading.active_count() == before


def test_those_who_come_while_a_batch_is_written_share_the_next_one(books: Books) -> None:
    books.lead()
    books.submit(reserve("a"), reserve("b"), reserve("c"))
    books.end()
    assert books.batches == [["first"], ["a", "b", "c"]]
    assert set(books.answers) == {"first", "a", "b", "c"}


def test_in_a_batch_what_gives_room_goes_before_what_takes_it(books: Books) -> None:
    books.lead()
    books.submit(reserve("a"), void("b"), reserve("c"), void("d"))
    books.end()
    assert books.batches[1] == ["b", "d", "a", "c"]


def test_of_more_than_a_batch_holds_each_tenant_gets_its_turn(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MAX_BATCH", 4)
    books.lead()
    books.submit(*(reserve(f"a{number}", "acme") for number in range(6)))
    books.submit(reserve("g0", "globex"), reserve("g1", "globex"), reserve("i0", "initech"))
    books.end()
    assert [sorted(batch) for batch in books.batches] == [
        ["first"], ["a0", "a1", "g0", "i0"], ["a2", "a3", "a4", "g1"], ["a5"],
    ]  # fmt: skip


def test_who_no_longer_waits_takes_its_operation_along(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.lead()
    monkeypatch.setattr(writers, "PATIENCE", 0.01)
    with pytest.raises(LedgerUnavailable) as refused:
        books.writer.submit(reserve("impatient"))
    assert refused.value.retry_after == 2
    books.end()
    assert books.batches == [["first"]]
    assert books.late == []


def test_who_leaves_while_its_batch_is_written_is_late(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    leaves = threading.Event()
    wait = Task.wait

    def impatient(task: Task, seconds: float) -> bool:
        return wait(task, seconds) if task.operation.hold_id != "c" else not leaves.wait(seconds)

    monkeypatch.setattr(Task, "wait", impatient)
    books.lead()
    books.submit(reserve("b"), reserve("c"), reserve("d"))
    books.allowed.release()
    until(lambda: books.begun == 3)  # the batch of b, c and d is being written
    leaves.set()
    until(lambda: "c" in books.answers)
    assert isinstance(books.answers["c"], LedgerUnavailable)
    assert books.late == []
    books.end()
    assert books.batches[1] == ["b", "c", "d"]
    assert books.late == ["c"]
    assert books.answers["b"] == books.answers["d"] == (Reply(moved=True), 7)


def test_the_late_are_known_before_the_next_batch_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who left may try again in it."""
    told: list[str] = []

    def carry_out(batch: Sequence[Task]) -> None:
        for task in batch:
            told.append(task.operation.hold_id)
            task.abandoned = task.operation.hold_id == "gone"
            task.reply = Reply()
            if task.operation.hold_id == "gone":
                following = threading.Thread(target=writer.submit, args=(reserve("next"),))
                following.start()
                threads.append(following)
                until(lambda: len(writer._queue) == 1)

    threads: list[threading.Thread] = []
    writer = Writer(carry_out, lambda task: told.append(f"late {task.operation.hold_id}"))
    writer.submit(reserve("gone"))
    for thread in threads:
        thread.join(SECONDS)
    assert told == ["gone", "late gone", "next"]


def test_64_threads_hand_the_lead_on_and_nobody_is_left_out() -> None:
    alone, counted, done = threading.Lock(), [0], [0] * 64

    def carry_out(batch: Sequence[Task]) -> None:
        assert alone.acquire(blocking=False), "two batches at once"
        for task in batch:
            task.reply = Reply()
        counted[0] += len(batch)
        alone.release()

    def work(number: int) -> None:
        for turn in range(50):
            writer.submit(reserve(f"{number} {turn}", f"tenant-{number % 5}"))
            done[number] += 1

    writer = Writer(carry_out, lambda _: None)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
    finally:
        sys.setswitchinterval(interval)
    assert done == [50] * 64
    assert counted == [64 * 50]


def test_a_writer_that_was_used_before_a_fork_works_after_it(books: Books) -> None:
    books.allowed.release(2)
    books.writer.submit(reserve("parent"))
    child = multiprocessing.get_context("fork").Process(target=books.writer.submit, args=(reserve("child"),))
    child.start()
    child.join(SECONDS)
    assert child.exitcode == 0


# -- with a ledger ---------------------------------------------------------------------------------------------

IMAGES = meter("image", "day", 100)


class Halting(ClockedDatabase):
    """Its transactions begin when they are `allowed` to."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url, clock)
        self.allowed, self.waiting = threading.Semaphore(1_000_000), 0

    def halt(self) -> None:
        self.allowed = threading.Semaphore(0)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        self.waiting += 1
        assert self.allowed.acquire(timeout=SECONDS)
        with super().write() as tx:
            yield tx


@pytest.fixture
def halting(database_url: str, clock: Clock) -> Iterator[Halting]:
    opened = Halting(database_url, clock)
    yield opened
    opened.close()


@pytest.fixture
def ledger(halting: Halting) -> Iterator[Ledger]:
    with halting.write() as tx:
        meters.add(tx, IMAGES)
    opened = ledger_on(halting, new_id=counting_ids())
    yield opened
    assert opened.verify() == []


class Crowd:
    """Callers who all reserve while the first one's batch is being written; `also` by the name of the caller."""

    def __init__(self, ledger: Ledger, halting: Halting) -> None:
        self._ledger, self._halting = ledger, halting
        self.told: dict[str, object] = {}
        self.threads: list[threading.Thread] = []

    def gather(self, *names: str, also: dict[str, Callable[[Tx], object]] | None = None) -> None:
        self._halting.halt()
        before = self._halting.waiting
        for number, name in enumerate(names):
            extra = (also or {}).get(name)
            self.threads.append(threading.Thread(target=self._reserve, args=(name, extra)))
            self.threads[-1].start()
            until(lambda: self._halting.waiting > before)
            until(lambda number=number: len(self._ledger._writer._queue) == number)

    def disperse(self) -> None:
        self._halting.allowed.release(1_000_000)
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def _reserve(self, name: str, extra: Callable[[Tx], object] | None) -> None:
        def also(tx: Tx, hold_id: str, now: int) -> None:
            if extra is not None:
                extra(tx)

        try:
            with self._ledger.hold(request(IMAGES, request_id=name), also=also) as held:
                self.told[name] = held.id
                held.void("that will do")
        except Exception as error:
            self.told[name] = error


@pytest.mark.parametrize("poison", ["an error of ours", "a row that is there already"])
def test_one_whose_rows_cannot_be_written_fails_alone(ledger: Ledger, halting: Halting, poison: str) -> None:
    def fail(tx: Tx) -> None:
        if poison == "an error of ours":
            raise ZeroDivisionError
        meters.add(tx, IMAGES)

    crowd = Crowd(ledger, halting)
    crowd.gather("first", "good", "bad", "better", also={"bad": fail})
    crowd.disperse()
    wanted = ZeroDivisionError if poison == "an error of ours" else sa.exc.IntegrityError
    assert isinstance(crowd.told.pop("bad"), wanted)
    made = ledger.holds(tenant=None, state=None, cursor=None, limit=10)
    assert sorted(map(str, crowd.told.values())) == sorted(hold.id for hold in made)
    assert {hold.request_id for hold in made} == {"first", "good", "better"}


def test_without_a_database_a_batch_fails_as_one(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def away(*_: object) -> None:
        tries.append(1)
        raise LedgerUnavailable(retry_after=2)

    monkeypatch.setattr(ledger, "_apply", away)
    batch = [reserve("hold_1"), reserve("hold_2"), reserve("hold_3")]
    ledger._carry_out(batch)
    assert len(tries) == 1
    errors = [task.error for task in batch]
    assert all(isinstance(error, LedgerUnavailable) for error in errors)
    assert len(set(map(id, errors))) == 3, "each caller has an error of its own"


def test_a_late_reserve_is_given_back_when_its_caller_has_gone_and_not_before(
    ledger: Ledger, halting: Halting, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves, wait = threading.Event(), Task.wait

    def impatient(task: Task, seconds: float) -> bool:
        operation = task.operation
        if isinstance(operation, Reserve) and operation.request.request_id == "gone" and not operation.again:
            return not leaves.wait(seconds)
        return wait(task, seconds)

    monkeypatch.setattr(Task, "wait", impatient)
    crowd = Crowd(ledger, halting)
    crowd.gather("first", "stays", "gone")
    writes = halting.waiting
    halting.allowed.release()
    until(
        lambda: halting.waiting > writes
    )  # the batch of those who stay and those who leave is being written
    leaves.set()
    until(lambda: any(task.abandoned is False and getattr(task.operation, "again", False)
                      for task in ledger._writer._queue))  # it tries again  # fmt: skip
    crowd.disperse()
    assert isinstance(crowd.told["gone"], str), "its second try finds what the first one made"
    assert [hold.state for hold in ledger.holds(tenant=None, state="open", cursor=None, limit=10)] == []
    ledger.renew_leases()
    assert len(ledger.holds(tenant=None, state="void", cursor=None, limit=10)) == 3


def test_a_reserve_that_nobody_waits_for_any_more_is_void_soon(ledger: Ledger) -> None:
    task = reserve("hold_gone")
    ledger._carry_out([task])
    ledger._take_back(task)
    with ledger._owning((task.operation.tenant_id, "hold_gone")):
        ledger.renew_leases()
        assert ledger.get_hold("hold_gone").state == "dispatched", "its caller still tries"
    ledger.renew_leases()
    given_back = ledger.get_hold("hold_gone")
    assert (given_back.state, given_back.resolution) == ("void", "nobody was told that it was reserved")
