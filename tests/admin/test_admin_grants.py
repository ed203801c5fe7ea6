"""/admin/api/v1/grants"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import Door, admin_door, wire

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.db.engine import Database

BETA = {"tenant": "acme", "feature": GENERATION, "reason": "beta partner"}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services, role="editor")


def test_a_grant_is_given_shown_prolonged_and_revoked(door: Door) -> None:
    status, grant, headers = door.post("/grants", {**BETA, "expires_at": "2027-03-01T07:00:00+07:00"})
    assert (status, headers["ETag"]) == (201, '"1"')
    assert grant == {
        "id": grant["id"],
        "tenant": "acme",
        "feature": GENERATION,
        "state": "active",
        "starts_at": "2026-11-22T12:00:00Z",
        "expires_at": "2027-03-01T00:00:00Z",
        "cohort": None,
        "reason": "beta partner",
    }
    path = f"/grants/{grant['id']}"
    assert door.get(path)[1] == grant
    status, longer, headers = door.patch(path, {"expires_at": None, "reason": "they stay"}, If_Match='"1"')
    assert (status, longer["expires_at"], headers["ETag"]) == (200, None, '"2"')
    status, revoked, _ = door.post(f"{path}/revoke", {"reason": "trial is over"})
    assert (status, revoked["state"], revoked["reason"]) == (200, "revoked", "trial is over")


def test_grants_are_listed_by_tenant_and_feature_page_by_page(door: Door) -> None:
    door.post("/grants", BETA)
    door.post("/grants", {**BETA, "tenant": "globex"})
    _, first, _ = door.get("/grants?limit=1")
    _, second, _ = door.get(f"/grants?limit=1&cursor={first['next_cursor']}")
    assert [grant["tenant"] for grant in first["data"] + second["data"]] == ["globex", "acme"]
    assert [
        grant["tenant"] for grant in door.get(f"/grants?tenant=acme&feature={GENERATION}")[1]["data"]
    ] == ["acme"]
    door.post(f"/grants/{second['data'][0]['id']}/revoke", {"reason": "over"})
    assert [grant["tenant"] for grant in door.get("/grants?state=revoked")[1]["data"]] == ["acme"]
    assert door.get("/grants?state=lost")[1]["param"] == "state"
    status, problem, _ = door.get("/grants?tennant=acme")
    assert (status, problem["param"]) == (400, "tennant")


def test_a_change_says_what_it_is_based_on(door: Door) -> None:
    path = f"/grants/{door.post('/grants', BETA)[1]['id']}"
    change = {"expires_at": "2027-03-01T00:00:00Z", "reason": "trial"}
    assert door.patch(path, change)[1]["code"] == "precondition_required"
    door.patch(path, change, If_Match='"1"')
    status, problem, _ = door.patch(path, {**change, "expires_at": None}, If_Match='"1"')
    assert (status, problem["code"], problem["current"]["expires_at"]) == (
        409,
        "stale_version",
        "2027-03-01T00:00:00Z",
    )
    assert door.patch(path, change, If_Match="soon")[1]["param"] == "If-Match"
    assert door.patch(path, {"reason": "nothing"}, If_Match='"2"')[1]["param"] == "expires_at"


@pytest.mark.parametrize(
    ("changed", "status", "param"),
    [
        ({"feature": ANALYSIS}, 400, "feature"),
        ({"feature": "video"}, 400, "feature"),
        ({"tenant": "nobody"}, 404, "tenant"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 400, "expires_at"),
        ({"expires_at": "9999-01-01T00:00:00Z"}, 400, "expires_at"),
        ({"cohort": "a,b"}, 400, "cohort"),
        ({"reason": " "}, 400, "reason"),
        ({"until": "2027-01-01"}, 400, "until"),
    ],
)
def test_a_wrong_grant_is_refused_by_field(
    door: Door, changed: dict[str, str], status: int, param: str
) -> None:
    answered, problem, _ = door.post("/grants", BETA | changed)
    assert (answered, problem["param"]) == (status, param)
    assert door.get("/grants")[1]["data"] == []


def test_a_second_grant_is_a_conflict_that_names_the_first(door: Door) -> None:
    first = door.post("/grants", BETA)[1]["id"]
    status, problem, _ = door.post("/grants", BETA)
    assert (status, problem["code"], problem["grant"]) == (409, "conflict", first)


def test_a_character_that_no_database_keeps_is_bad_input_and_no_failure(door: Door) -> None:
    assert door.post("/grants", {**BETA, "tenant": "ac\x00me"})[0] in (400, 404)
    assert door.get("/grants?tenant=%00")[0] in (200, 400)
    assert door.get("/grants/%00")[0] in (400, 404)


def test_a_viewer_gives_nothing(services: SimpleNamespace) -> None:
    assert admin_door(services, "vera", "viewer").post("/grants", BETA)[1]["code"] == "permission_denied"
