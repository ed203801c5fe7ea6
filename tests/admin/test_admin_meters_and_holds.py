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
from rollout.services.alerts import Alerts
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
    wired.alerts = Alerts(database)
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


def without_standing(meter: Any) -> Any:
    return {name: value for name, value in meter.items() if name not in ("windows", "note")}


def test_a_meter_is_added_shown_and_listed(door: Door, meter: Any) -> None:
    assert meter == {
        "id": meter["id"], "tenant": "acme", "name": "image-day", "level": "feature", "feature": GENERATION,
        "subject": None, "unit": "image", "period": "day", "tz": "Asia/Jakarta", "zones": [], "cap": 3, "scheduled": [],
        "hard": True, "thresholds": [50, 80, 100], "effective_at": None, "until": None, "note": None,
        "windows": [{
            "subject": None, "cap": 3, "used": 0, "held": 0, "remaining": 3, "resets_at": "2026-11-22T17:00:00Z",
        }],
    }  # fmt: skip
    status, shown, headers = door.get(f"/meters/{meter['id']}")
    assert (status, shown, headers["ETag"]) == (200, meter, '"1"')
    assert door.get("/meters?tenant=acme")[1] == {"data": [without_standing(meter)], "next_cursor": None}
    assert door.get("/meters?tenant=globex")[1]["data"] == []


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"cap": "3"}, 400, "cap"),
        ({"cap": True}, 400, "cap"),
        ({"cap": -3}, 400, "cap"),
        ({"unit": "token"}, 400, "unit"),
        ({"level": "galaxy"}, 400, "level"),
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
    assert door.send("DELETE", path, {"reason": "done"})[:2] == (200, without_standing(meter))
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
                "meter": meter["id"], "name": "image-day", "level": "feature", "feature": GENERATION, "unit": "image",
                "period": "day", "cap": 3, "used": 0, "held": 2, "remaining": 1, "resets_at": "2026-11-22T17:00:00Z", "hard": True,
            }
        ],
        "next_cursor": None,
    }  # fmt: skip


def test_limits_are_shown_to_keys_that_may_read(services: SimpleNamespace, meter: Any) -> None:
    status, problem, _ = partner(services, ("generate",)).get("/quotas")
    assert (status, problem["code"]) == (403, "permission_denied")


# -- plans, time zones, whose use --------------------------------------------------------------------------------


def change(door: Door, meter: Any, version: int = 1, **fields: Any) -> tuple[int, Any]:
    status, answer, _ = door.patch(
        f"/meters/{meter['id']}", {"reason": "as agreed", **fields}, If_Match=f'"{version}"'
    )
    return status, answer


def test_a_cap_is_planned_shown_and_dropped(door: Door, meter: Any) -> None:
    launch, after = "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"
    status, changed = change(door, meter, cap=9, effective_at=launch, until=after)
    assert (status, changed["cap"]) == (200, 3)
    assert changed["scheduled"] == [{"at": launch, "cap": 9}, {"at": after, "cap": 3}]
    _, changed = change(door, meter, 2, scheduled=[{"at": launch, "cap": 8}])
    assert changed["scheduled"] == [{"at": launch, "cap": 8}]
    _, changed = change(door, meter, 3, scheduled=[], cap=4)
    assert (changed["scheduled"], changed["cap"]) == ([], 4)


def test_a_cap_below_what_is_used_is_taken_and_what_follows_is_told(
    services: SimpleNamespace, door: Door, meter: Any, unknown: str
) -> None:
    status, changed = change(door, meter, cap=1)
    assert (status, changed["windows"][0]["held"], changed["windows"][0]["remaining"]) == (200, 2, 0)
    assert changed["note"] == (
        "2 of 1 are used or held: nothing is cancelled, and new work waits until the window ends at "
        "2026-11-22T17:00:00Z, or until the cap is raised."
    )
    assert change(door, meter, 2, cap=2)[1]["note"] is None


def test_a_new_time_zone_is_told_with_the_time_from_which_it_counts(door: Door, meter: Any) -> None:
    status, changed = change(door, meter, tz="America/New_York", thresholds=[10, 99])
    assert (status, changed["tz"], changed["thresholds"]) == (200, "Asia/Jakarta", [10, 99])
    assert changed["zones"] == [{"since": "2026-11-22T17:00:00Z", "tz": "America/New_York"}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"cap": 5, "effective_at": "2020-01-01T00:00:00Z"}, "effective_at"),
        ({"cap": 5, "until": "2026-11-22T12:00:00Z"}, "until"),
        ({"cap": 5, "until": "tomorrow"}, "until"),
        ({"until": "2027-01-01T00:00:00Z"}, "until"),
        ({"scheduled": [{"at": "2020-01-01T00:00:00Z", "cap": 1}]}, "scheduled.0.at"),
        ({"scheduled": [{"at": "2027-01-01T00:00:00Z", "cap": -1}]}, "cap"),
        ({"thresholds": [80, 50]}, "thresholds"),
        ({"thresholds": [0]}, "thresholds"),
        ({"period": "month"}, "period"),
        ({"unit": "usd_micro"}, "unit"),
        ({"level": "tenant"}, "level"),
        ({"subject": "ana"}, "subject"),
        ({"feature": "image-analysis"}, "feature"),
        ({"name": "other"}, "name"),
    ],
)
def test_a_wrong_change_is_refused_by_field_and_changes_nothing(
    door: Door, meter: Any, fields: dict[str, Any], param: str
) -> None:
    status, problem = change(door, meter, **fields)
    assert (status, problem["param"]) == (400, param)
    assert door.get(f"/meters/{meter['id']}")[1] == meter


