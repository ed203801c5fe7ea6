"""Quotas by the admin API: meters and holds, and what partners see of them in /quotas."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, Door, admin_door, application, wire
from ledgers import RESULT, actual, ledger_on, request

from rollout.api.native import quotas
from rollout.core.decisions import GENERATION
from rollout.core.tenants import SCOPES, NewKey, Scope
from rollout.db.engine import Database
from rollout.providers.base import OutcomeUnknown
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.meters import Meters

BY_DAY = {
    "tenant": "acme", "feature": GENERATION, "unit": "image", "period": "day", "cap": 3, "reason": "beta quota",
}  # fmt: skip


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    wired = wire(database, clock)
    wired.meters = Meters(database, Changes(database), new_id)
    wired.ledger = ledger_on(database)
    return wired


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services)


@pytest.fixture
def meter(door: Door) -> Any:
    status, added, _ = door.post("/meters", BY_DAY)
    assert status == 201
    return added


@pytest.fixture
def unknown(services: SimpleNamespace, meter: Any) -> str:
    """The id of a hold of two pictures that nobody knows the end of."""
    asked = request(*services.meters.page(tenant="acme", after=None, limit=9), images=2, meter_rev=1)
    with pytest.raises(OutcomeUnknown), services.ledger.hold(asked) as held:
        raise OutcomeUnknown("time-out")
    found: str = held.id
    return found


def partner(services: SimpleNamespace, scopes: tuple[Scope, ...] = SCOPES) -> Door:
    app = application(services)
    app.register_blueprint(quotas.routes)
    issued = services.keys.add(ALICE, "acme", NewKey("test", scopes=scopes), "test")
    services.state.refresh()
    return Door(app.test_client(), "/api/v1", issued.secret)


def test_a_meter_is_added_shown_and_listed(door: Door, meter: Any) -> None:
    assert meter == {
        "id": meter["id"], "tenant": "acme", "name": "image-day", "level": "feature", "feature": GENERATION,
        "unit": "image", "period": "day", "tz": "Asia/Jakarta", "cap": 3, "hard": True,
    }  # fmt: skip
    status, shown, headers = door.get(f"/meters/{meter['id']}")
    assert (status, shown, headers["ETag"]) == (200, meter, '"1"')
    assert door.get("/meters?tenant=acme")[1] == {"data": [meter], "next_cursor": None}
    assert door.get("/meters?tenant=globex")[1]["data"] == []


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"cap": "3"}, 400, "cap"),
        ({"cap": True}, 400, "cap"),
        ({"cap": -3}, 400, "cap"),
        ({"unit": "token"}, 400, "unit"),
        ({"level": "end_user"}, 400, "level"),
        ({"feature": "image-dreaming"}, 400, "feature"),
        ({"colour": "red"}, 400, "colour"),
        ({"reason": None}, 400, "reason"),
        ({"tenant": "nobody"}, 404, "tenant"),
    ],
)
def test_a_wrong_meter_is_refused_by_field(door: Door, changes: Any, status: int, param: str) -> None:
    answered, problem, _ = door.post("/meters", {**BY_DAY, **changes})
    assert (answered, problem["param"]) == (status, param)


def test_a_second_meter_of_that_name_is_a_conflict(door: Door, meter: Any) -> None:
    status, problem, _ = door.post("/meters", BY_DAY)
    assert (status, problem["code"], problem["param"]) == (409, "conflict", "name")


def test_a_cap_is_changed_by_who_has_seen_it(door: Door, meter: Any) -> None:
    path, change = f"/meters/{meter['id']}", {"cap": 5, "reason": "they asked for two more"}
    assert door.patch(path, change)[0] == 428
    status, changed, headers = door.patch(path, change, If_Match='"1"')
    assert (status, changed["cap"], headers["ETag"]) == (200, 5, '"2"')
    status, problem, _ = door.patch(path, {"cap": 6, "reason": "more"}, If_Match='"1"')
    assert (status, problem["code"], problem["current"]["cap"]) == (409, "stale_version", 5)


def test_a_meter_is_archived(door: Door, meter: Any) -> None:
    path = f"/meters/{meter['id']}"
    assert door.send("DELETE", path, {"reason": "done"}, If_Match='"9"')[0] == 409
    assert door.send("DELETE", path, {"reason": "done"})[:2] == (200, meter)
    assert door.get(path)[0] == 404


def test_who_may_only_look_changes_nothing(services: SimpleNamespace, meter: Any, unknown: str) -> None:
    viewer = admin_door(services, "vic", "viewer")
    assert viewer.get("/meters")[0] == viewer.get("/holds")[0] == 200
    for method, path in [
        ("POST", "/meters"),
        ("PATCH", f"/meters/{meter['id']}"),
        ("DELETE", f"/meters/{meter['id']}"),
        ("POST", f"/holds/{unknown}/settle"),
        ("POST", f"/holds/{unknown}/void"),
    ]:
        status, problem, _ = viewer.send(method, path, {"reason": "try"})
        assert (status, problem["code"]) == (403, "permission_denied")


def test_open_holds_are_listed_and_charged_by_hand(door: Door, unknown: str) -> None:
    status, listed, _ = door.get("/holds?state=open&tenant=acme")
    assert (status, [hold["id"] for hold in listed["data"]]) == (200, [unknown])
    assert door.get(f"/holds/{unknown}")[1] == listed["data"][0]
    status, settled, _ = door.post(
        f"/holds/{unknown}/settle", {"cost_usd_micro": 9, "reason": "their invoice"}
    )
    assert (status, settled["state"], settled["cost_usd_micro"]) == (200, "settled", 9)
    assert settled["resolution"] == "their invoice"
    assert door.get("/holds?state=unknown")[1]["data"] == []


def test_a_hold_is_voided_by_hand_and_only_once(door: Door, unknown: str) -> None:
    status, voided, _ = door.post(f"/holds/{unknown}/void", {"reason": "it never ran"})
    assert (status, voided["state"]) == (200, "void")
    status, problem, _ = door.post(f"/holds/{unknown}/void", {"reason": "it never ran"})
    assert (status, problem["code"]) == (409, "conflict")


def test_wrong_questions_about_holds_are_refused(door: Door, unknown: str) -> None:
    assert door.get("/holds?state=lost")[1]["param"] == "state"
    assert door.get("/holds/hold_none")[0] == 404
    negative = door.post(f"/holds/{unknown}/settle", {"cost_usd_micro": -1, "reason": "a gift"})
    assert (negative[0], negative[1]["param"]) == (400, "cost_usd_micro")
    assert door.post(f"/holds/{unknown}/void", {})[1]["param"] == "reason"


def test_holds_come_in_pages_newest_first(services: SimpleNamespace, door: Door) -> None:
    for _ in range(3):
        with services.ledger.hold(request()) as held:
            held.settle(actual(), RESULT)
    status, first, _ = door.get("/holds?limit=2")
    assert (status, len(first["data"])) == (200, 2)
    second = door.get(f"/holds?limit=2&cursor={first['next_cursor']}")[1]
    assert second["next_cursor"] is None
    ids = [hold["id"] for hold in first["data"] + second["data"]]
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) == 3


def test_a_partner_sees_his_limits(services: SimpleNamespace, meter: Any, unknown: str) -> None:
    status, answer, _ = partner(services).get("/quotas")
    assert status == 200
    assert answer == {
        "data": [
            {
                "meter": meter["id"], "name": "image-day", "feature": GENERATION, "unit": "image", "period": "day",
                "cap": 3, "used": 0, "held": 2, "remaining": 1, "resets_at": "2026-11-22T17:00:00Z", "hard": True,
            }
        ],
        "next_cursor": None,
    }  # fmt: skip


def test_limits_are_shown_to_keys_that_may_read(services: SimpleNamespace, meter: Any) -> None:
    status, problem, _ = partner(services, ("generate",)).get("/quotas")
    assert (status, problem["code"]) == (403, "permission_denied")
