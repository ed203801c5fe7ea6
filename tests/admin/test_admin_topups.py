"""/admin/api/v1/topups and /adjustments: given once however often they are asked for, refused with the field's name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import Door, admin_door, wire
from ledgers import ledger_on

from rollout.core.decisions import GENERATION
from rollout.db.engine import Database
from rollout.services.adjustments import Adjustments
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.meters import Meters
from rollout.services.topups import TopUps

USED = {"tenant": "acme", "feature": GENERATION, "unit": "image", "amount": 2, "reason": "ticket 812"}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    made, changes = wire(database, clock), Changes(database)
    ledger = ledger_on(database)
    made.meters = Meters(database, changes, new_id)
    made.topups = TopUps(database, changes, ledger, new_id)
    made.adjustments = Adjustments(database, changes, ledger, new_id)
    return made


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services)


@pytest.fixture
def asked(door: Door) -> dict[str, Any]:
    """A top-up of a new meter."""
    body = {
        "tenant": "acme",
        "feature": GENERATION,
        "unit": "image",
        "period": "life",
        "cap": 3,
        "reason": "quota",
    }
    return {"meter": door.post("/meters", body)[1]["id"], "amount": 5, "reason": "launch"}


def test_a_top_up_is_given_listed_shown_and_taken_back(door: Door, asked: dict[str, Any]) -> None:
    status, added, _ = door.post("/topups", {**asked, "expires": "2026-11-30T00:00:00+07:00"})
    assert status == 201
    assert (added["tenant"], added["amount"], added["expires"]) == ("acme", 5, "2026-11-29T17:00:00Z")
    assert door.get(f"/topups/{added['id']}")[1] == added
    assert door.get(f"/topups?tenant=acme&meter={asked['meter']}")[1] == {
        "data": [added],
        "next_cursor": None,
    }
    assert door.get("/topups?tenant=globex")[1]["data"] == []
    status, void, _ = door.post(f"/topups/{added['id']}/void", {"reason": "not needed"})
    assert (status, void["voided_at"]) == (200, "2026-11-22T12:00:00Z")
    assert door.post(f"/topups/{added['id']}/void", {"reason": "again"})[0] == 409


def test_the_same_id_is_one_top_up_and_another_content_a_conflict(door: Door, asked: dict[str, Any]) -> None:
    first = door.post("/topups", {**asked, "id": "top_1"})
    again = door.post("/topups", {**asked, "id": "top_1"})
    assert (first[0], again[0]) == (201, 200)
    assert first[1] == again[1]
    status, problem, _ = door.post("/topups", {**asked, "id": "top_1", "amount": 6})
    assert (status, problem["param"]) == (409, "id")


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("amount", 0, 400),
        ("amount", "5", 400),
        ("amount", 1.5, 400),
        ("amount", 10**30, 400),
        ("meter", "mtr_nothing", 404),
        ("expires", "2026-11-22T11:00:00Z", 400),
        ("effective", "2026-11-22T11:00:00Z", 400),
        ("effective", "tomorrow", 400),
        ("subject", "key_1", 400),
        ("id", "mine", 400),
        ("reason", "", 400),
        ("colour", "red", 400),
    ],
)
def test_a_top_up_that_makes_no_sense_names_the_field(
    door: Door, asked: dict[str, Any], field: str, value: Any, status: int
) -> None:
    found, problem, _ = door.post("/topups", {**asked, field: value})
    assert (found, problem["param"]) == (status, field)
    assert door.get("/topups")[1]["data"] == []


def test_an_adjustment_is_made_listed_and_shown_once_for_an_id(door: Door) -> None:
    first = door.post("/adjustments", {**USED, "id": "adj_812", "at": "2026-11-22T12:00:00Z"})
    again = door.post("/adjustments", {**USED, "id": "adj_812"})
    assert (first[0], again[0]) == (201, 200)
    assert first[1] == again[1]
    assert door.get("/adjustments/adj_812")[1] == first[1]
    assert door.get("/adjustments?tenant=acme")[1]["data"] == [first[1]]
    assert door.get("/adjustments?tenant=globex")[1]["data"] == []
    assert door.get("/adjustments/adj_813")[0] == 404
    status, problem, _ = door.post("/adjustments", {**USED, "id": "adj_812", "amount": 3})
    assert (status, problem["param"]) == (409, "id")


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("amount", 0, 400),
        ("amount", True, 400),
        ("amount", 2**60, 400),
        ("unit", "slot", 400),
        ("feature", "image-dreaming", 400),
        ("tenant", "nobody", 404),
        ("at", "2026-11-22T12:00:01Z", 400),
        ("at", "2020-11-22T12:00:01Z", 400),
        ("reason", " ", 400),
    ],
)
def test_an_adjustment_that_makes_no_sense_names_the_field(
    door: Door, field: str, value: Any, status: int
) -> None:
    found, problem, _ = door.post("/adjustments", {**USED, field: value})
    assert (found, problem.get("param", field)) == (status, field)
    assert door.get("/adjustments")[1]["data"] == []


def test_a_viewer_changes_nothing(services: SimpleNamespace, asked: dict[str, Any]) -> None:
    viewer = admin_door(services, "vic", "viewer")
    assert viewer.get("/topups")[0] == viewer.get("/adjustments")[0] == 200
    assert viewer.post("/topups", asked)[0] == viewer.post("/adjustments", USED)[0] == 403
    assert viewer.post("/topups/top_1/void", {"reason": "no"})[0] == 403
