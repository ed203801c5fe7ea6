"""/admin/api/v1/requests, and the audit log as it is searched and taken away."""

from __future__ import annotations

import csv
import dataclasses
from types import SimpleNamespace

import pytest
from clocks import Clock
from doors import ALICE, Door, admin_door, application, partner_door, wire

from rollout.core.tokens import NewToken
from rollout.db.engine import Database


@pytest.fixture
def services(database: Database, clock: Clock) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services, "vera", "viewer")


def refuse(services: SimpleNamespace, tenant: str = "acme", times: int = 1) -> list[str]:
    """Request ids of calls that lack a scope, oldest first."""
    partner = partner_door(services, tenant, scopes=("generate",))
    return [partner.get("/me")[2]["x-request-id"] for _ in range(times)]


def test_refused_requests_are_listed_page_by_page(services: SimpleNamespace, door: Door) -> None:
    ids = refuse(services, times=3)
    refuse(services, "globex")
    _, first, _ = door.get("/requests?tenant=acme&code=permission_denied&limit=2")
    _, rest, _ = door.get(f"/requests?tenant=acme&cursor={first['next_cursor']}")
    rows = first["data"] + rest["data"]
    assert sorted(row["request_id"] for row in rows) == sorted(ids)
    assert (len(first["data"]), rest["next_cursor"]) == (2, None)
    assert (rows[0]["route"], rows[0]["status"], rows[0]["at"]) == ("/api/v1/me", 403, "2026-11-22T12:00:00Z")
    assert rows[0]["members"]["remedy"] == "Use a key with the scope 'read'."
    assert door.get("/requests?from=2026-11-23T00:00:00Z")[1] == {"data": [], "next_cursor": None}


def test_they_are_counted_by_code_and_route(services: SimpleNamespace, door: Door) -> None:
    refuse(services, times=2)
    assert door.get("/requests/summary")[1] == {
        "from": "2026-11-21T12:00:00Z",
        "data": [
            {
                "code": "permission_denied",
                "status": 403,
                "route": "/api/v1/me",
                "count": 2,
                "last_at": "2026-11-22T12:00:00Z",
            }
        ],
    }


def test_a_story_is_told_by_the_request_id(services: SimpleNamespace, door: Door) -> None:
    (request_id,) = refuse(services)
    status, story, _ = door.get(f"/requests/{request_id}")
    assert (status, story["tenant"], story["outcome"]) == (200, "acme", "refused")
    assert [event["kind"] for event in story["events"]] == ["called", "refused"]
    assert story["events"][1]["values"]["code"] == "permission_denied"
    status, problem, _ = door.get("/requests/dec_1")
    assert (status, problem["code"], problem["param"]) == (404, "not_found", "id")
    assert "hold_" in problem["remedy"]


def test_a_call_at_the_admin_api_is_no_tenants_request(services: SimpleNamespace, door: Door) -> None:
    assert door.get("/requests/req_0")[0] == 404
    assert door.get("/requests")[1]["data"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [("cursor=req_0", "cursor"), ("limit=0", "limit"), ("from=yesterday", "from"), ("phase=x", "phase")],
)
def test_a_wrong_filter_is_refused_by_name(door: Door, query: str, param: str) -> None:
    status, problem, _ = door.get(f"/requests?{query}")
    assert (status, problem["param"]) == (400, param)


def test_long_lists_are_taken_away_whole(services: SimpleNamespace) -> None:
    refuse(services, times=3)
    (template,) = services.requests.page(limit=1)
    for number in range(600):
        services.requests.note(dataclasses.replace(template, request_id=f"req_{number:03}", message="=1+1"))
    token = services.tokens.add(ALICE, NewToken("exporter", "viewer"), "test").secret
    client = application(services).test_client()
    headers = {"Authorization": f"Bearer {token}"}
    answer = client.get("/admin/api/v1/requests/export?format=csv", headers=headers)
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert len(rows) == 603
    assert {row["message"] for row in rows if row["message"].endswith("=1+1")} == {"'=1+1"}
    whole = client.get("/admin/api/v1/audit/export?tenant=acme&format=json", headers=headers).get_json()
    assert [row["subject"] for row in whole][-1] == "acme"


def test_the_audit_log_is_searched_by_who_what_and_when(door: Door) -> None:
    _, found, _ = door.get("/audit?actor=token:alice&action=tenant.added&tenant=globex")
    assert [row["subject"] for row in found["data"]] == ["globex"]
    assert door.get("/audit?action=tenant.added&to=2026-11-22T12:00:00Z")[1]["data"] == []
    assert len(door.get("/audit?action=tenant.added&from=2026-11-22T12:00:00Z")[1]["data"]) == 2
