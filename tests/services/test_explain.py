"""An admin learns why, from the same engine that decided, and what would change it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, BOB
from phases import wire_phases

from rollout.core.decisions import ANALYSIS, GENERATION, Ground
from rollout.core.plans import partner_bucket
from rollout.core.steps import Advance
from rollout.core.tenants import Tenant
from rollout.db import plans
from rollout.db.engine import Database
from rollout.errors import InvalidRequest, NotFound


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


def bucket(services: SimpleNamespace, tenant: str) -> int:
    with services.database.read() as tx:
        running = plans.get(tx, GENERATION)
    assert running is not None
    return partner_bucket(running.plan.salt, tenant)


def test_who_is_out_and_what_would_let_it_in(services: SimpleNamespace) -> None:
    found = services.explain.explain("globex", GENERATION)
    assert found["decision"]["reason"] == "not_granted"
    assert found["detail"] == "Off: private_beta lets in tenants with a grant that counts, and there is none."
    assert found["would_change"] == [
        "On with a grant in cohort internal.",
        "On with a grant.",
        "On with wider_beta reached and program = beta.",
        *_by_share(bucket(services, "globex")),
    ]
    assert [(item["phase"], item["open"]) for item in found["audiences"]][:3] == [
        ("internal", True),
        ("private_beta", True),
        ("wider_beta", False),
    ]
    assert found["audiences"][1]["constraints"][0] == {
        "contextName": "grant",
        "operator": "IN",
        "values": ["active"],
        "actual": "none",
        "outcome": False,
    }


def _by_share(number: int) -> list[str]:
    """Up to the first phase that takes nothing more than reaching it."""
    found = []
    for phase, points in (("percentage", 1_000), ("percentage_50", 5_000)):
        if number < points:
            return [*found, f"On with {phase} reached."]
        found.append(f"On with {phase} reached and a share of {(number + 1) / 100:.2f} % in {phase}.")
    return [*found, "On with general_availability reached."]


def test_who_is_in_by_a_grant_and_until_when(services: SimpleNamespace, clock: Any) -> None:
    given = services.grants.add(ALICE, "acme", GENERATION, "first partner", expires_at=int(clock()) + 3600)
    found = services.explain.explain("acme", GENERATION)
    assert found["decision"]["allowed"] is True
    assert found["detail"] == (
        f"On: granted ({given.id}, from 2026-11-22T12:00:00Z to 2026-11-22T13:00:00Z: first partner)."
    )
    assert found["would_change"] == [
        "Off with image-generation killed for acme.",
        "Off with image-generation killed for everyone.",
        "Off with a rollback to internal.",
        f"Off with {given.id} revoked.",
        "Off with the time 2026-11-22T13:00:00Z, by its grant.",
    ]
    assert found["rows"]["grant"]["id"] == given.id
    assert found["rows"]["run"]["phase"] == "private_beta"
    assert found["properties"]["grant"] == "active"
    clock.advance(3600)
    assert services.explain.explain("acme", GENERATION)["detail"].startswith("Off: the grant has expired")


def test_kills_and_halts_name_who_and_why(services: SimpleNamespace) -> None:
    services.features.kill(BOB, GENERATION, "abuse", tenant="acme")
    halted = services.explain.explain("acme", GENERATION)
    assert halted["detail"] == "Off: halted for acme by token:bob at 2026-11-22T12:00:00Z: abuse"
    assert halted["would_change"][:2] == [
        "On with image-generation revived for acme and a grant in cohort internal.",
        "On with image-generation revived for acme and a grant.",
    ]
    assert halted["properties"]["halt"] == "1"
    services.features.kill(BOB, GENERATION, "bad pictures")
    killed = services.explain.explain("globex", GENERATION)
    assert killed["detail"] == "Off: killed for everyone by token:bob at 2026-11-22T12:00:00Z: bad pictures"
    assert killed["would_change"][0] == "On with image-generation revived and a grant in cohort internal."
    assert killed["rows"]["kill"]["reason"] == "bad pictures"


def test_a_later_phase(services: SimpleNamespace) -> None:
    services.tenants.change(ALICE, "acme", {"attributes": {"program": "beta"}}, "joined")
    services.change_requests.submit(BOB, GENERATION, Advance(), "ready")
    assert services.explain.explain("acme", GENERATION)["detail"].startswith(
        "On: its attributes meet a segment"
    )
    out = services.explain.explain("globex", GENERATION)
    assert out["decision"]["reason"] == "not_in_phase"
    assert out["detail"].startswith("Off: none of the audiences that are open in wider_beta")
    services.change_requests.submit(BOB, GENERATION, Advance("general_availability"), "launch")
    assert (
        services.explain.explain("globex", GENERATION)["detail"]
        == "On: general_availability is open to all tenants."
    )


def test_a_share_names_the_bucket(services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.core.decisions.partner_bucket", lambda _salt, _tenant: 999)
    services.change_requests.submit(BOB, GENERATION, Advance("percentage"), "ready")
    found = services.explain.explain("globex", GENERATION)
    assert found["detail"] == "On: its bucket 999 lies within the share that is open in percentage."
    assert found["would_change"] == [
        "Off with image-generation killed for globex.",
        "Off with image-generation killed for everyone.",
        "Off with a rollback to wider_beta.",
    ]


def test_analysis_has_no_plan_to_explain(services: SimpleNamespace) -> None:
    found = services.explain.explain("globex", ANALYSIS)
    assert found["detail"] == "On: no plan, generally available."
    assert (found["audiences"], found["properties"]) == ([], {})
    assert found["would_change"] == [
        "Off with image-analysis killed for globex.",
        "Off with image-analysis killed for everyone.",
    ]
    services.features.kill(BOB, ANALYSIS, "vendor down")
    assert services.explain.explain("globex", ANALYSIS)["would_change"] == ["On with image-analysis revived."]


def test_without_a_plan_it_says_so(services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.services.state.plans.all_", lambda _tx: {})
    services.tenants.change(ALICE, "acme", {"name": "Acme Ltd"}, "their wish")
    found = services.explain.explain("acme", GENERATION)
    assert found["detail"].startswith("Off: there is no plan for image-generation")
    assert found["would_change"] == ["On with a plan for image-generation that lets it in."]


def test_it_needs_a_tenant_and_a_feature_that_exist(services: SimpleNamespace) -> None:
    with pytest.raises(NotFound):
        services.explain.explain("nobody", GENERATION)
    with pytest.raises(InvalidRequest):
        services.explain.explain("acme", "image-painting")


def test_sentences_come_with_what_they_are_made_of(services: SimpleNamespace) -> None:
    out = services.explain.explain("globex", GENERATION)
    assert out["ways"][:3] == [
        {"phase": "internal", "acts": [{"do": "grant", "cohort": "internal", "instead_of": None}]},
        {"phase": "private_beta", "acts": [{"do": "grant", "cohort": None, "instead_of": None}]},
        {
            "phase": "wider_beta",
            "acts": [
                {"do": "reach", "phase": "wider_beta"},
                {"do": "attribute", "name": "program", "value": "beta"},
            ],
        },
    ]
    assert len(out["ways"]) == len(out["would_change"])
    assert (out["reason_values"]["phase"], out["reason_values"]["bucket"]) == (
        "private_beta",
        bucket(services, "globex"),
    )
    services.features.kill(BOB, GENERATION, "abuse", tenant="globex")
    halted = services.explain.explain("globex", GENERATION)
    assert halted["ways"][0]["acts"][0] == {"do": "revive", "feature": GENERATION, "tenant": "globex"}
    assert {name: halted["reason_values"][name] for name in ("by", "since", "why")} == {
        "by": "token:bob",
        "since": "2026-11-22T12:00:00Z",
        "why": "abuse",
    }


def test_the_partners_wording_stands_beside_the_admins(services: SimpleNamespace) -> None:
    out = services.explain.explain("globex", GENERATION)
    assert out["partner"]["detail"] == "Not open to you yet."
    assert "access-requests" in out["partner"]["how_to_enable"]
    assert services.explain.explain("globex", ANALYSIS)["partner"] == {
        "detail": "Generally available.",
        "how_to_enable": None,
    }


def test_a_tenants_decisions_come_with_what_they_rest_on(services: SimpleNamespace, clock: Any) -> None:
    def generation() -> Any:
        return services.explain.of_tenant("acme")[1][0]

    run = services.plans.get(GENERATION)["run"]
    assert (generation().decision.reason, generation().ground.by) == ("not_granted", run["entered_by"])
    clock.advance(60)
    granted = services.grants.add(BOB, "acme", GENERATION, "beta partner", expires_at=int(clock()) + 100)
    services.grants.set_expiry(ALICE, granted.id, int(clock()) + 200, "longer")
    assert generation().decision.reason == "granted"
    assert generation().ground == Ground(clock(), clock() + 200, "token:bob", "beta partner")
    clock.advance(200)
    assert generation().decision.reason == "grant_expired"
    assert generation().ground == Ground(clock(), None, "token:bob", "beta partner")
    services.features.kill(ALICE, GENERATION, "looks odd", tenant="acme")
    assert generation().ground == Ground(clock(), None, "token:alice", "looks odd")
    services.features.kill(BOB, GENERATION, "fire")
    assert generation().decision.reason == "killed"
    assert generation().ground == Ground(clock(), None, "token:bob", "fire")


def test_the_decisions_of_many_tenants_are_those_of_each(services: SimpleNamespace) -> None:
    for name in ("one", "two", "three"):
        services.tenants.add(ALICE, Tenant(name, name), "more")
    services.grants.add(ALICE, "two", GENERATION, "beta partner")
    services.grants.add(ALICE, "three", GENERATION, "beta partner")
    services.features.kill(ALICE, GENERATION, "looks odd", tenant="three")
    everyone = services.tenants.page(after=None, limit=9)
    found = services.explain.of_tenants(everyone, GENERATION)
    for tenant in everyone:
        alone = services.explain.explain(tenant.id, GENERATION)["decision"]
        assert (found[tenant.id].allowed, found[tenant.id].reason) == (alone["allowed"], alone["reason"])
    assert services.explain.of_tenants([], GENERATION) == {}
