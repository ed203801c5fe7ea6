"""Unknown outcomes on both databases: the job that asks the vendor, what its word does, and what time does."""

# ruff: noqa: PT012  # what a block of a hold is left by is raised after more than one statement

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from clocks import Clock
from ledgers import GRACE, LEASE, NOON, RESULT, actual, counting_ids, meter, request
from sandboxes import model, seed

from rollout.core.audit import Actor
from rollout.core.catalogue import Usage
from rollout.core.holds import Hold, Unknown
from rollout.core.jobs import Job, JobFailed
from rollout.db import meters, tables
from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable, NotFound
from rollout.providers.base import Fault, Found, LookUp, OutcomeUnknown
from rollout.services.changes import Changes
from rollout.services.jobs import JobQueue
from rollout.services.ledger import Ledger
from rollout.services.resolutions import KIND, Resolutions, leave_job

PAINTER = model("gpt-image-2")
IMAGES, MONEY, SLOTS = (
    meter("image", "day", 9),
    meter("usd_micro", "month", 500_000),
    meter("slot", "concurrent", 4),
)
ALICE = Actor("token:alice", "admin", "req_alice")
TOLD = Usage(output=1_000, text_in=100)
CUT = OutcomeUnknown("the stream was cut", vendor_request_id="req_7")


class Vendor:
    """Tells what it was told to, and is asked for nothing else: it has no other method."""

    def __init__(self) -> None:
        self.says: list[Found | Exception | None] = []
        self.asked: list[str] = []

    def look_up(self, upstream_id: str) -> Found | None:
        self.asked.append(upstream_id)
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


class Vendors:
    """The part of the port `Providers` that a look-up needs."""

    def __init__(self, **known: LookUp) -> None:
        self._known = known

    def look_ups(self, vendor: str) -> LookUp | None:
        return self._known.get(vendor)


class Books:
    def __init__(self, database: Database, clock: Clock, reviewed: tuple[str, ...] = ()) -> None:
        self.clock, self.database, self.vendor = clock, database, Vendor()
        self.new_id = counting_ids()
        self.queue = JobQueue(database, Changes(database), self.new_id)
        self.ledger = Ledger(
            database,
            lease_seconds=LEASE,
            grace_seconds=GRACE,
            new_id=self.new_id,
            doubt=leave_job(self.queue),
            reviewed=lambda: reviewed,
            sleep=lambda _: None,
        )
        self.resolutions = Resolutions(database, self.ledger, seed, Vendors(openai=self.vendor))  # type: ignore[arg-type]

    def lose(self, error: Exception = CUT, **changes: Any) -> Hold:
        """A generation of which only the error came back."""
        asked = request(IMAGES, MONEY, SLOTS, **{"model": PAINTER.name, **changes})
        with pytest.raises(type(error)), self.ledger.hold(asked) as held:
            raise error
        return self.ledger.get_hold(held.id)

    def jobs(self) -> list[Job]:
        return self.queue.page(kind=KIND, cursor=None, limit=99)

    def work(self) -> Job:
        """Do the job that is due, as a worker does; how it is then."""
        (job,) = self.queue.claim({KIND}, 9)
        try:
            self.queue.finish(job, self.resolutions.look_into(job))
        except JobFailed as error:
            self.queue.fail(job, error)
        return self.queue.get(job.id)

    def found(self, hold: Hold) -> list[str]:
        return [item["found"] for item in self.ledger.get_hold(hold.id).evidence]

    def used(self) -> dict[str, tuple[int, int]]:
        with self.database.read() as tx:
            rows = tx.execute(sa.select(tables.bucket.c.meter_id, tables.bucket.c.used, tables.bucket.c.held))
            return {row[0]: (row[1], row[2]) for row in rows}


@pytest.fixture
def make(database: Database, clock: Clock) -> Iterator[Callable[..., Books]]:
    with database.write() as tx:
        for one in (IMAGES, MONEY, SLOTS):
            meters.add(tx, one)
    made: list[Books] = []

    def opened(**how: Any) -> Books:
        made.append(Books(database, clock, **how))
        return made[-1]

    yield opened
    assert [one.ledger.verify() for one in made] == [[] for _ in made]


@pytest.fixture
def books(make: Callable[..., Books]) -> Books:
    return make()


# -- the job -------------------------------------------------------------------------------------------------------


def test_a_doubt_with_the_vendors_id_leaves_a_job_and_one_without_leaves_none(books: Books) -> None:
    hold = books.lose()
    assert (hold.state, hold.upstream_id) == ("unknown", "req_7")
    (job,) = books.jobs()
    assert (job.tenant_id, job.payload, job.subject, job.dedupe) == (
        "acme",
        {"hold": hold.id},
        "openai",
        hold.id,
    )
    assert job.run_at == NOON
    books.lose(OutcomeUnknown("timed out"))
    assert len(books.jobs()) == 1


