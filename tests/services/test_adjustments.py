"""Adjustments: what was used, corrected where and when it counted; told of like a charge; never below nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from doors import ALICE, wire
from ledgers import NOON, RESULT, actual, ledger_on, meter, request

from rollout.core.adjustments import NewAdjustment
from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.meters import MAX_AMOUNT, Meter, open_bucket
from rollout.core.topups import NewTopUp
from rollout.db import audit, meters, tables
from rollout.db.engine import Database, Tx
from rollout.errors import Conflict, InsufficientQuota, InvalidRequest, NotFound
from rollout.services.adjustments import Adjustments
from rollout.services.changes import Changes
from rollout.services.events import Event
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger
from rollout.services.meters import Meters
from rollout.services.statements import Statements
from rollout.services.topups import TopUps

HOUR, DAY = 3600, 86_400
Told = list[tuple[str, str | None, int | None, int]]

BY_DAY = meter("image", "day", 10)
BY_LIFE = meter("image", "life", 100)
ALL_MONEY = meter("usd_micro", "month", 1_000_000, level="tenant", feature=None, hard=False)
FAST = meter("request", "minute", 9)
EACH_USER = meter("image", "month", 90, level="end_user")


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    clock.now = NOON - 10 * DAY
    made = wire(database, clock)
    clock.now = NOON
    return made


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def ledger(database: Database, services: SimpleNamespace, told: Told) -> Ledger:
    def emit(_tx: Tx, _now: int, events: Sequence[Event]) -> None:
        told.extend(
            (one.type, one.tenant_id, one.data["threshold"], one.data["used"])
            for one in events
            if one.type.startswith("quota.")
        )

    return ledger_on(database, emit=emit)


@pytest.fixture
def adjustments(database: Database, ledger: Ledger) -> Adjustments:
    for one in (BY_DAY, BY_LIFE, ALL_MONEY, FAST, EACH_USER):
        add_meter(database, one)
    return Adjustments(database, Changes(database), ledger, new_id)


def add_meter(database: Database, one: Meter) -> None:
    with database.write() as tx:
        meters.add(tx, one)
        meters.lock_owners(tx, [one.tenant_id])
        meters.bump_meter_rev(tx, one.tenant_id)


def generate(ledger: Ledger, services: SimpleNamespace, images: int, money: int = 0) -> None:
    facts = services.state.fresh_facts("acme")
    asked = request(*facts.meters, images=images, money=money, meter_rev=facts.meter_rev)
    with ledger.hold(asked) as held:
        held.settle(actual(images, money), RESULT)


def adjust(adjustments: Adjustments, amount: int, unit: str = "image", **asked: Any) -> Any:
    new = NewAdjustment(
        **{"tenant_id": "acme", "feature": GENERATION, "unit": unit, "amount": amount, **asked}
    )
    return adjustments.add(ALICE, new, "ticket 812")


def used(database: Database) -> dict[tuple[str, int], int]:
    """By (meter, start); without what is not used."""
    bucket = tables.bucket.c
    with database.read() as tx:
        rows = tx.execute(sa.select(bucket.meter_id, bucket.start, bucket.used).where(bucket.used != 0))
        return {(row.meter_id, row.start): row.used for row in rows}


def window_start(one: Meter, at: int) -> int:
    return open_bucket(one, at).start


def test_what_was_used_is_corrected_in_every_window_that_counted_it(
    adjustments: Adjustments, ledger: Ledger, services: SimpleNamespace, database: Database
) -> None:
    generate(ledger, services, 4, 40_000)
    before = used(database)
    made, is_new = adjust(adjustments, -3)
    assert is_new
    assert adjustments.get(made.id) == made
    after = used(database)
    assert {key: before[key] - after[key] for key in before if before[key] != after[key]} == {
        (BY_DAY.id, window_start(BY_DAY, NOON)): 3,
        (BY_LIFE.id, 0): 3,
    }
    adjust(adjustments, 500, "usd_micro", feature=ANALYSIS)
    assert used(database)[ALL_MONEY.id, window_start(ALL_MONEY, NOON)] == 40_500
    assert ledger.verify() == []
    with database.read() as tx:
        entry = list(audit.walk(tx))[-2][0]
    assert (entry.action, entry.subject, entry.tenant_id, entry.reason) == (
        "adjustment.added", made.id, "acme", "ticket 812",
    )  # fmt: skip
    assert entry.after == {
        "id": made.id, "tenant": "acme", "feature": GENERATION, "unit": "image", "amount": -3,
        "at": "2026-11-22T12:00:00Z", "reason": "ticket 812", "created_by": ALICE.name,
        "created_at": "2026-11-22T12:00:00Z",
    }  # fmt: skip


def test_what_is_given_back_is_room_for_the_very_next_hold(
    adjustments: Adjustments, ledger: Ledger, services: SimpleNamespace
) -> None:
    generate(ledger, services, 10)
    with pytest.raises(InsufficientQuota):
        generate(ledger, services, 1)
    adjust(adjustments, -1)
    generate(ledger, services, 1)
    assert ledger.verify() == []


def test_it_is_booked_in_the_windows_of_its_time(
    adjustments: Adjustments, ledger: Ledger, services: SimpleNamespace, database: Database, clock: Any
) -> None:
    generate(ledger, services, 4)
    clock.now = NOON + DAY
    with pytest.raises(InvalidRequest, match=r"image-day .* has 0 used") as refused:
        adjust(adjustments, -2)
    assert refused.value.members["param"] == "amount"
    adjust(adjustments, -2, at=NOON + HOUR)
    assert used(database)[BY_DAY.id, window_start(BY_DAY, NOON)] == 2
    assert ledger.verify() == []


def test_a_meter_counts_only_what_was_in_its_own_time(
    adjustments: Adjustments, ledger: Ledger, database: Database, clock: Any
) -> None:
    life = {"period": "life", "unit": "image"}
    later = meter(**life, cap=9, id="mtr_later", name="later", created_at=NOON + 1)
    ended = meter(**life, cap=9, id="mtr_ended", name="ended", until=NOON)
    gone = meter(**life, cap=9, id="mtr_gone", name="gone", thresholds=(10,))
    for one in (later, ended, gone):
        add_meter(database, one)
    with database.write() as tx:
        meters.archive(tx, gone, NOON + HOUR)
    clock.now = NOON + 2 * HOUR
    adjust(adjustments, 5, at=NOON)
    assert {meter_id for meter_id, _ in used(database)} == {BY_DAY.id, BY_LIFE.id, gone.id}
    assert ledger.verify() == []


def test_the_statement_of_a_month_agrees_with_a_meter_that_was_archived_since(
    adjustments: Adjustments, database: Database, clock: Any
) -> None:
    old = meter("usd_micro", "month", 9, id="mtr_old", name="old", tz="Asia/Jakarta")
    add_meter(database, old)
    with database.write() as tx:
        meters.archive(tx, old, NOON + 40 * DAY)
    clock.now = NOON + 60 * DAY
    adjust(adjustments, 500, "usd_micro", at=NOON)
    (check,) = [one for one in Statements(database).get("acme", "2026-11").checks if one.meter.name == "old"]
    assert check.agrees
    assert check.meter.used == 500


def test_the_window_of_a_time_before_another_time_zone_is_the_one_that_there_was(
    adjustments: Adjustments, ledger: Ledger, services: SimpleNamespace, database: Database, clock: Any
) -> None:
    generate(ledger, services, 4)
    limits = Meters(database, Changes(database), new_id)
    limits.change(ALICE, BY_DAY.id, {"tz": "Pacific/Auckland"}, "they moved")
    clock.now = NOON + 2 * DAY
    limits.change(ALICE, BY_DAY.id, {"cap": 20}, "more")
    adjust(adjustments, -3, at=NOON)
    assert used(database)[BY_DAY.id, window_start(BY_DAY, NOON)] == 1
    assert ledger.verify() == []


def test_thresholds_that_it_crosses_are_told_once(
    adjustments: Adjustments, ledger: Ledger, database: Database, told: Told
) -> None:
    adjust(adjustments, 8)
    assert told == [("quota.threshold", "acme", 50, 8), ("quota.threshold", "acme", 80, 8)]
    adjust(adjustments, -8)
    adjust(adjustments, 9)
    assert len(told) == 2
    with database.read() as tx:
        rows = tx.execute(sa.select(tables.alert.c.threshold).order_by(tables.alert.c.threshold)).scalars()
        assert list(rows) == [50, 80]
    assert ledger.verify() == []


def test_it_draws_on_no_top_up_that_had_expired(
    adjustments: Adjustments, ledger: Ledger, database: Database, clock: Any
) -> None:
    topups = TopUps(database, Changes(database), ledger, new_id)
    topups.add(ALICE, NewTopUp(BY_DAY.id, 5, expires=NOON + HOUR), "launch")
    clock.now = NOON + 2 * HOUR
    adjust(adjustments, 12)
    assert ledger.verify() == []


def test_asked_for_twice_under_one_id_it_is_one_adjustment(
    adjustments: Adjustments, ledger: Ledger, database: Database, clock: Any
) -> None:
    asked = NewAdjustment("acme", GENERATION, "image", 5, id="adj_ticket-812")
    first, is_new = adjustments.add(ALICE, asked, "ticket 812")
    assert is_new
    clock.now = NOON + HOUR
    assert adjustments.add(ALICE, asked, "ticket 812") == (first, False)
    assert used(database)[BY_LIFE.id, 0] == 5
    for other in (
        replace(asked, amount=-5),
        replace(asked, unit="usd_micro"),
        replace(asked, at=NOON - 1),
        replace(asked, feature=ANALYSIS),
        replace(asked, tenant_id="globex"),
    ):
        with pytest.raises(Conflict) as refused:
            adjustments.add(ALICE, other, "ticket 812")
        assert refused.value.members["param"] == "id"


@pytest.mark.parametrize(
    ("param", "asked"),
    [
        ("amount", {"amount": 0}),
        ("amount", {"amount": -1}),  # nothing is used yet
        ("amount", {"amount": MAX_AMOUNT + 1}),
        ("amount", {"amount": -MAX_AMOUNT - 1}),
        ("unit", {"unit": "slot"}),
        ("unit", {"unit": "apples"}),
        ("feature", {"feature": "image-dreaming"}),
        ("at", {"at": NOON + 1}),
        ("at", {"at": NOON - 11 * DAY}),
        ("id", {"id": "ticket-812"}),
        ("id", {"id": "adj_a.b"}),
        ("id", {"id": "adj_" + "x" * 51}),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    adjustments: Adjustments, ledger: Ledger, database: Database, param: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        adjust(adjustments, **{"amount": 5, **asked})
    assert refused.value.members["param"] == param
    assert adjustments.page(tenant=None, cursor=None, limit=9) == []
    assert used(database) == {}
    assert ledger.verify() == []


def test_more_than_can_be_counted_is_refused(adjustments: Adjustments) -> None:
    adjust(adjustments, MAX_AMOUNT)
    with pytest.raises(InvalidRequest, match="cannot be added"):
        adjust(adjustments, 1)


def test_when_one_meter_has_too_little_nothing_is_booked_anywhere(
    adjustments: Adjustments, ledger: Ledger, services: SimpleNamespace, database: Database, clock: Any
) -> None:
    generate(ledger, services, 4)
    clock.now = NOON + DAY
    generate(ledger, services, 1)
    before = used(database)
    with pytest.raises(InvalidRequest, match=r"image-day .* has 1 used"):
        adjust(adjustments, -2)
    assert used(database) == before
    assert ledger.verify() == []


def test_an_unknown_tenant_or_adjustment_is_not_found(adjustments: Adjustments) -> None:
    with pytest.raises(NotFound):
        adjust(adjustments, 5, tenant_id="nobody")
    with pytest.raises(NotFound):
        adjustments.get("adj_nothing")


def test_a_dry_run_books_nothing(adjustments: Adjustments, database: Database, told: Told) -> None:
    asked = NewAdjustment("acme", GENERATION, "image", 1)
    made, is_new = adjustments.add(ALICE, asked, "try", dry_run=True)
    assert is_new
    with pytest.raises(NotFound):
        adjustments.get(made.id)
    assert used(database) == {}


def test_lists_are_by_tenant_and_go_on_where_they_ended(adjustments: Adjustments) -> None:
    ids = [adjust(adjustments, 1, id=f"adj_{number}")[0].id for number in range(3)]
    assert [one.id for one in adjustments.page(tenant="acme", cursor=None, limit=2)] == ids[:0:-1]
    assert [one.id for one in adjustments.page(tenant="acme", cursor=ids[1], limit=2)] == ids[:1]
    assert adjustments.page(tenant="globex", cursor=None, limit=2) == []
