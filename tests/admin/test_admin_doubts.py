"""Ending unknown holds by the admin API: what is seen of the doubt, and every way to end it wrongly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import Door, admin_door, wire
from ledgers import GRACE, LEASE, RESULT, actual, counting_ids, ledger_on, meter, request

from rollout.core.meters import MAX_AMOUNT
from rollout.db import meters
from rollout.db.engine import Database
from rollout.providers.base import OutcomeUnknown
from rollout.services.ledger import Held

MONEY = meter("usd_micro", "month", 500_000)


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    wired = wire(database, clock)
    with database.write() as tx:
        meters.add(tx, MONEY)
    wired.ledger, wired.clock = ledger_on(database, new_id=counting_ids()), clock
    return wired


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services)


@pytest.fixture
def unknown(services: SimpleNamespace) -> str:
    return lose(services).id


def lose(services: SimpleNamespace) -> Held:
    asked = request(MONEY, model="gpt-image-2", meter_rev=1)
    with pytest.raises(OutcomeUnknown), services.ledger.hold(asked) as held:
        raise OutcomeUnknown("the stream was cut", vendor_request_id="req_7")
    found: Held = held
    return found


def money(services: SimpleNamespace) -> tuple[int, int]:
    """(used, held)"""
    (limit,) = services.ledger.limits(SimpleNamespace(meters=(MONEY,)))
    return limit.used, limit.held


def test_a_doubt_is_shown_with_its_evidence_and_what_ends_it(door: Door, unknown: str) -> None:
    status, shown, _ = door.get(f"/holds/{unknown}")
    assert status == 200
    assert (shown["state"], shown["on_unknown"], shown["upstream_id"]) == ("unknown", "charge", "req_7")
    assert shown["lease_until"] == "2026-11-22T12:15:00Z"
    assert shown["evidence"] == [
        {"at": "2026-11-22T12:00:00Z", "by": "key:key_1", "found": "OutcomeUnknown: the stream was cut", "to": "unknown"}
    ]  # fmt: skip
    (listed,) = door.get("/holds?state=unknown")[1]["data"]
    assert listed == shown


def test_a_doubt_that_a_person_ends_is_shown_as_such(
    services: SimpleNamespace, door: Door, unknown: str
) -> None:
    services.ledger.reviewed = lambda: {"gpt-image-2"}
    assert door.get(f"/holds/{unknown}")[1]["on_unknown"] == "review"
    services.clock.advance(GRACE)
    assert services.ledger.reconcile() == 0
    status, ended, _ = door.post(f"/holds/{unknown}/settle", {"reason": "as reserved"})
    assert (status, ended["cost_usd_micro"], ended["on_unknown"]) == (200, 40_000, None)
    assert ended["evidence"][-1]["by"] == "token:alice"


def test_more_than_was_reserved_is_charged_and_flagged(
    services: SimpleNamespace, door: Door, unknown: str
) -> None:
    _, ended, _ = door.post(
        f"/holds/{unknown}/settle", {"cost_usd_micro": 700_000, "reason": "their invoice"}
    )
    assert (ended["state"], ended["cost_usd_micro"]) == ("settled", 700_000)
    assert ended["evidence"][-1]["flag"] == "estimate_exceeded"
    assert money(services) == (700_000, 0)
    assert services.ledger.verify() == []


@pytest.mark.parametrize("first", ["settle", "void"])
@pytest.mark.parametrize("second", ["settle", "void"])
def test_who_comes_second_sees_what_the_first_did(
    services: SimpleNamespace, door: Door, unknown: str, first: str, second: str
) -> None:
    door.post(f"/holds/{unknown}/{first}", {"reason": "I was first"})
    before = money(services)
    status, problem, _ = door.post(f"/holds/{unknown}/{second}", {"reason": "me too"})
    assert (status, problem["code"]) == (409, "conflict")
    assert problem["hold"]["state"] == ("settled" if first == "settle" else "void")
    assert problem["hold"]["evidence"][-1]["found"] == "I was first"
    assert problem["remedy"] == "It was ended by token:alice: I was first"
    assert money(services) == before
    assert services.ledger.verify() == []


@pytest.mark.parametrize("verb", ["settle", "void"])
def test_a_hold_that_was_settled_as_it_should_is_not_ended_again(
    services: SimpleNamespace, door: Door, verb: str
) -> None:
    with services.ledger.hold(request(MONEY, meter_rev=1)) as held:
        running, _, _ = door.post(f"/holds/{held.id}/{verb}", {"reason": "too slow"})
        held.settle(actual(), RESULT)
    status, problem, _ = door.post(f"/holds/{held.id}/{verb}", {"reason": "too dear"})
    assert (running, status) == (409, 409)
    assert (problem["hold"]["cost_usd_micro"], problem["hold"]["evidence"]) == (40_000, [])
    assert problem["remedy"] == "It was ended by key:key_1: the vendor answered"
    assert money(services) == (40_000, 0)


@pytest.mark.parametrize("verb", ["settle", "void"])
def test_a_hold_that_is_not_there_is_not_found(door: Door, verb: str) -> None:
    for wrong in ("hold_nothing", "acme", "%00", "hold_1'--"):
        status, problem, _ = door.post(f"/holds/{wrong}/{verb}", {"reason": "try"})
        assert status in (400, 404), problem


@pytest.mark.parametrize("cost", [-1, MAX_AMOUNT + 1, 2**70, 1.5, "9", True, []])
def test_a_cost_that_is_none_names_its_field_and_ends_nothing(
    services: SimpleNamespace, door: Door, unknown: str, cost: Any
) -> None:
    status, problem, _ = door.post(f"/holds/{unknown}/settle", {"cost_usd_micro": cost, "reason": "try"})
    assert (status, problem["param"]) == (400, "cost_usd_micro")
    assert door.get(f"/holds/{unknown}")[1]["state"] == "unknown"
    assert money(services) == (0, 40_000)


def test_nothing_is_ended_without_a_reason(door: Door, unknown: str) -> None:
    for verb in ("settle", "void"):
        status, problem, _ = door.post(f"/holds/{unknown}/{verb}", {"reason": "  "})
        assert (status, problem["param"]) == (400, "reason")
    assert door.get(f"/holds/{unknown}")[1]["state"] == "unknown"


def test_work_that_turns_up_after_a_person_voided_it_is_charged_late(
    services: SimpleNamespace, door: Door
) -> None:
    with services.ledger.hold(request(MONEY, meter_rev=1)) as held:
        services.clock.advance(LEASE)
        assert services.ledger.sweep().unknown == 1
        door.post(f"/holds/{held.id}/void", {"reason": "their log shows no call"})
        assert money(services) == (0, 0)
        held.settle(actual(money=31_000), RESULT)
    _, shown, _ = door.get(f"/holds/{held.id}")
    assert (shown["state"], shown["cost_usd_micro"]) == ("settled", 31_000)
    assert [(step["by"], step.get("to"), step.get("flag")) for step in shown["evidence"]] == [
        ("system:sweeper", "unknown", None),
        ("token:alice", "void", None),
        ("key:key_1", "settled", "late"),
    ]
    assert money(services) == (31_000, 0)
    assert services.ledger.verify() == []
