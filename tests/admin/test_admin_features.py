"""/admin/api/v1: features, plans, explain, workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, Door, admin_door
from phases import wire_phases, worker

from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.steps import Pause
from rollout.core.tokens import Role
from rollout.db.engine import Database

PLAN = f"/plans/{GENERATION}"
KILL, REVIVE = f"/features/{GENERATION}/kill", f"/features/{GENERATION}/revive"


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services)


def test_features_are_listed_and_shown_with_an_etag(door: Door) -> None:
    status, listed, _ = door.get("/features")
    assert (status, [row["feature"] for row in listed["data"]]) == (200, [GENERATION, ANALYSIS])
    status, shown, headers = door.get(f"/features/{GENERATION}")
    assert (status, shown["killed"], shown["phase"], headers["ETag"]) == (200, False, "private_beta", '"0"')
    assert door.get("/features/image-painting")[0] == 404


def test_a_kill_answers_how_far_it_has_spread(door: Door, services: SimpleNamespace, clock: Any) -> None:
    here = worker(services, "here", clock)
    here.register()
    status, told, _ = door.post(KILL, {"reason": "bad pictures", "in_flight": "withhold"})
    assert (status, told["killed"], told["tenant"]) == (200, True, None)
    assert told["acks"] == {"expected": 1, "received": 0, "slowest_ms": None, "gone": 0}
    services.state.refresh()
    here.report()
    _, shown, headers = door.get(f"/features/{GENERATION}")
    assert (shown["acks"]["received"], shown["kill"]["in_flight"]) == (1, "withhold")
    assert headers["ETag"] == f'"{told["revision"]}"'


def test_one_tenant_is_stopped_by_naming_it_and_revived_alike(door: Door) -> None:
    assert door.post(KILL, {"reason": "abuse", "tenant": "acme"})[1]["tenant"] == "acme"
    assert [row["tenant"] for row in door.get(f"/features/{GENERATION}")[1]["halts"]] == ["acme"]
    assert door.post(REVIVE, {"reason": "sorted out", "tenant": "acme"})[1]["killed"] is False
    assert door.get(f"/features/{GENERATION}")[1]["halts"] == []


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "reason"),
        ({"reason": "x", "in_flight": "drop"}, 400, "in_flight"),
        ({"reason": "x", "tenant": "nobody"}, 404, "tenant"),
        ({"reason": "x", "remind_at": "tomorrow"}, 400, "remind_at"),
        ({"reason": "x", "remind_at": "2020-01-01T00:00:00Z"}, 400, "remind_at"),
        ({"reason": "x", "everything": True}, 400, "everything"),
    ],
)
def test_a_kill_that_makes_no_sense_names_the_field(door: Door, body: Any, status: int, param: str) -> None:
    answered, problem, _ = door.post(KILL, body)
    assert (answered, problem["param"]) == (status, param)
    assert door.get(f"/features/{GENERATION}")[1]["killed"] is False


def test_an_editor_stops_and_an_admin_revives(services: SimpleNamespace) -> None:
    viewer, editor, admin = (_as(services, role) for role in ("viewer", "editor", "admin"))
    assert viewer.post(KILL, {"reason": "x"})[0] == 403
    assert editor.post(KILL, {"reason": "bad pictures"})[0] == 200
    assert editor.post(REVIVE, {"reason": "x"})[0] == 403
    assert admin.post(REVIVE, {"reason": "fixed"})[0] == 200
    assert admin.post(REVIVE, {"reason": "fixed"})[1]["code"] == "conflict"


def _as(services: SimpleNamespace, role: Any) -> Door:
    wanted: Role = role
    return admin_door(services, wanted, wanted)


def test_a_plan_is_shown_with_its_runs_and_an_etag(door: Door) -> None:
    status, plan, headers = door.get(PLAN)
    assert (status, plan["run"]["phase"], len(plan["runs"]), headers["ETag"]) == (
        200,
        "private_beta",
        1,
        '"1"',
    )
    assert [row["feature"] for row in door.get("/plans")[1]["data"]] == [GENERATION]
    assert door.get(f"/plans/{ANALYSIS}")[0] == 404


def test_a_plan_is_advanced_paused_resumed_and_rolled_back(door: Door) -> None:
    status, moved, headers = door.post(f"{PLAN}/advance", {"reason": "ready"})
    assert (status, moved["run"]["phase"], headers["ETag"]) == (200, "wider_beta", '"2"')
    assert moved["tenants"] == {"gained": 0, "lost": 0, "examined": 2, "complete": True}
    assert door.post(f"{PLAN}/pause", {"reason": "wait"})[1]["run"]["state"] == "paused"
    status, problem, _ = door.post(f"{PLAN}/advance", {"reason": "ready"})
    assert (status, problem["code"]) == (409, "conflict")
    assert door.post(f"{PLAN}/resume", {"reason": "go on"})[1]["run"]["state"] == "running"
    assert door.post(f"{PLAN}/rollback", {"reason": "no", "to": "internal"})[1]["run"]["phase"] == "internal"


def test_a_move_honours_if_match_where_it_is_sent(door: Door) -> None:
    etag = door.get(PLAN)[2]["ETag"]
    assert door.post(f"{PLAN}/advance", {"reason": "mine"}, If_Match=etag)[0] == 200
    status, problem, _ = door.post(f"{PLAN}/advance", {"reason": "mine too"}, If_Match=etag)
    assert (status, problem["code"], problem["current"]["run"]["phase"]) == (
        409,
        "stale_version",
        "wider_beta",
    )
    assert door.post(f"{PLAN}/rollback", {"reason": "in a hurry"})[0] == 200


@pytest.mark.parametrize("verb", ["advance", "rollback", "pause", "resume"])
def test_a_move_needs_an_editor_and_a_reason(door: Door, services: SimpleNamespace, verb: str) -> None:
    if verb == "resume":
        services.change_requests.submit(ALICE, GENERATION, Pause(), "wait")
    assert _as(services, "viewer").post(f"{PLAN}/{verb}", {"reason": "x"})[0] == 403
    status, problem, _ = door.post(f"{PLAN}/{verb}", {})
    assert (status, problem["param"]) == (400, "reason")


def test_why_a_tenant_is_out(door: Door) -> None:
    status, found, _ = door.get(f"/explain?tenant=globex&feature={GENERATION}")
    assert (status, found["decision"]["reason"]) == (200, "not_granted")
    assert found["would_change"]
    assert door.get(f"/explain?tenant=nobody&feature={GENERATION}")[0] == 404
    assert door.get("/explain?tenant=globex")[1]["param"] == "feature"
    for at in ("2026-11-23T00:00:00Z", "yesterday"):
        assert door.get(f"/explain?tenant=globex&feature={GENERATION}&at={at}")[1]["param"] == "at"
    status, found, _ = door.get(f"/explain?tenant=globex&feature={GENERATION}&at=2026-11-22T12:00:00Z")
    assert (status, found["at"], found["decision"]["allowed"]) == (200, "2026-11-22T12:00:00Z", False)
    assert door.get("/explain?tenant=globex&feature=image-painting")[1]["param"] == "feature"


def test_workers_are_listed(door: Door, services: SimpleNamespace, clock: Any) -> None:
    worker(services, "here", clock).register()
    status, listed, _ = door.get("/workers")
    revision = services.state.snapshot.revision
    assert status == 200
    assert [(row["id"], row["state"], row["revision"]) for row in listed["data"]] == [
        ("here", "running", revision)
    ]
