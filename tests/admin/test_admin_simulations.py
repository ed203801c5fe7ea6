"""POST /admin/api/v1/plans/{feature}/simulate, and its page: what would change, without a change."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from console import SEED, Visitor
from doors import ALICE, Door, admin_door
from phases import wire_phases

from rollout.core.decisions import GENERATION
from rollout.core.tokens import Role
from rollout.db.engine import Database
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]
SIMULATE = f"/plans/{GENERATION}/simulate"
PAGE = f"/admin/plans/{GENERATION}/simulate"


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


def test_a_step_is_told_with_names_and_changes_nothing(services: SimpleNamespace) -> None:
    services.tenants.change(ALICE, "acme", {"attributes": {"program": "beta"}}, "joined")
    door = admin_door(services, "vera", "viewer")
    before = services.audit.page(limit=1)[0]["seq"]
    status, told, _ = door.post(SIMULATE, {"step": {"do": "advance"}, "days": 7})
    assert (status, told["plan"]["run"]["phase"], told["days"]) == (200, "wider_beta", 7)
    assert told["tenants"] == {"inside": 0, "gained": 1, "lost": 0, "examined": 2, "complete": True}
    assert told["changes"] == [
        {"tenant": "acme", "name": "Acme Studios", "change": "gains", "phase": "wider_beta"}
    ]
    assert services.audit.page(limit=1)[0]["seq"] == before
    assert services.plans.get(GENERATION)["run"]["phase"] == "private_beta"


def test_names_go_on_from_a_cursor(services: SimpleNamespace) -> None:
    door = admin_door(services)
    everyone = {"step": {"do": "advance", "to": "general_availability"}, "limit": 1}
    _, first, _ = door.post(SIMULATE, everyone)
    assert ([one["tenant"] for one in first["changes"]], first["next_cursor"]) == (["acme"], "acme")
    _, rest, _ = door.post(SIMULATE, {**everyone, "cursor": first["next_cursor"]})
    assert ([one["tenant"] for one in rest["changes"]], rest["next_cursor"]) == (["globex"], None)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "step"),
        ({"step": {}}, 400, "step.do"),
        ({"step": {"do": "fly"}}, 400, "step.do"),
        ({"step": {"do": "jump"}}, 400, "step.to"),
        ({"step": {"do": "advance"}, "days": 0}, 400, "days"),
        ({"step": {"do": "advance"}, "limit": 501}, 400, "limit"),
        ({"phases": {"nowhere": None}}, 400, "phases.nowhere"),
        (
            {"phases": {"percentage": {"audience": {"basis_points": -1}}}},
            400,
            "phases.percentage.audience.basis_points",
        ),
        (
            {"step": {"do": "edit", "patch": {"phases": {"internal": {"vendors": ["openai"]}}}}},
            409,
            "phases.internal.vendors",
        ),
        ({"step": {"do": "resume"}}, 409, None),
        ({"why": "because"}, 400, "why"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    services: SimpleNamespace, body: dict[str, Any], status: int, param: str | None
) -> None:
    answered, problem, _ = admin_door(services).post(SIMULATE, body)
    assert (answered, problem.get("param")) == (status, param)


def test_only_a_plan_is_simulated(door: Door) -> None:
    assert door.post("/plans/image-analysis/simulate", {"step": {"do": "advance"}})[0] == 404


@pytest.fixture
def door(services: SimpleNamespace) -> Door:
    return admin_door(services)


def test_the_page_says_who_comes_what_it_would_use_and_how_decisions_would_have_gone(
    wired: Services, visit: Visit
) -> None:
    wired.tenants.change(SEED, "acme", {"attributes": {"program": "beta"}}, "joined")
    shared = {"unit": "image", "period": "day", "cap": 50, "feature": GENERATION}
    wired.meters.add(SEED, None, shared, "for all")
    page = visit("viewer")
    assert "What would change…" in page.get(f"/admin/plans/{GENERATION}").text
    assert page.get(PAGE).status_code == 200
    assert "gains access" not in page.text
    page.get(f"{PAGE}?do=advance&to=&phase=&share=&days=14")
    for said in (
        "1 tenant gains access. 0 tenants lose it.",
        "acme Acme Studios gains access wider_beta",
        "Used in 14 days 0 requests, 0 images, US$0.00",
        "50 images a day 0 images fits",
        "0 decisions since",
    ):
        assert said in page.text
    assert wired.plans.get(GENERATION)["run"]["phase"] == "private_beta"


def test_the_page_asks_what_if_a_share_were_another(wired: Services, visit: Visit) -> None:
    page = visit("viewer")
    page.get(f"{PAGE}?do=jump&to=percentage_50&phase=percentage_50&share=100&days=1")
    assert "2 tenants gain access. 0 tenants lose it." in page.text
    listed = page.get(f"{PAGE}?do=advance&to=general_availability&format=csv")
    assert listed.data.decode().splitlines()[0] == "tenant,name,change,phase"
    assert "acme,Acme Studios,gains," in listed.data.decode()


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("do=fly", 400),
        ("share=half&phase=percentage", 400),
        ("share=10", 400),
        ("do=advance&days=1000", 400),
        ("do=jump", 400),
    ],
)
def test_the_page_refuses_by_name(visit: Visit, asked: str, status: int) -> None:
    assert visit("viewer").get(f"{PAGE}?{asked}").status_code == status
