"""Top-ups: room in one window of a meter, ahead or at once; what was drawn of one stays, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from doors import ALICE, wire
from ledgers import NOON, RESULT, actual, ledger_on, meter, request

from rollout.core.decisions import TenantFacts
from rollout.core.meters import MAX_AMOUNT, PLATFORM, Caller, Meter
from rollout.core.tenants import NewKey
from rollout.core.topups import NewTopUp, TopUp
from rollout.db import audit, meters, tables
from rollout.db.engine import Database
from rollout.errors import Conflict, InsufficientQuota, InvalidRequest, NotFound
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger
from rollout.services.meters import Meters
from rollout.services.topups import TopUps

HOUR, DAY = 3600, 86_400
MIDNIGHT = NOON + DAY // 2
IMAGES = meter("image", "day", 3)


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def ledger(database: Database, services: SimpleNamespace) -> Ledger:
    return ledger_on(database)


@pytest.fixture
def topups(database: Database, ledger: Ledger) -> TopUps:
    with database.write() as tx:
        meters.add(tx, IMAGES)
    return TopUps(database, Changes(database), ledger, new_id)


def add_meter(database: Database, one: Meter) -> Meter:
    with database.write() as tx:
        meters.add(tx, one)
        meters.lock_owners(tx, [one.tenant_id])
        meters.bump_meter_rev(tx, one.tenant_id)
    return one


def give(topups: TopUps, amount: int = 5, **asked: Any) -> TopUp:
    added, is_new = topups.add(ALICE, NewTopUp(asked.pop("meter_id", IMAGES.id), amount, **asked), "launch")
    assert is_new
    return added


def generate(ledger: Ledger, services: SimpleNamespace, images: int, **changes: Any) -> None:
    facts = services.state.fresh_facts("acme")
    asked = request(*facts.meters, images=images, meter_rev=facts.meter_rev, **changes)
    with ledger.hold(asked) as held:
        held.settle(actual(images), RESULT)


def cap(ledger: Ledger, services: SimpleNamespace, one: Meter = IMAGES, caller: Caller | None = None) -> int:
    facts: TenantFacts = services.state.fresh_facts("acme")
    found = ledger.limits(replace(facts, meters=(one,)), caller or Caller(""))
    return found[0].cap


def entries(database: Database) -> list[tuple[str, int]]:
    """(kind, d_cap) of what changed a cap, in order."""
    query = sa.select(tables.entry.c.kind, tables.entry.c.d_cap).where(tables.entry.c.d_cap != 0)
    with database.read() as tx:
        return [(row.kind, row.d_cap) for row in tx.execute(query.order_by(tables.entry.c.at))]


def test_a_top_up_is_room_for_the_very_next_hold_even_after_a_refusal(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, database: Database
) -> None:
    generate(ledger, services, 3)
    with pytest.raises(InsufficientQuota):
        generate(ledger, services, 1)
    given = give(topups, 2)
    assert (given.start, given.ends, given.expires) == (NOON - DAY // 2, MIDNIGHT, None)
    generate(ledger, services, 2)
    with pytest.raises(InsufficientQuota):
        generate(ledger, services, 1)
    assert ledger.verify() == []
    with database.read() as tx:
        entry = list(audit.walk(tx))[-1][0]
    assert (entry.action, entry.subject, entry.tenant_id) == ("topup.added", given.id, "acme")
    assert entry.after == {
        "id": given.id, "tenant": "acme", "meter": IMAGES.id, "subject": None, "amount": 2,
        "effective": "2026-11-22T12:00:00Z", "expires": None, "ends_at": "2026-11-23T00:00:00Z",
        "voided_at": None, "reason": "launch", "created_by": ALICE.name, "created_at": "2026-11-22T12:00:00Z",
    }  # fmt: skip


def test_a_top_up_of_tomorrow_is_tomorrows_alone(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, clock: Any
) -> None:
    give(topups, 5, effective=MIDNIGHT + HOUR)
    assert cap(ledger, services) == 3
    clock.now = MIDNIGHT
    assert cap(ledger, services) == 3
    clock.now = MIDNIGHT + HOUR
    assert cap(ledger, services) == 8
    generate(ledger, services, 8)
    clock.now = MIDNIGHT + DAY
    assert cap(ledger, services) == 3
    assert ledger.verify() == []


def test_what_was_drawn_of_a_top_up_that_expired_stays_in_the_cap(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, clock: Any, database: Database
) -> None:
    give(topups, 5, expires=NOON + HOUR)
    generate(ledger, services, 4)
    clock.now = NOON + HOUR
    assert cap(ledger, services) == 4
    give(topups, 1)
    assert entries(database) == [("topup", 5), ("expire", -4), ("topup", 1)]
    assert ledger.verify() == []


@pytest.mark.parametrize(("used", "left"), [(0, 3), (3, 3), (4, 4), (8, 8)])
def test_a_void_top_up_takes_along_what_nobody_drew(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, used: int, left: int
) -> None:
    given = give(topups, 5)
    if used:
        generate(ledger, services, used)
    void = topups.void(ALICE, given.id, "moved to April")
    assert void.voided_at == NOON
    assert topups.get(given.id) == void
    assert cap(ledger, services) == left
    assert ledger.verify() == []
    with pytest.raises(Conflict, match="has ended"):
        topups.void(ALICE, given.id, "again")


def test_a_void_top_up_is_not_drawn_from_while_another_covers_what_was_used(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace
) -> None:
    mistaken = give(topups, 5, expires=NOON + HOUR)
    give(topups, 5)
    generate(ledger, services, 6)
    topups.void(ALICE, mistaken.id, "given twice")
    assert cap(ledger, services) == 8
    assert ledger.verify() == []


def test_one_that_is_to_come_is_taken_back_whole(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, clock: Any
) -> None:
    generate(ledger, services, 3)
    given = give(topups, 5, effective=NOON + HOUR)
    topups.void(ALICE, given.id, "not needed")
    clock.now = NOON + HOUR
    assert cap(ledger, services) == 3
    assert ledger.verify() == []


@pytest.mark.parametrize("passed", [HOUR, DAY // 2])
def test_one_that_ended_by_itself_cannot_be_taken_back(
    topups: TopUps, ledger: Ledger, clock: Any, passed: int, services: SimpleNamespace
) -> None:
    given = give(topups, 5, expires=NOON + HOUR)
    clock.now = NOON + passed
    with pytest.raises(Conflict, match="has ended"):
        topups.void(ALICE, given.id, "too late")
    assert topups.get(given.id).state(int(clock.now)) == "expired"
    assert ledger.verify() == []


def test_a_change_of_the_cap_changes_nothing_about_a_top_up_that_had_expired(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, database: Database, clock: Any
) -> None:
    give(topups, 5, expires=NOON + HOUR)
    generate(ledger, services, 4)
    clock.now = NOON + 2 * HOUR
    limits = Meters(database, Changes(database), new_id)
    limits.change(ALICE, IMAGES.id, {"cap": 0}, "paused")
    limits.change(ALICE, IMAGES.id, {"cap": 3}, "goes on")
    assert cap(ledger, services, replace(IMAGES, cap=3)) == 4
    assert entries(database) == [("topup", 5), ("expire", -4)]
    assert ledger.verify() == []


def test_another_time_zone_waits_for_top_ups_that_it_would_move(
    topups: TopUps, ledger: Ledger, database: Database, clock: Any, services: SimpleNamespace
) -> None:
    limits = Meters(database, Changes(database), new_id)
    given = give(topups, 5, effective=NOON + DAY)
    with pytest.raises(Conflict) as refused:
        limits.change(ALICE, IMAGES.id, {"tz": "Asia/Jakarta"}, "they moved")
    assert refused.value.members["param"] == "tz"
    topups.void(ALICE, given.id, "to be given anew")
    moved = limits.change(ALICE, IMAGES.id, {"tz": "Asia/Jakarta"}, "they moved")
    with pytest.raises(Conflict, match="has ended"):
        topups.void(ALICE, given.id, "its window is gone")
    again = give(topups, 5, effective=NOON + DAY)
    clock.now = NOON + DAY
    assert cap(ledger, services, moved) == 8
    assert again.ends == MIDNIGHT + DAY - 7 * HOUR
    assert [one.id for one in topups.page(tenant=None, meter=None, cursor=None, limit=9)] == [
        again.id,
        given.id,
    ]
    assert ledger.verify() == []


def test_asked_for_twice_under_one_id_it_is_one_top_up(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, clock: Any, database: Database
) -> None:
    asked = NewTopUp(IMAGES.id, 5, expires=NOON + HOUR, id="top_launch-1")
    first, is_new = topups.add(ALICE, asked, "launch")
    assert is_new
    clock.now = NOON + 2 * HOUR
    again, is_new = topups.add(ALICE, asked, "launch, once more")
    assert (again, is_new) == (first, False)
    assert entries(database) == [("topup", 5)]
    for other in (
        replace(asked, amount=6),
        replace(asked, expires=None),
        replace(asked, effective=NOON + 1),
        replace(asked, meter_id=add_meter(database, meter("image", "life", 9)).id),
    ):
        with pytest.raises(Conflict) as refused:
            topups.add(ALICE, other, "launch")
        assert refused.value.members["param"] == "id"
    assert ledger.verify() == []


@pytest.mark.parametrize(
    ("param", "asked"),
    [
        ("amount", {"amount": 0}),
        ("amount", {"amount": -5}),
        ("amount", {"amount": MAX_AMOUNT + 1}),
        ("amount", {"amount": MAX_AMOUNT}),  # with the meter's own cap it is too much
        ("effective", {"effective": NOON - 1}),
        ("expires", {"expires": NOON}),
        ("expires", {"expires": NOON - HOUR}),
        ("expires", {"effective": NOON + HOUR, "expires": NOON + HOUR}),
        ("expires", {"expires": MIDNIGHT + 1}),
        ("subject", {"subject": "key_1"}),
        ("id", {"id": "launch"}),
        ("id", {"id": "top_"}),
        ("id", {"id": "top_" + "x" * 51}),
        ("id", {"id": "top_a.expire"}),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    topups: TopUps, database: Database, param: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        topups.add(ALICE, NewTopUp(**{"meter_id": IMAGES.id, "amount": 5, **asked}), "launch")
    assert refused.value.members["param"] == param
    assert topups.page(tenant=None, meter=None, cursor=None, limit=9) == []
    assert entries(database) == []


def test_a_meter_that_is_unknown_archived_or_too_fast_is_refused(topups: TopUps, database: Database) -> None:
    with pytest.raises(NotFound) as unknown:
        give(topups, meter_id="mtr_nothing")
    assert unknown.value.members["param"] == "meter"
    given = give(topups, 5)
    with database.write() as tx:
        meters.archive(tx, IMAGES, NOON)
    for act in (lambda: give(topups), lambda: topups.void(ALICE, given.id, "it is gone")):
        with pytest.raises(NotFound):
            act()
    for one in (meter("request", "minute", 9), meter("slot", "concurrent", 9)):
        add_meter(database, one)
        with pytest.raises(InvalidRequest) as refused:
            give(topups, meter_id=one.id)
        assert refused.value.members["param"] == "meter"
    with pytest.raises(NotFound):
        topups.get("top_nothing")
    with pytest.raises(NotFound):
        topups.void(ALICE, "top_nothing", "why not")


def test_a_meter_that_does_not_count_then_is_not_topped_up(topups: TopUps, database: Database) -> None:
    short = add_meter(database, meter("image", "month", 9, until=NOON + HOUR))
    with pytest.raises(InvalidRequest) as refused:
        give(topups, meter_id=short.id, effective=NOON + HOUR)
    assert refused.value.members["param"] == "effective"


def test_one_key_and_one_end_user_are_topped_up_by_themselves(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, database: Database
) -> None:
    by_key = add_meter(database, meter("image", "month", 2, level="api_key"))
    by_user = add_meter(database, meter("image", "life", 2, level="end_user"))
    key = services.keys.add(ALICE, "acme", NewKey("ci"), "test").key
    with pytest.raises(InvalidRequest, match="for each") as nobody:
        give(topups, meter_id=by_key.id)
    assert nobody.value.members["param"] == "subject"
    with pytest.raises(NotFound) as no_key:
        give(topups, meter_id=by_key.id, subject="key_nothing")
    assert no_key.value.members["param"] == "subject"
    give(topups, 1, meter_id=by_key.id, subject=key.id)
    give(topups, 1, meter_id=by_user.id, subject="ana@example.com")
    caller = Caller(key.id, "ana@example.com")
    for one in (by_key, by_user):
        assert cap(ledger, services, one, caller) == 3
        assert cap(ledger, services, one, Caller("key_2", "bob@example.com")) == 2
    generate(ledger, services, 3, api_key_id=key.id, end_user="ana@example.com")
    assert ledger.verify() == []


def test_a_meter_of_one_end_user_needs_no_subject_and_takes_no_other(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, database: Database
) -> None:
    anas = add_meter(database, meter("image", "life", 2, level="end_user", subject="ana"))
    with pytest.raises(InvalidRequest, match="'ana' alone"):
        give(topups, meter_id=anas.id, subject="bob")
    give(topups, 1, meter_id=anas.id)
    give(topups, 1, meter_id=anas.id, subject="ana")
    assert cap(ledger, services, anas, Caller("key_1", "ana")) == 4


def test_a_shared_meter_is_topped_up_for_all(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, database: Database
) -> None:
    shared = add_meter(database, meter("image", "month", 1, level="platform", tenant_id=PLATFORM))
    with pytest.raises(InsufficientQuota):
        generate(ledger, services, 2)
    given = give(topups, 1, meter_id=shared.id)
    generate(ledger, services, 2)
    assert given.tenant_id == PLATFORM
    assert topups.page(tenant=PLATFORM, meter=None, cursor=None, limit=9) == [given]
    with database.read() as tx:
        assert list(audit.walk(tx))[-1][0].tenant_id is None
    assert ledger.verify() == []


def test_a_dry_run_gives_and_takes_nothing(topups: TopUps, database: Database) -> None:
    added, is_new = topups.add(ALICE, NewTopUp(IMAGES.id, 5), "try", dry_run=True)
    assert is_new
    with pytest.raises(NotFound):
        topups.get(added.id)
    given = give(topups)
    topups.void(ALICE, given.id, "try", dry_run=True)
    assert topups.get(given.id).voided_at is None
    assert entries(database) == [("topup", 5)]


def test_lists_are_by_tenant_by_meter_and_go_on_where_they_ended(topups: TopUps, database: Database) -> None:
    ids = [give(topups, 1, id=f"top_{number}").id for number in range(3)]
    other = give(topups, 1, meter_id=add_meter(database, meter("image", "life", 9)).id, id="top_other").id

    def listed(**query: Any) -> list[str]:
        asked = {"tenant": None, "meter": None, "cursor": None, "limit": 9, **query}
        return [one.id for one in topups.page(**asked)]

    assert listed() == [other, *ids[::-1]]
    assert listed(meter=IMAGES.id) == ids[::-1]
    assert listed(tenant="globex") == []
    assert listed(meter=IMAGES.id, cursor=ids[2], limit=1) == [ids[1]]


def test_one_that_ended_stays_ended_when_the_clock_goes_back(
    topups: TopUps, ledger: Ledger, services: SimpleNamespace, clock: Any
) -> None:
    given = give(topups, 5, expires=NOON + HOUR)
    clock.now = NOON + HOUR
    generate(ledger, services, 1)
    clock.now = NOON
    with pytest.raises(Conflict, match="has ended"):
        topups.void(ALICE, given.id, "too late")
    assert ledger.verify() == []
