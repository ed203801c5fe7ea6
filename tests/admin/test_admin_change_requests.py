"""Change requests and schedules through the admin API: 202, who may approve, hashes, bad input, and that two at once are one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import Door, admin_door, wire

from rollout.core.decisions import GENERATION
from rollout.db.engine import Database

PLAN = f"/plans/{GENERATION}"
NONE = "chg_none"


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def ana(services: SimpleNamespace) -> Door:
    return admin_door(services, "ana", "editor")


@pytest.fixture
def ben(services: SimpleNamespace) -> Door:
    return admin_door(services, "ben", "editor")


def four_eyes(door: Door) -> None:
    _, _, headers = door.get(PLAN)
    status, _, _ = door.patch(PLAN, {"four_eyes": True, "reason": "two people"}, If_Match=headers["ETag"])
    assert status == 200


def phase(door: Door) -> str:
    name: str = door.get(PLAN)[1]["run"]["phase"]
    return name


def test_a_step_that_needs_another_person_is_accepted_and_waits(ana: Door, ben: Door) -> None:
    four_eyes(ana)
    status, request, _ = ana.post(f"{PLAN}/advance", {"reason": "ready"})
    assert (status, request["state"], request["step"]) == (202, "waiting", {"do": "advance"})
    assert ana.get(PLAN)[1]["waits_for"]["change_requests"][0]["id"] == request["id"]
    address = f"/change-requests/{request['id']}"
    assert ana.get(address)[2]["ETag"] == '"1"'

    status, refused, _ = ana.post(f"{address}/approve", {"reason": "mine"})
    assert (status, refused["code"]) == (403, "permission_denied")
    status, stale, _ = ben.post(f"{address}/approve", {"content_hash": "0" * 64, "reason": "other"})
    assert (status, stale["code"]) == (409, "stale_version")
    assert phase(ana) == "private_beta"

    saw = {"content_hash": request["content_hash"], "reason": "fine"}
    status, done, _ = ben.post(f"{address}/approve", saw)
    assert (status, done["change_request"]["state"]) == (200, "applied")
    assert done["plan"]["run"]["phase"] == phase(ana) == "wider_beta"
    assert ben.post(f"{address}/approve", saw)[0] == 409


def test_what_waits_is_approved_by_the_plans_address(ana: Door, ben: Door) -> None:
    four_eyes(ana)
    assert ben.post(f"{PLAN}/approve", {"reason": "yes"})[0] == 409
    request = ana.post(f"{PLAN}/jump", {"to": "percentage", "reason": "ready"})[1]
    named = {"change_request": request["id"], "reason": "yes"}
    assert ben.post(f"{PLAN}/approve", {**named, "change_request": NONE})[0] == 409
    assert ben.post(f"{PLAN}/approve", named)[1]["plan"]["run"]["phase"] == "percentage"
    assert ben.post("/plans/image-painting/approve", {"reason": "yes"})[0] == 404


def test_an_edit_in_between_voids_it(ana: Door, ben: Door) -> None:
    four_eyes(ana)
    request = ana.post(f"{PLAN}/advance", {"reason": "ready"})[1]
    assert ben.post(f"{PLAN}/pause", {"reason": "wait"})[0] == 200
    assert ana.get(f"/change-requests/{request['id']}")[1]["state"] == "void"
    status, refused, _ = ben.post(f"/change-requests/{request['id']}/approve", {"reason": "late"})
    assert (status, refused["state"]) == (409, "void")


def test_others_reject_and_the_author_withdraws(ana: Door, ben: Door) -> None:
    four_eyes(ana)
    first = ana.post(f"{PLAN}/advance", {"reason": "ready"})[1]["id"]
    assert ben.post(f"/change-requests/{first}/withdraw", {"reason": "no"})[0] == 403
    assert ben.post(f"/change-requests/{first}/reject", {"reason": "no"})[1]["state"] == "rejected"
    second = ana.post(f"{PLAN}/advance", {"reason": "ready"})[1]["id"]
    assert ana.post(f"/change-requests/{second}/withdraw", {"reason": "oops"})[1]["state"] == "withdrawn"
    listed = ana.get("/change-requests?limit=1")[1]
    assert ([one["id"] for one in listed["data"]], listed["next_cursor"]) == ([second], second)
    rejected = ana.get(f"/change-requests?state=rejected&feature={GENERATION}")[1]["data"]
    assert [one["id"] for one in rejected] == [first]
    assert ana.get("/change-requests?state=open")[0] == 400


def test_unmet_gates_are_refused_with_what_is_missing(ana: Door) -> None:
    assert ana.post(f"{PLAN}/restart", {"patch": {"exit": {"requests": 5}}, "reason": "gate"})[0] == 200
    status, refused, _ = ana.post(f"{PLAN}/advance", {"reason": "ready"})
    assert (status, refused["code"]) == (409, "conflict")
    (condition,) = refused["unmet"]
    assert (condition["name"], condition["word"], condition["missing"]) == ("requests", "no_data", 5)
    waits = ana.get(PLAN)[1]["waits_for"]
    assert (waits["conditions"], waits["approvals_needed"]) == ([condition], 0)


def test_a_step_is_scheduled_shown_and_cancelled(ana: Door, ben: Door) -> None:
    planned = {"at": "2026-11-22T14:00:00Z", "do": "advance", "to": "percentage", "reason": "agreed"}
    status, written, headers = ana.post(f"{PLAN}/schedule", planned)
    assert (status, headers["ETag"], written["stale"]) == (201, '"1"', False)
    assert written["step"] == {"do": "advance", "to": "percentage"}
    assert [one["id"] for one in ana.get(PLAN)[1]["schedules"]] == [written["id"]]
    assert ben.post(f"{PLAN}/pause", {"reason": "wait"})[0] == 200
    address = f"/schedules/{written['id']}"
    assert ana.get(address)[1]["stale"] is True
    assert ana.get(f"/schedules?state=pending&feature={GENERATION}")[1]["data"][0]["stale"] is True
    assert ben.post(f"{address}/cancel", {"reason": "no"}, If_Match='"7"')[0] == 409
    assert ben.post(f"{address}/cancel", {"reason": "no"}, If_Match='"1"')[1]["state"] == "cancelled"
    assert ben.post(f"{address}/cancel", {"reason": "no"})[0] == 409
    assert ana.get(PLAN)[1]["schedules"] == []


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"at": "2026-11-22T11:59:59Z"}, "at"),
        ({"at": "2026-11-22T14:00:00"}, "at"),
        ({"at": "soon"}, "at"),
        ({"do": "dance"}, "do"),
        ({"do": "jump"}, "to"),
        ({"to": "nowhere"}, "to"),
        ({"patch": {}}, "patch"),
        ({"do": "edit", "patch": {"phases": {"percentage": {"basis_points": 5}}}}, None),
        ({"reason": " "}, "reason"),
        ({"when": "soon"}, "when"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_with_its_field(
    ana: Door, changed: dict[str, Any], param: str | None
) -> None:
    planned = {"at": "2026-11-22T14:00:00Z", "do": "advance", "reason": "agreed", **changed}
    status, refused, _ = ana.post(f"{PLAN}/schedule", planned)
    assert status == 400
    assert param is None or refused["param"] == param
    assert ana.get("/schedules")[1]["data"] == []


def test_who_only_reads_changes_nothing_and_unknown_ids_are_not_there(
    services: SimpleNamespace, ana: Door
) -> None:
    viewer = admin_door(services, "vic", "viewer")
    for path in (
        f"{PLAN}/approve",
        f"{PLAN}/schedule",
        "/schedules/sch_none/cancel",
        f"/change-requests/{NONE}/approve",
        f"/change-requests/{NONE}/reject",
        f"/change-requests/{NONE}/withdraw",
    ):
        assert viewer.post(path, {"reason": "x", "at": "2026-11-22T14:00:00Z", "do": "pause"})[0] == 403
    for path in ("/schedules/sch_none", f"/change-requests/{NONE}"):
        assert viewer.get(path)[0] == 404
    assert ana.post("/schedules/sch_none/cancel", {"reason": "x"})[0] == 404