def test_a_second_meter_that_counts_the_same_is_a_conflict_that_names_the_first(
    door: Door, meter: Any
) -> None:
    status, problem, _ = door.post("/meters", {**BY_DAY, "name": "other", "cap": 9})
    assert (status, problem["code"], problem["meter"]) == (409, "conflict", meter["id"])
    assert "'image-day' counts the same" in problem["detail"]


def test_shared_meters_belong_to_no_tenant_and_partners_do_not_see_them(
    services: SimpleNamespace, door: Door, meter: Any
) -> None:
    everybodys = {name: value for name, value in BY_DAY.items() if name != "tenant"}
    status, added, _ = door.post("/meters", everybodys)
    assert (status, added["tenant"], added["level"], added["tz"]) == (201, None, "platform", "UTC")
    listed = door.get("/meters?shared=true")[1]["data"]
    assert [one["id"] for one in listed] == [added["id"]]
    assert [one["tenant"] for one in door.get("/meters")[1]["data"]] == ["acme", None]
    in_phase = {**everybodys, "level": "phase", "subject": "private_beta", "tenant": None}
    assert door.post("/meters", in_phase)[1]["name"] == "image-generation-private-beta-image-day"
    assert door.patch(f"/meters/{added['id']}", {"cap": 5, "reason": "more"}, If_Match='"1"')[1]["cap"] == 5
    assert [one["meter"] for one in partner(services).get("/quotas")[1]["data"]] == [meter["id"]]


def test_a_meter_of_each_end_user_shows_the_fullest_windows(services: SimpleNamespace, door: Door) -> None:
    status, added, _ = door.post("/meters", {**BY_DAY, "level": "end_user", "name": "user-day"})
    assert (status, added["windows"]) == (201, [])
    known = services.state.fresh_facts("acme")
    for end_user, images in (("ana", 1), ("budi", 3)):
        asked = request(*known.meters, images=images, meter_rev=known.meter_rev, end_user=end_user)
        with services.ledger.hold(asked) as held:
            held.settle(actual(images), RESULT)
    windows = door.get(f"/meters/{added['id']}")[1]["windows"]
    assert [(one["used"], one["remaining"]) for one in windows] == [(3, 0), (1, 2)]
    assert all(len(one["subject"]) == 40 for one in windows), "the books hold no names"
    asking = partner(services)
    status, mine, _ = asking.send("GET", "/quotas", x_rollout_end_user="budi")
    assert [(one["level"], one["used"]) for one in mine["data"]] == [("end_user", 3)]
    assert asking.get("/quotas")[1]["data"][0]["used"] == 0


def test_alerts_are_listed_by_tenant_meter_and_time_in_pages(
    services: SimpleNamespace, door: Door, meter: Any
) -> None:
    known = services.state.fresh_facts("acme")
    with services.ledger.hold(request(*known.meters, images=3, meter_rev=known.meter_rev)) as held:
        held.settle(actual(3), RESULT)
    status, listed, _ = door.get("/alerts?tenant=acme")
    assert (status, [one["threshold"] for one in listed["data"]]) == (200, [100, 80, 50])
    assert listed["data"][0] == {
        "at": "2026-11-22T12:00:00Z", "tenant": "acme", "meter": meter["id"], "name": "image-day", "level": "feature",
        "feature": GENERATION, "unit": "image", "period": "day", "subject": None, "threshold": 100, "cap": 3, "used": 3,
        "held": 0, "window": {"start": "2026-11-21T17:00:00Z", "ends": "2026-11-22T17:00:00Z"},
    }  # fmt: skip
    first = door.get("/alerts?limit=2")[1]
    second = door.get(f"/alerts?limit=2&cursor={first['next_cursor']}")[1]
    assert [one["threshold"] for one in first["data"] + second["data"]] == [100, 80, 50]
    assert second["next_cursor"] is None
    assert door.get("/alerts?since=2026-11-22T12:00:01Z")[1]["data"] == []
    assert door.get("/alerts?meter=mtr_none")[1]["data"] == []
    assert door.get("/alerts?tenant=nobody")[0] == 404
    assert door.get("/alerts?since=tomorrow")[1]["param"] == "since"
    assert door.get("/alerts?cursor=5")[1]["param"] == "cursor"
