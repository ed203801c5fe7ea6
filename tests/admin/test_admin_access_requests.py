"""/admin/api/v1/access-requests"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import Door, admin_door, partner_door, wire

from rollout.core.decisions import GENERATION
from rollout.db.engine import Database


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services, role="editor")


def asked(services: SimpleNamespace, tenant: str = "acme") -> str:
    """The id of a waiting request."""
    body = {"feature": GENERATION, "use_case": "covers", "expected_volume": 500}
    status, request, _ = partner_door(services, tenant).post("/access-requests", body)
    assert status == 201
    return str(request["id"])


def test_an_approval_answers_with_the_request_the_grant_and_the_quota(
    services: SimpleNamespace, door: Door
) -> None:
    request_id = asked(services)
    body = {
        "reason": "a good use case",
        "expires_at": "2027-03-01T00:00:00Z",
        "meters": [{"unit": "image", "period": "day", "cap": 3}],
    }
    status, approved, headers = door.post(f"/access-requests/{request_id}/approve", body, If_Match='"1"')
    assert (status, approved["state"], approved["decided_by"], headers["ETag"]) == (
        200,
        "approved",
        "token:alice",
        '"2"',
    )
    assert (approved["grant"]["state"], approved["grant"]["expires_at"]) == ("active", "2027-03-01T00:00:00Z")
    (meter,) = approved["meters"]
    assert (meter["name"], meter["feature"], meter["cap"], meter["hard"]) == (
        "image-day",
        GENERATION,
        3,
        True,
    )
    shown = door.get(f"/access-requests/{request_id}")[1]
    assert shown == {name: value for name, value in approved.items() if name not in ("grant", "meters")}


def test_requests_are_listed_as_a_queue(services: SimpleNamespace, door: Door) -> None:
    first, second = asked(services, "acme"), asked(services, "globex")
    _, page, _ = door.get("/access-requests?state=waiting&limit=1")
    assert [(row["id"], row["tenant"], row["position"]) for row in page["data"]] == [(first, "acme", 1)]
    _, page, _ = door.get(f"/access-requests?state=waiting&cursor={page['next_cursor']}")
    assert [(row["id"], row["position"], row["use_case"]) for row in page["data"]] == [(second, 2, "covers")]
    assert door.get(f"/access-requests?tenant=globex&feature={GENERATION}")[1]["data"][0]["id"] == second
    assert door.get("/access-requests?state=lost")[1]["param"] == "state"


def test_a_second_decision_is_a_conflict_that_says_who_was_first(
    services: SimpleNamespace, door: Door
) -> None:
    request_id = asked(services)
    status, denied, _ = door.post(f"/access-requests/{request_id}/deny", {"reason": "not now"})
    assert (status, denied["state"], denied["decision_reason"]) == (200, "denied", "not now")
    for action in ("approve", "deny"):
        status, problem, _ = door.post(f"/access-requests/{request_id}/{action}", {"reason": "I say"})
        assert (status, problem["code"], problem["decided_by"]) == (409, "conflict", "token:alice")
    assert door.get("/grants")[1]["data"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "reason"),
        ({"reason": "r", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"reason": "r", "meters": [{"unit": "pixel", "period": "day", "cap": 1}]}, "meters.0.unit"),
        ({"reason": "r", "meters": [{"unit": "image", "period": "day", "cap": "1"}]}, "meters.0.cap"),
        ({"reason": "r", "meters": [{"unit": "image", "period": "day", "cap": -1}]}, "meters.0.cap"),
        (
            {"reason": "r", "meters": [{"unit": "image", "period": "day", "cap": 1, "colour": "red"}]},
            "meters.0.colour",
        ),
    ],
)
def test_a_wrong_approval_is_refused_by_field_and_approves_nothing(
    services: SimpleNamespace, door: Door, body: dict[str, Any], param: str
) -> None:
    request_id = asked(services)
    status, problem, _ = door.post(f"/access-requests/{request_id}/approve", body)
    assert (status, problem["param"]) == (400, param)
    assert door.get(f"/access-requests/{request_id}")[1]["state"] == "waiting"


def test_a_viewer_decides_nothing_and_an_unknown_request_is_not_found(
    services: SimpleNamespace, door: Door
) -> None:
    viewer = admin_door(services, "vera", "viewer")
    assert viewer.post(f"/access-requests/{asked(services)}/approve", {"reason": "r"})[0] == 403
    assert door.get("/access-requests/acc_none")[1]["code"] == "not_found"
    assert door.post("/access-requests/acc_none/deny", {"reason": "r"})[1]["code"] == "not_found"
