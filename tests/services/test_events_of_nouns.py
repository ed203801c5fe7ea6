"""What happens to partners is told to their webhooks, without what operators noted down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from doors import ALICE
from ledgers import actual, request
from uses import add_generation

from rollout.core.decisions import ANALYSIS, GENERATION, Decision
from rollout.core.feedback import Opinion
from rollout.core.grants import Asking
from rollout.core.holds import StoredResult
from rollout.core.steps import Advance, Edit, Pause
from rollout.core.tenants import Tenant
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

INTERNAL = "only for operators"


@pytest.fixture
def services(new_database: Callable[..., str], tmp_path: Any) -> Iterator[Services]:
    built = build(Settings(home=str(tmp_path), database_url=new_database("sqlite"), secret_key="s" * 40))
    with built.changes.begin(ALICE, "seed") as change:
        built.plans.ensure_plan(change)
    built.tenants.add(ALICE, Tenant("acme", "Acme"), "seed")
    built.webhooks.add(ALICE, "acme", "https://acme.example/", (), "seed")
    built.webhooks.add(ALICE, None, "https://ours.example/", (), "seed")
    yield built
    built.close()


def told(services: Services) -> dict[str, list[dict[str, Any]]]:
    """What waits to be delivered, by type: for acme and for us."""
    found: dict[str, list[dict[str, Any]]] = {"acme": [], "ours": []}
    for job in reversed(services.jobs.page(cursor=None, limit=99)):
        whose = "acme" if job.tenant_id == "acme" else "ours"
        found[whose].append({"type": job.payload["type"], **job.payload["data"]})
    return found


def types(events: list[dict[str, Any]]) -> list[str]:
    return sorted(event["type"] for event in events)


def ask(services: Services) -> str:
    outside = Decision("dec_1", "acme", GENERATION, False, "not_granted", "private_beta", 1, 1)
    return services.access.ask(ALICE, outside, Asking("covers"))[0].request.id


def test_a_request_that_is_approved(services: Services) -> None:
    services.access.approve(ALICE, ask(services), INTERNAL)
    events = told(services)
    assert types(events["acme"]) == ["access_request.approved", "access_request.created", "grant.created"]
    assert types(events["acme"]) == types(events["ours"])
    assert INTERNAL not in str(events["acme"])
    assert {event["tenant"] for event in events["acme"]} == {"acme"}


def test_a_request_that_is_denied_says_why(services: Services) -> None:
    services.access.deny(ALICE, ask(services), "not this year")
    denied = next(event for event in told(services)["acme"] if event["type"] == "access_request.denied")
    assert (denied["state"], denied["decision_reason"]) == ("denied", "not this year")
    assert "alice" not in str(denied)


def test_a_grant_that_is_revoked_is_told_once(services: Services) -> None:
    grant = services.grants.add(ALICE, "acme", GENERATION, "let in")
    for _ in range(2):
        services.grants.revoke(ALICE, grant.id, INTERNAL)
    events = told(services)["acme"]
    assert types(events) == ["grant.created", "grant.revoked"]
    assert INTERNAL not in str(events)


def test_a_grant_whose_time_is_over_is_told_once(services: Services) -> None:
    ends = int(services.database.clock()) + 2
    services.grants.add(ALICE, "acme", GENERATION, "let in", expires_at=ends)
    services.grants.expire()
    services.database.clock = lambda: ends
    for _ in range(2):
        services.grants.expire()
    events = told(services)["acme"]
    assert types(events) == ["grant.created", "grant.expired"]
    assert {event["state"] for event in events} == {"active", "expired"}
    assert INTERNAL not in str(events)


def test_a_stop_for_everyone_is_told_to_us_and_one_for_a_partner_to_it_too(services: Services) -> None:
    services.features.kill(ALICE, ANALYSIS, INTERNAL, wait=0)
    services.features.kill(ALICE, ANALYSIS, INTERNAL, tenant="acme", wait=0)
    services.features.revive(ALICE, ANALYSIS, INTERNAL, tenant="acme", wait=0)
    events = told(services)
    assert types(events["acme"]) == ["feature.killed", "feature.revived"]
    assert types(events["ours"]) == ["feature.killed", "feature.killed", "feature.revived"]
    assert INTERNAL not in str(events)


def test_a_phase_is_told_to_us_only(services: Services) -> None:
    services.change_requests.submit(ALICE, GENERATION, Pause(), INTERNAL)
    events = told(services)
    assert events["acme"] == []
    assert [(event["type"], event["feature"], event["run"]["state"]) for event in events["ours"]] == [
        ("phase.changed", GENERATION, "paused")
    ]


def test_what_waits_for_a_person_is_told_to_us_only(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_an_hour = int(time.time()) + 3600
    services.change_requests.submit(ALICE, GENERATION, Edit({"four_eyes": True}), INTERNAL)
    services.schedules.add(ALICE, GENERATION, in_an_hour, Pause(), INTERNAL)
    services.change_requests.submit(ALICE, GENERATION, Advance(), INTERNAL)
    services.change_requests.submit(ALICE, GENERATION, Pause(), INTERNAL)
    monkeypatch.setattr(services.database, "clock", lambda: in_an_hour)
    services.controller.tick()
    events = told(services)
    assert events["acme"] == []
    by_type = {event["type"]: event for event in events["ours"]}
    assert set(by_type) == {"plan.change_requested", "phase.changed", "plan.schedule_conflict"}
    assert by_type["plan.change_requested"]["step"] == {"do": "advance"}
    assert by_type["plan.schedule_conflict"]["outcome"].startswith("It was planned on version")
    assert INTERNAL not in str(events)


@pytest.mark.parametrize("status", [200, 400])
def test_what_became_of_a_generation_is_told_with_its_charge(services: Services, status: int) -> None:
    with services.ledger.hold(request()) as held:
        held.settle(actual(1, 40_000), StoredResult(status, {}, {"generation": "gen_1"}))
        held.settle(actual(1, 40_000), StoredResult(status, {}, {"generation": "gen_1"}))
    (event,) = told(services)["acme"]
    assert event["type"] == ("generation.succeeded" if status == 200 else "generation.refused")
    assert (event["hold"], event["generation"], event["cost_usd_micro"]) == (held.id, "gen_1", 40_000)


def test_a_generation_that_nobody_can_tell_of_is_told_once_however_it_ends(services: Services) -> None:
    with services.ledger.hold(request()) as held:
        held.unknown("the line was cut")
    services.ledger.settle_by_hand(ALICE, held.id, "as their invoice says", 9)
    assert types(told(services)["acme"]) == ["generation.unknown"]


def test_a_generation_that_nothing_came_of_is_told(services: Services) -> None:
    with services.ledger.hold(request()) as held:
        held.void("refused")
    assert types(told(services)["acme"]) == ["generation.failed"]


def test_a_rating_is_told_when_it_is_new(services: Services) -> None:
    add_generation(services.database)
    for opinion in (Opinion("down"), Opinion("up")):
        services.feedback.submit("acme", "gen_1", "user-7", opinion)
    (event,) = told(services)["acme"]
    assert (event["type"], event["generation"], event["rating"]) == ("feedback.received", "gen_1", "down")
