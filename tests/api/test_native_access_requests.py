"""/api/v1/access-requests: what a partner may ask, sees of its own, and never sees of others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, BOB, Door, application, partner_door, wire

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.db.engine import Database

COVERS = {"feature": GENERATION, "use_case": "covers", "expected_volume": 500, "terms_version": "2026-10"}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def acme(services: SimpleNamespace) -> Door:
    return partner_door(services, "acme")


def test_a_partner_asks_sees_its_place_and_takes_the_request_back(
    services: SimpleNamespace, acme: Door
) -> None:
    status, request, _ = acme.post("/access-requests", COVERS)
    assert status == 201
    assert request == {
        "id": request["id"],
        "state": "waiting",
        "position": 1,
        **COVERS,
        "created_at": "2026-11-22T12:00:00Z",
        "decided_at": None,
        "decision_reason": None,
    }
    path = f"/access-requests/{request['id']}"
    assert acme.get(path)[1] == request
    assert acme.get("/access-requests")[1] == {"data": [request], "next_cursor": None}
    status, withdrawn, _ = acme.post(f"{path}/withdraw")
    assert (status, withdrawn["state"], withdrawn["position"]) == (200, "withdrawn", None)
    (row, _) = services.audit.page(subject=request["id"], limit=9)
    assert (row["action"], row["actor"][:8], row["tenant_id"]) == (
        "access_request.withdrawn",
        "key:key_",
        "acme",
    )


def test_asking_again_is_200_with_the_request_that_waits(acme: Door) -> None:
    _, first, _ = acme.post("/access-requests", COVERS)
    status, again, _ = acme.post("/access-requests", {**COVERS, "use_case": "other words"})
    assert (status, again) == (200, first)


@pytest.mark.parametrize("feature", [GENERATION, ANALYSIS])
def test_who_is_in_already_is_told_so(services: SimpleNamespace, acme: Door, feature: str) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "beta partner")
    status, problem, _ = acme.post("/access-requests", {**COVERS, "feature": feature})
    assert (status, problem["code"]) == (409, "conflict")
    assert feature in problem["remedy"]


def test_a_partner_reads_why_it_was_denied_and_not_by_whom(services: SimpleNamespace, acme: Door) -> None:
    request_id = acme.post("/access-requests", COVERS)[1]["id"]
    services.access.deny(BOB, request_id, "not in this phase")
    _, denied, _ = acme.get(f"/access-requests/{request_id}")
    assert (denied["state"], denied["decision_reason"]) == ("denied", "not in this phase")
    status, problem, _ = acme.post(f"/access-requests/{request_id}/withdraw")
    assert (status, problem["code"]) == (409, "conflict")
    assert "bob" not in repr([denied, problem])


def test_the_reason_of_an_approval_stays_inside(services: SimpleNamespace, acme: Door) -> None:
    request_id = acme.post("/access-requests", COVERS)[1]["id"]
    services.access.approve(BOB, request_id, "sales insisted")
    _, approved, _ = acme.get(f"/access-requests/{request_id}")
    assert (approved["state"], approved["decision_reason"]) == ("approved", None)
    assert "sales" not in repr(approved)


def test_another_tenants_requests_are_not_there(services: SimpleNamespace, acme: Door) -> None:
    request_id = acme.post("/access-requests", COVERS)[1]["id"]
    globex = partner_door(services, "globex")
    for status, problem, _ in (
        globex.get(f"/access-requests/{request_id}"),
        globex.post(f"/access-requests/{request_id}/withdraw"),
    ):
        assert (status, problem["code"]) == (404, "not_found")
    assert globex.get("/access-requests")[1]["data"] == []
    assert acme.get(f"/access-requests/{request_id}")[1]["state"] == "waiting"


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"feature": "video"}, "feature"),
        ({"use_case": "  "}, "use_case"),
        ({"use_case": "x" * 4001}, "use_case"),
        ({"use_case": None}, "use_case"),
        ({"expected_volume": -1}, "expected_volume"),
        ({"expected_volume": "many"}, "expected_volume"),
        ({"expected_volume": 2**70}, "expected_volume"),
        ({"terms_version": "x" * 65}, "terms_version"),
        ({"volume": 5}, "volume"),
    ],
)
def test_a_wrong_question_is_refused_by_field_and_asks_nothing(
    acme: Door, changed: dict[str, Any], param: str
) -> None:
    status, problem, _ = acme.post("/access-requests", COVERS | changed)
    assert (status, problem["code"], problem["param"]) == (400, "invalid_request", param)
    assert acme.get("/access-requests")[1]["data"] == []


def test_an_unknown_feature_is_answered_with_those_that_there_are(acme: Door) -> None:
    problem = acme.post("/access-requests", {**COVERS, "feature": "video"})[1]
    assert GENERATION in problem["message"]
    assert ANALYSIS in problem["message"]


def test_a_text_that_no_database_keeps_is_bad_input_and_no_failure(acme: Door) -> None:
    status, problem, _ = acme.post("/access-requests", {**COVERS, "use_case": "covers\x00"})
    assert (status, problem["code"]) == (400, "invalid_request")


def test_a_body_that_is_no_json_is_refused(services: SimpleNamespace, acme: Door) -> None:
    client = application(services).test_client()
    headers = dict(acme._authorization)
    for body, kind, status in (
        (b"{", "application/json", 400),
        (b"a=b", "text/plain", 415),
        (b"", "application/json", 400),
    ):
        answer = client.post("/api/v1/access-requests", data=body, content_type=kind, headers=headers)
        assert answer.status_code == status


def test_a_key_without_the_scope_read_is_told_what_it_lacks(services: SimpleNamespace) -> None:
    door = partner_door(services, "acme", ("generate",))
    status, problem, _ = door.post("/access-requests", COVERS)
    assert (status, problem["code"]) == (403, "permission_denied")
    assert "'read'" in problem["message"]
