"""What a hold remembers of the doubt about it: who found out what, and where that led."""

from __future__ import annotations

import dataclasses

import pytest
from ledgers import NOON, actual, meter, request

from rollout.core.catalogue import Cost
from rollout.core.holds import (
    Actual,
    Gates,
    Hold,
    Note,
    Operation,
    Reconcile,
    Reply,
    Reserve,
    Settle,
    Unknown,
    Void,
    bucket_keys,
    decide,
    hold_json,
    new_buckets,
)
from rollout.core.meters import MAX_AMOUNT, Bucket, BucketKey

MONEY, SLOTS = meter("usd_micro", "month", 500_000), meter("slot", "concurrent", 4)
METERS = {one.id: one for one in (MONEY, SLOTS)}
ID = ("acme", "hold_1")
LOST = Unknown(*ID, "key:key_1", "OutcomeUnknown: cut", 900, "req_7")


class Books:
    """One hold through operations, a second apart."""

    def __init__(self) -> None:
        self.now = NOON
        reserve = Reserve("hold_1", request(MONEY, SLOTS), 120)
        self.buckets: dict[BucketKey, Bucket] = {
            bucket.key: bucket for bucket in new_buckets([reserve], NOON)
        }
        self.holds: list[Hold] = []
        self.do(reserve)

    def do(self, operation: Operation) -> Reply:
        assert set(bucket_keys([], self.holds)) <= set(self.buckets)
        (reply,), rows = decide([operation], METERS, Gates(), self.buckets, self.holds, self.now)
        self.buckets |= {bucket.key: bucket for bucket in rows.buckets}
        self.holds = [*rows.new_holds, *rows.holds] or self.holds
        self.now += 1
        return reply

    @property
    def hold(self) -> Hold:
        (found,) = self.holds
        return found

    @property
    def money(self) -> tuple[int, int]:
        (bucket,) = (one for one in self.buckets.values() if one.meter_id == MONEY.id)
        return bucket.used, bucket.held

    @property
    def steps(self) -> list[tuple[str, str, str | None, str | None]]:
        return [(item["by"], item["found"], item.get("to"), item.get("flag")) for item in self.hold.evidence]


@pytest.fixture
def books() -> Books:
    return Books()


def test_a_work_that_ends_as_it_should_leaves_no_evidence(books: Books) -> None:
    books.do(Settle(*ID, actual(), None, "key:key_1"))
    assert books.hold.evidence == ()


def test_each_step_of_a_doubt_is_kept_with_who_found_what_and_when(books: Books) -> None:
    books.do(LOST)
    books.do(Note(*ID, "system:reconciler", "openai is still at it"))
    books.do(Void(*ID, "user:ana@example.test", "their log shows no call", of=("unknown",)))
    assert books.steps == [
        ("key:key_1", "OutcomeUnknown: cut", "unknown", None),
        ("system:reconciler", "openai is still at it", None, None),
        ("user:ana@example.test", "their log shows no call", "void", None),
    ]
    assert [item["at"] for item in books.hold.evidence] == [NOON + 1, NOON + 2, NOON + 3]
    assert hold_json(books.hold)["evidence"][0] == {
        "at": "2026-11-22T12:00:01Z", "by": "key:key_1", "found": "OutcomeUnknown: cut", "to": "unknown",
    }  # fmt: skip
    assert (books.hold.upstream_id, books.money) == ("req_7", (0, 0))


def test_the_rule_by_which_the_estimate_is_charged_is_kept(books: Books) -> None:
    books.do(LOST)
    books.now += 900
    books.do(Reconcile(*ID))
    assert books.hold.resolution is not None
    assert "on_unknown = charge" in books.hold.resolution
    assert books.steps[-1] == ("system:reconciler", books.hold.resolution, "settled", None)
    assert books.money == (40_000, 0)


def test_work_that_turns_up_after_it_was_void_is_charged_late(books: Books) -> None:
    books.do(LOST)
    books.do(Void(*ID, "token:alice", "their log shows no call", of=("unknown",)))
    assert not books.hold.was_late
    books.do(Settle(*ID, actual(), None, "key:key_1"))
    assert books.hold.was_late
    assert books.steps[-1] == ("key:key_1", "the vendor answered", "settled", "late")
    assert books.money == (40_000, 0)


@pytest.mark.parametrize("state", ["dispatched", "unknown"])
def test_more_than_was_reserved_is_charged_and_flagged(books: Books, state: str) -> None:
    if state == "unknown":
        books.do(LOST)
    books.do(Settle(*ID, actual(money=90_000), None, "token:alice", "their invoice"))
    assert books.money == (90_000, 0)
    assert books.steps[-1] == ("token:alice", "their invoice", "settled", "estimate_exceeded")


def test_a_cost_beyond_all_measure_is_a_mistake_of_the_caller() -> None:
    for wrong in (-1, MAX_AMOUNT + 1):
        with pytest.raises(ValueError, match="amounts lie between"):
            Actual(Cost(wrong, "usage", "price_1"), 1)


def test_an_answer_after_the_doubt_was_ended_is_kept_and_charges_nothing(books: Books) -> None:
    books.do(LOST)
    books.do(Settle(*ID, None, None, "token:alice", "as reserved", of=("unknown",)))
    for _ in range(2):
        assert not books.do(Settle(*ID, actual(money=31_000), None, "key:key_1")).moved
    found = "the vendor answered: 31000 micro-dollars, where 40000 had been charged"
    assert books.steps[-1] == ("key:key_1", found, None, None)
    assert len(books.steps) == 3
    assert books.money == (40_000, 0)
    books.do(Settle(*ID, actual(money=40_000), None, "key:key_1"))
    assert len(books.steps) == 3


def test_a_second_settle_of_a_work_that_nobody_doubted_leaves_nothing(books: Books) -> None:
    books.do(Settle(*ID, actual(), None, "key:key_1"))
    books.do(Settle(*ID, actual(money=1), None, "key:key_1"))
    assert books.hold.evidence == ()


def test_nothing_is_noted_of_a_hold_that_is_not_in_doubt_or_not_there(books: Books) -> None:
    before = books.hold
    assert books.do(Note(*ID, "system:reconciler", "x")).hold == before
    assert books.do(Note("acme", "hold_2", "system:reconciler", "x")).hold is None
    assert books.hold.evidence == ()


def test_a_doubt_is_fresh_until_somebody_found_out_something(books: Books) -> None:
    assert books.hold.in_doubt_since is None
    books.do(LOST)
    assert books.hold.in_doubt_since == NOON + 1
    books.do(Note(*ID, "system:reconciler", "openai is still at it"))
    assert books.hold.in_doubt_since is None


def test_an_id_that_the_vendor_told_is_not_lost_by_a_later_doubt(books: Books) -> None:
    books.holds = [dataclasses.replace(books.hold, upstream_id="req_7")]
    books.do(dataclasses.replace(LOST, upstream_id=None))
    assert books.hold.upstream_id == "req_7"