def test_a_job_is_there_if_and_only_if_the_doubt_was_written(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise LedgerUnavailable(retry_after=2)

    with monkeypatch.context() as patched:
        patched.setattr(books.ledger, "_doubt", fails)
        hold = books.lose()
    assert (hold.state, books.jobs()) == ("dispatched", [])
    books.clock.advance(LEASE)
    assert books.ledger.sweep().unknown == 1


def test_work_that_was_done_but_not_kept_can_be_looked_up(books: Books) -> None:
    asked = request(IMAGES, MONEY, model=PAINTER.name)
    with pytest.raises(OSError, match="disk"), books.ledger.hold(asked) as held:
        held.upstream_id = "req_8"
        raise OSError("the disk is full")
    assert books.ledger.get_hold(held.id).upstream_id == "req_8"
    assert len(books.jobs()) == 1


def test_a_job_finds_a_hold_that_nobody_marked_and_doubts_it_without_calling_the_vendor(books: Books) -> None:
    with books.ledger.hold(request(IMAGES, model=PAINTER.name)) as held:
        with books.database.write() as tx:
            leave_job(books.queue)(tx, NOON, books.ledger.get_hold(held.id))
        done = books.work()
        assert done.state == "done"
        assert books.vendor.asked == []
        hold = books.ledger.get_hold(held.id)
        assert (hold.state, books.found(hold)) == (
            "unknown",
            ["its job found it without an answer", "openai cannot be asked what became of a call"],
        )
        held.settle(actual(), RESULT)
    assert books.ledger.get_hold(held.id).state == "settled"


@pytest.mark.parametrize("state", ["settled", "void"])
def test_a_job_whose_hold_was_ended_meanwhile_asks_nobody(books: Books, state: str) -> None:
    hold = books.lose()
    if state == "settled":
        books.ledger.settle_by_hand(ALICE, hold.id, "their invoice", 9)
    else:
        books.ledger.void_by_hand(ALICE, hold.id, "their log")
    done = books.work()
    assert (done.state, done.outcome, books.vendor.asked) == ("done", {"state": state}, [])


def test_a_job_whose_hold_is_nowhere_says_so(books: Books) -> None:
    job = Job("acme", "job_1", KIND, {"hold": "hold_lost"}, NOON, 50, NOON)
    with pytest.raises(NotFound):
        books.resolutions.look_into(job)


# -- what the vendor says ------------------------------------------------------------------------------------------


def test_work_that_the_vendor_did_is_charged_what_it_came_to(books: Books) -> None:
    hold = books.lose(images=2)
    books.vendor.says = [Found("done", 1, TOLD)]
    done = books.work()
    after = books.ledger.get_hold(hold.id)
    assert (done.state, after.state, after.settled_from, after.cost_usd_micro) == (
        "done",
        "settled",
        "usage",
        30_500,
    )
    assert after.usage is not None
    assert (after.usage["images"], after.usage["output"]) == (1, 1_000)
    assert books.used() == {IMAGES.id: (1, 0), MONEY.id: (30_500, 0), SLOTS.id: (0, 0)}
    assert after.evidence[-1] == {
        "at": NOON, "by": "vendor:openai", "to": "settled",
        "found": "openai says that it was done: 1 images, 30500 micro-dollars",
    }  # fmt: skip


def test_work_that_cost_more_than_was_reserved_is_charged_and_flagged(books: Books) -> None:
    hold = books.lose(money=20_000)
    books.vendor.says = [Found("done", 1, TOLD)]
    books.work()
    assert books.ledger.get_hold(hold.id).evidence[-1]["flag"] == "estimate_exceeded"
    assert books.used()[MONEY.id] == (30_500, 0)


def test_work_of_which_the_vendor_tells_no_usage_is_charged_as_reserved(books: Books) -> None:
    hold = books.lose(images=2)
    books.vendor.says = [Found("done", 2)]
    books.work()
    after = books.ledger.get_hold(hold.id)
    assert (after.settled_from, after.cost_usd_micro) == ("estimate", 40_000)


def test_work_that_never_ran_costs_nothing_and_its_key_may_run_again(books: Books) -> None:
    hold = books.lose(idem_key="k")
    books.vendor.says = [Found("never_ran")]
    books.work()
    after = books.ledger.get_hold(hold.id)
    assert (after.state, after.resolution) == ("void", "openai says that it never ran")
    assert books.used() == {IMAGES.id: (0, 0), MONEY.id: (0, 0), SLOTS.id: (0, 0)}
    with books.ledger.hold(request(IMAGES, idem_key="k")) as held:
        held.settle(actual(), RESULT)
    assert books.ledger.get_hold(held.id).attempt == 2


def test_a_vendor_that_is_still_at_it_or_does_not_know_or_fails_is_asked_again(books: Books) -> None:
    hold = books.lose()
    books.vendor.says = [Found("still_running"), None, Fault("status 500"), Found("never_ran")]
    for pause in (5, 5, 10):
        waiting = books.work()
        assert (waiting.state, waiting.run_at) == ("ready", books.clock() + pause)
        assert books.queue.claim({KIND}, 9) == []
        assert books.ledger.get_hold(hold.id).state == "unknown"
        books.clock.advance(pause)
    assert books.work().state == "done"
    assert books.found(hold) == [
        "OutcomeUnknown: the stream was cut",
        "openai is still at it",
        "openai does not know req_7",
        "Fault: status 500",
        "openai says that it never ran",
    ]
    assert books.vendor.asked == ["req_7"] * 4


def test_the_vendor_is_asked_until_the_grace_ends_and_then_the_estimate_is_charged(books: Books) -> None:
    hold = books.lose()
    books.vendor.says = [Found("still_running")] * 99
    while (job := books.work()).state == "ready":
        assert books.ledger.reconcile() == 0
        books.clock.advance(job.run_at - books.clock())
    assert job.state == "done"
    assert len(books.vendor.asked) == 10
    assert books.clock() == NOON + GRACE - 5
    books.clock.advance(5)
    assert books.ledger.reconcile() == 1
    after = books.ledger.get_hold(hold.id)
    assert (after.state, after.settled_from, after.cost_usd_micro) == ("settled", "estimate", 40_000)
    assert after.resolution is not None
    assert "on_unknown = charge" in after.resolution


def test_a_vendor_that_cannot_be_asked_is_not_asked_twice(books: Books) -> None:
    hold = books.lose(vendor="another")
    done = books.work()
    assert done.state == "done"
    assert books.found(hold)[-1] == "another cannot be asked what became of a call"
    assert books.ledger.get_hold(hold.id).state == "unknown"


def test_the_owners_own_answer_wins_over_the_vendors_word_that_comes_later(books: Books) -> None:
    with books.ledger.hold(request(IMAGES, MONEY, model=PAINTER.name)) as held:
        books.ledger.resolve(Unknown("acme", held.id, "system:sweeper", "the lease passed", GRACE, "req_7"))
        (job,) = books.queue.claim({KIND}, 9)
        held.settle(actual(money=31_000), RESULT)
    books.vendor.says = [Found("never_ran")]
    assert books.resolutions.look_into(job) == {"state": "settled"}
    hold = books.ledger.get_hold(held.id)
    assert (hold.result, books.used()[MONEY.id]) == (RESULT, (31_000, 0))
    assert books.found(hold) == ["the lease passed", "the vendor answered"]


def test_a_job_done_twice_charges_once(books: Books) -> None:
    hold = books.lose()
    (job,) = books.queue.claim({KIND}, 9)
    books.vendor.says = [Found("done", 1, TOLD)] * 2
    for _ in range(2):
        books.resolutions.look_into(job)
    assert books.used()[MONEY.id] == (30_500, 0)
    assert len(books.found(hold)) == 2


# -- the policy ----------------------------------------------------------------------------------------------------


def test_a_reviewed_doubt_is_ended_by_no_time(make: Callable[..., Books]) -> None:
    books = make(reviewed=(PAINTER.name,))
    hold = books.lose()
    assert books.ledger.on_unknown(hold) == "review"
    books.clock.advance(30 * 86_400)
    assert books.ledger.reconcile() == 0
    assert books.ledger.get_hold(hold.id).state == "unknown"
    assert books.used() == {IMAGES.id: (0, 1), MONEY.id: (0, 40_000), SLOTS.id: (0, 0)}
    after = books.ledger.settle_by_hand(ALICE, hold.id, "their invoice says so", 12)
    assert (after.state, after.cost_usd_micro, books.ledger.on_unknown(after)) == ("settled", 12, None)
    assert after.evidence[-1]["by"] == "token:alice"


def test_many_that_wait_for_a_person_keep_nobody_from_being_charged(make: Callable[..., Books]) -> None:
    books = make(reviewed=("gpt-image-1.5",))
    kept = [books.lose(model="gpt-image-1.5") for _ in range(3)]
    books.clock.advance(1)
    charged = books.lose()
    books.clock.advance(GRACE)
    assert books.ledger.reconcile(limit=1) == 1
    assert books.ledger.get_hold(charged.id).state == "settled"
    assert {books.ledger.get_hold(hold.id).state for hold in kept} == {"unknown"}


def test_the_policy_of_the_moment_of_reconciling_counts(make: Callable[..., Books]) -> None:
    before, after = make(reviewed=(PAINTER.name,)), make()
    hold = before.lose(OutcomeUnknown("timed out"))
    before.clock.advance(GRACE)
    assert before.ledger.reconcile() == 0
    assert after.ledger.reconcile() == 1
    assert after.ledger.get_hold(hold.id).state == "settled"
