"""/admin/api/v1/plans: versions on the wire, fields named in errors, and steps that wait for a second person."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, Door, admin_door
from phases import wire_phases

from rollout.core.decisions import GENERATION
from rollout.core.steps import Edit
from rollout.db.engine import Database

PLAN = f"/plans/{GENERATION}"


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services)


def share(points: Any) -> dict[str, Any]:
    return {"percentage": {"audience": {"basis_points": points}}}


def test_a_plan_is_patched_on_the_version_that_was_read(door: Door) -> None:
    status, problem, _ = door.patch(PLAN, {"phases": share(1_250), "reason": "slower"})
    assert (status, problem["code"]) == (428, "precondition_required")
    etag = door.get(PLAN)[2]["ETag"]
    status, plan, headers = door.patch(PLAN, {"phases": share(1_250), "reason": "slower"}, If_Match=etag)
    assert (status, plan["phases"][3]["audience"]["basis_points"], headers["ETag"]) == (200, 1_250, '"2"')
    status, problem, _ = door.patch(PLAN, {"phases": share(2_000), "reason": "faster"}, If_Match=etag)
    assert (status, problem["code"]) == (409, "stale_version")
    assert problem["current"]["phases"][3]["audience"]["basis_points"] == 1_250


def test_a_plan_is_put_back_as_it_was_shown_with_another_end(door: Door) -> None:
    shown = door.get(PLAN)[1]
    phases = [*shown["phases"][:4], {**shown["phases"][5], "vendors": ["openai"]}]
    body = {"phases": phases, "four_eyes": False, "reason": "without the half"}
    status, plan, _ = door.send("PUT", PLAN, body, If_Match='"1"')
    assert (status, [phase["key"] for phase in plan["phases"]][3:]) == (
        200,
        ["percentage", "general_availability"],
    )
    assert plan["phases"][4]["vendors"] == ["openai"]
    assert door.send("PUT", PLAN, body)[0] == 428
    assert door.send("PUT", PLAN, {**body, "phases": []}, If_Match='"2"')[1]["param"] == "phases"
    status, problem, _ = door.send("PUT", PLAN, {**body, "phases": phases[1:]}, If_Match='"2"')
    assert (status, problem["code"], problem["param"]) == (409, "conflict", "phases.internal")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"phases": share(12.5)}, 400, "phases.percentage.audience.basis_points"),
        ({"phases": share(5_001)}, 400, "phases.percentage_50.audience.basis_points"),
        ({"phases": {"wider_beta": {"moves_on": True}}}, 400, "phases.wider_beta.moves_on"),
        ({"phases": {"internal": {"vendors": ["openai"]}}}, 409, "phases.internal.vendors"),
        ({"phases": {"internal": None}}, 409, "phases.internal"),
        ({"phases": {"percentage": 3}}, 400, "phases.percentage"),
        ({"phases": {"percentage": {"colour": "red"}}}, 400, "phases.percentage.colour"),
        ({"phase": {}}, 400, "phase"),
        ({"four_eyes": "perhaps"}, 400, "four_eyes"),
    ],
)
def test_a_patch_that_cannot_be_names_the_field_and_changes_nothing(
    door: Door, body: dict[str, Any], status: int, param: str
) -> None:
    before = door.get(PLAN)[1]
    answered, problem, _ = door.patch(PLAN, {**body, "reason": "x"}, If_Match='"1"')
    assert (answered, problem["param"]) == (status, param)
    assert door.get(PLAN)[1] == before


def test_a_plan_jumps_anywhere_and_begins_a_phase_anew(door: Door) -> None:
    status, plan, _ = door.post(f"{PLAN}/jump", {"to": "percentage", "reason": "we know enough"})
    assert (status, plan["run"]["phase"]) == (200, "percentage")
    assert (
        door.post(f"{PLAN}/jump", {"to": "internal", "reason": "look again"})[1]["run"]["open_to"]
        == "percentage"
    )
    status, plan, _ = door.post(
        f"{PLAN}/restart", {"patch": {"hold": {"failed_percent": 1}}, "reason": "stricter"}
    )
    assert (status, plan["run"]["run"], plan["phases"][0]["hold"]) == (200, 4, {"failed_percent": 1})
    assert door.post(f"{PLAN}/jump", {"reason": "where?"})[1]["param"] == "to"
    assert door.post(f"{PLAN}/jump", {"to": "nowhere", "reason": "x"})[1]["param"] == "to"
    assert door.post(f"{PLAN}/restart", {"patch": [], "reason": "x"})[1]["param"] == "patch"
    status, problem, _ = door.post(
        f"{PLAN}/restart", {"patch": {"audience": {"cohorts": ["eu"]}}, "reason": "x"}
    )
    assert (status, problem["param"]) == (409, "phases.internal.audience")


def test_with_four_eyes_a_step_waits_and_says_for_what(door: Door, services: SimpleNamespace) -> None:
    services.change_requests.submit(ALICE, GENERATION, Edit({"four_eyes": True}), "we are more now")
    status, waits, _ = door.post(f"{PLAN}/advance", {"reason": "ready"})
    assert (status, waits["state"], waits["step"]) == (202, "waiting", {"do": "advance"})
    assert door.get(PLAN)[1]["run"]["phase"] == "private_beta"
    assert door.patch(PLAN, {"phases": share(1_500), "reason": "x"}, If_Match='"2"')[0] == 202
    assert door.post(f"{PLAN}/rollback", {"reason": "complaints"})[0] == 200


def test_the_templates_are_listed_and_a_second_plan_is_refused(door: Door) -> None:
    listed = door.get("/plans/templates")[1]["data"]
    assert [row["template"] for row in listed] == ["partner_beta", "percentage", "internal_first"]
    assert listed[2]["phases"][-1]["audience"] == {"kind": "all"}
    begun = {"feature": GENERATION, "template": "percentage", "reason": "again"}
    status, problem, _ = door.post("/plans", begun)
    assert (status, problem["code"], problem["param"]) == (409, "conflict", "feature")
    assert door.post("/plans", {**begun, "feature": "image-analysis"})[1]["param"] == "feature"
    assert door.post("/plans", {**begun, "template": "x"})[1]["param"] == "template"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/plans", {"feature": GENERATION, "template": "percentage"}),
        ("PUT", PLAN, {"phases": []}),
        ("PATCH", PLAN, {"four_eyes": True}),
        ("POST", f"{PLAN}/jump", {"to": "internal"}),
        ("POST", f"{PLAN}/restart", {}),
    ],
)
def test_a_viewer_writes_no_plan(services: SimpleNamespace, method: str, path: str, body: Any) -> None:
    viewer = admin_door(services, "viewer", "viewer")
    assert viewer.send(method, path, {**body, "reason": "x"}, If_Match='"1"')[0] == 403
