"""Deciding from memory, a partner's words, and the switch that stops a feature."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from doors import ALICE, BOB
from phases import hold_request, wire_phases, worker

from rollout.core.decisions import ANALYSIS, GENERATION, Decision
from rollout.db import audit, kills
from rollout.db.engine import Database
from rollout.db.tables import generation
from rollout.errors import (
    Conflict,
    FeatureKilled,
    FeatureNotEnabled,
    InvalidRequest,
    LedgerUnavailable,
    NotFound,
)


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


def decide(services: SimpleNamespace, tenant: str = "acme", feature: str = GENERATION) -> Decision:
    """After this worker has looked."""
    services.state.refresh()
    decision: Decision = services.features.decide(services.state.facts(tenant), feature)
    return decision


def grant(services: SimpleNamespace, tenant: str = "acme", expires_at: int | None = None) -> Any:
    return services.grants.add(ALICE, tenant, GENERATION, "partner", expires_at=expires_at)


# -- deciding ----------------------------------------------------------------------------------------------------


def test_who_is_granted_is_in_and_nobody_else(services: SimpleNamespace) -> None:
    grant(services)
    assert decide(services).reason == "granted"
    assert decide(services, "globex").reason == "not_granted"


def test_analysis_is_open_to_all(services: SimpleNamespace) -> None:
    assert decide(services, "globex", ANALYSIS).reason == "ga"


def test_a_grant_ends_by_the_clock_without_a_new_revision(services: SimpleNamespace, clock: Any) -> None:
    grant(services, expires_at=int(clock()) + 4)
    assert decide(services).allowed
    clock.advance(4)
    assert services.features.decide(services.state.facts("acme"), GENERATION).reason == "grant_expired"


def test_a_revoked_grant_is_out_after_the_next_look(services: SimpleNamespace) -> None:
    given = grant(services)
    assert decide(services).allowed
    services.grants.revoke(ALICE, given.id, "contract over")
    assert decide(services).reason == "not_granted"


def test_a_decision_on_newer_facts_is_not_taken_from_memory(services: SimpleNamespace) -> None:
    assert decide(services).reason == "not_granted"
    grant(services)
    fresh = services.state.fresh_facts("acme")
    assert services.features.decide(fresh, GENERATION).reason == "granted"


def test_without_a_confirmed_state_generation_is_denied_and_analysis_allowed(
    services: SimpleNamespace, clock: Any
) -> None:
    grant(services)
    assert decide(services).allowed
    facts = services.state.facts("acme")
    clock.advance(5.1)
    assert services.features.decide(facts, GENERATION).reason == "flags_stale"
    assert services.features.decide(facts, ANALYSIS).allowed
    assert decide(services).reason == "granted"


# -- a partner's words -------------------------------------------------------------------------------------------


def test_who_is_out_is_told_why_and_how_to_ask(services: SimpleNamespace) -> None:
    facts = services.state.facts("globex")
    with pytest.raises(FeatureNotEnabled) as refused:
        services.features.require(facts, GENERATION)
    members = refused.value.members
    assert members["reason"] == "not_granted"
    assert members["decision_id"] == services.features.decide(facts, GENERATION).id
    assert "POST /api/v1/access-requests" in members["how_to_enable"]
    assert "Not open to you yet" in refused.value.message


def test_who_is_in_gets_the_decision(services: SimpleNamespace) -> None:
    grant(services)
    services.state.refresh()
    assert services.features.require(services.state.facts("acme"), GENERATION).allowed


def test_a_kill_and_a_halt_are_different_errors_and_asking_helps_with_neither(
    services: SimpleNamespace,
) -> None:
    services.features.kill(ALICE, GENERATION, "abuse", tenant="acme")
    services.state.refresh()
    with pytest.raises(FeatureNotEnabled) as halted:
        services.features.require(services.state.facts("acme"), GENERATION)
    services.features.kill(ALICE, GENERATION, "emergency")
    services.state.refresh()
    with pytest.raises(FeatureKilled) as killed:
        services.features.require(services.state.facts("globex"), GENERATION)
    assert halted.value.members["reason"] == "tenant_halted"
    assert killed.value.members["reason"] == "killed"
    assert "how_to_enable" not in halted.value.members | killed.value.members


def test_a_decision_in_words(services: SimpleNamespace, clock: Any) -> None:
    grant(services, expires_at=int(clock()) + 3600)
    services.state.refresh()
    told = services.features.describe(services.state.facts("acme"), GENERATION)
    assert told.pop("decision_id").startswith("dec_")
    assert told == {
        "feature": GENERATION,
        "enabled": True,
        "reason": "granted",
        "detail": "Your organisation has been given access until 2026-11-22T13:00:00Z.",
        "phase": "private_beta",
    }
    assert (
        services.features.describe(services.state.facts("acme"), ANALYSIS)["detail"] == "Generally available."
    )
    assert "how_to_enable" in services.features.describe(services.state.facts("globex"), GENERATION)
    with pytest.raises(NotFound):
        services.features.describe(services.state.facts("acme"), "image-painting")


def test_who_is_let_in_later_is_told_when(services: SimpleNamespace, clock: Any) -> None:
    given = dataclasses.replace(grant(services), starts_at=int(clock()) + 3600)
    facts = dataclasses.replace(services.state.facts("acme"), grants={GENERATION: given})
    told = services.features.describe(facts, GENERATION)
    assert (told["reason"], told["detail"]) == ("not_granted", "Your access begins at 2026-11-22T13:00:00Z.")


# -- the switch --------------------------------------------------------------------------------------------------


def test_a_kill_stops_everyone_and_not_the_other_feature(services: SimpleNamespace) -> None:
    grant(services)
    told = services.features.kill(BOB, GENERATION, "bad pictures")
    assert told == {
        "feature": GENERATION,
        "tenant": None,
        "killed": True,
        "revision": decide(services).revision,
        "acks": {"expected": 0, "received": 0, "slowest_ms": None, "gone": 0},
        "in_flight": {"voided": 0, "running": 0},
        "last_allowed_at": None,
    }
    assert decide(services).reason == "killed"
    assert decide(services, "acme", ANALYSIS).allowed


def test_analysis_is_killed_only_by_its_name(services: SimpleNamespace) -> None:
    services.features.kill(BOB, ANALYSIS, "vendor breach")
    assert decide(services, "acme", ANALYSIS).reason == "killed"


def test_a_halt_stops_one_tenant(services: SimpleNamespace) -> None:
    grant(services)
    grant(services, "globex")
    services.features.kill(BOB, GENERATION, "abuse", tenant="acme")
    assert decide(services).reason == "tenant_halted"
    assert decide(services, "globex").allowed


def test_a_revival_lets_in_again_who_was_in(services: SimpleNamespace) -> None:
    grant(services)
    services.features.kill(BOB, GENERATION, "bad pictures")
    services.features.revive(ALICE, GENERATION, "fixed")
    assert decide(services).reason == "granted"
    services.features.kill(BOB, GENERATION, "abuse", tenant="acme")
    services.features.revive(ALICE, GENERATION, "talked to them", tenant="acme")
    assert decide(services).reason == "granted"


def test_reviving_what_is_not_killed_is_a_conflict(services: SimpleNamespace) -> None:
    with pytest.raises(Conflict, match="not killed for everyone"):
        services.features.revive(ALICE, GENERATION, "why not")
    services.features.kill(BOB, GENERATION, "bad pictures")
    with pytest.raises(Conflict, match="not killed for acme"):
        services.features.revive(ALICE, GENERATION, "why not", tenant="acme")


def test_a_kill_is_audited_with_who_and_why(services: SimpleNamespace) -> None:
    services.features.kill(BOB, GENERATION, "bad pictures")
    services.features.kill(BOB, GENERATION, "abuse", tenant="acme")
    with services.database.read() as tx:
        halted, killed = audit.page(tx, tenant=None, subject=GENERATION, before=None, limit=2)
    assert (killed["action"], killed["actor"], killed["reason"]) == (
        "feature.killed",
        "token:bob",
        "bad pictures",
    )
    assert (killed["before"], killed["tenant_id"], killed["after"]["killed"]) == (None, None, True)
    assert halted["tenant_id"] == "acme"


@pytest.mark.parametrize(
    ("feature", "wishes", "error"),
    [
        ("image-painting", {}, NotFound),
        (GENERATION, {"tenant": "nobody"}, NotFound),
        (GENERATION, {"in_flight": "drop"}, InvalidRequest),
        (GENERATION, {"remind_at": 1}, InvalidRequest),
    ],
)
def test_a_kill_that_makes_no_sense_changes_nothing(
    services: SimpleNamespace, feature: str, wishes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        services.features.kill(BOB, feature, "why", **wishes)
    with services.database.read() as tx:
        assert kills.for_everyone(tx) == {}


def test_a_kill_needs_a_reason(services: SimpleNamespace) -> None:
    with pytest.raises(InvalidRequest):
        services.features.kill(BOB, GENERATION, " ")


def test_a_kill_voids_what_is_held_and_counts_what_runs(services: SimpleNamespace) -> None:
    ledger = services.ledger
    with (
        ledger.hold(hold_request("acme", dispatch=False)) as held,
        ledger.hold(hold_request("globex")) as running,
    ):
        dry = services.features.kill(BOB, GENERATION, "rehearsal", dry_run=True)
        told = services.features.kill(BOB, GENERATION, "bad pictures")
        assert ledger.get_hold(held.id).state == "void"
        assert ledger.get_hold(running.id).state == "dispatched"
        assert services.features.get(GENERATION)["in_flight"] == {"running": 1}
    assert dry["in_flight"] == told["in_flight"] == {"voided": 1, "running": 1}


def test_a_halt_voids_that_tenants_holds_alone(services: SimpleNamespace) -> None:
    ledger = services.ledger
    with (
        ledger.hold(hold_request("acme", dispatch=False)) as mine,
        ledger.hold(hold_request("globex", dispatch=False)) as theirs,
    ):
        services.features.kill(BOB, GENERATION, "abuse", tenant="acme")
        assert ledger.get_hold(mine.id).state == "void"
        assert ledger.get_hold(theirs.id).state == "held"


@pytest.mark.parametrize(("tenant", "error"), [(None, FeatureKilled), ("acme", FeatureNotEnabled)])
def test_no_hold_commits_after_a_kill_though_this_worker_has_not_looked(
    services: SimpleNamespace, tenant: str | None, error: type[Exception]
) -> None:
    grant(services)
    assert decide(services).allowed
    services.features.kill(BOB, GENERATION, "stop", tenant=tenant)
    assert services.features.decide(services.state.facts("acme"), GENERATION).allowed
    with pytest.raises(error), services.ledger.hold(hold_request("acme")):
        pytest.fail("a hold was made after the kill")


def test_a_dry_run_kills_nothing(services: SimpleNamespace) -> None:
    grant(services)
    assert services.features.kill(BOB, GENERATION, "rehearsal", dry_run=True)["killed"] is True
    assert decide(services).allowed


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_what_runs_is_withheld_only_when_the_kill_says_so_and_came_later(
    services: SimpleNamespace, tenant: str | None
) -> None:
    grant(services)
    before, facts = decide(services), services.state.facts("acme")
    services.features.kill(BOB, GENERATION, "slow", tenant=tenant, in_flight="finish")
    services.state.refresh()
    assert not services.features.withheld(facts, before, "openai")
    services.features.kill(BOB, GENERATION, "harmful", tenant=tenant, in_flight="withhold")
    services.state.refresh()
    services.state.facts("acme")
    assert services.features.withheld(facts, before, "openai")
    assert not services.features.withheld(facts, decide(services), "openai")


# -- how far it has spread ---------------------------------------------------------------------------------------


def test_the_answer_waits_for_the_workers_and_says_how_long_the_slowest_took(
    database: Database, clock: Any
) -> None:
    services = wire_phases(database, clock, sleep=lambda _seconds: quick.catch_up())
    quick = _Lagging(services, clock)
    told = services.features.kill(BOB, GENERATION, "bad pictures")
    assert told["acks"] == {"expected": 1, "received": 1, "slowest_ms": 250, "gone": 0}
    assert services.features.get(GENERATION)["acks"] == told["acks"]


class _Lagging:
    """A worker that looks when somebody waits for it, a quarter of a second later."""

    def __init__(self, services: SimpleNamespace, clock: Any) -> None:
        self._services, self._clock = services, clock
        self._worker = worker(services, "lagging", clock)
        self._worker.register()

    def catch_up(self) -> None:
        self._clock.advance(0.25)
        self._services.state.refresh()
        self._worker.report()


def test_a_worker_that_does_not_answer_is_waited_for_two_seconds_and_no_longer(
    database: Database, clock: Any
) -> None:
    waited: list[float] = []
    services = wire_phases(database, clock, sleep=waited.append)
    worker(services, "deaf", clock).register()
    told = services.features.kill(BOB, GENERATION, "bad pictures")
    assert told["acks"] == {"expected": 1, "received": 0, "slowest_ms": None, "gone": 0}
    assert sum(waited) == pytest.approx(2)


def test_a_worker_not_heard_of_for_long_is_gone_and_a_stopped_one_is_not_counted(
    services: SimpleNamespace, clock: Any
) -> None:
    stopped = worker(services, "stopped", clock)
    for one in (stopped, worker(services, "dead", clock)):
        one.register()
    stopped.stop()
    clock.advance(31)
    worker(services, "alive", clock).register()
    told = services.features.kill(BOB, GENERATION, "bad pictures")
    assert told["acks"] == {"expected": 1, "received": 0, "slowest_ms": None, "gone": 1}
    assert {row["id"]: row["state"] for row in services.workers.list()} == {
        "dead": "gone",
        "alive": "running",
    }


def test_a_worker_says_now_and_then_that_it_is_alive(services: SimpleNamespace, clock: Any) -> None:
    here = worker(services, "here", clock)
    here.register()
    seen = services.workers.list()[0]["seen_at"]
    clock.advance(9)
    here.report()
    assert services.workers.list()[0]["seen_at"] == seen
    clock.advance(1)
    here.report()
    assert services.workers.list()[0]["seen_at"] == "2026-11-22T12:00:10Z"


def test_a_worker_stops_though_the_database_is_away(
    services: SimpleNamespace, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = worker(services, "here", clock)
    here.register()

    def refuse() -> None:
        raise LedgerUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(services.database, "write", refuse)
        here.stop()
    clock.advance(31)
    assert [row["state"] for row in services.workers.list()] == ["gone"]


def test_workers_of_yesterday_are_forgotten(services: SimpleNamespace, clock: Any) -> None:
    worker(services, "old", clock).register()
    clock.advance(24 * 3600 + 1)
    worker(services, "new", clock).register()
    assert [row["id"] for row in services.workers.list()] == ["new"]


def test_a_feature_shows_its_stops_and_when_it_was_last_used(services: SimpleNamespace, clock: Any) -> None:
    _used(services, "acme", 1_000)
    _used(services, "globex", 2_000)
    services.features.kill(BOB, GENERATION, "abuse", tenant="acme", remind_at=int(clock()) + 60)
    halted = services.features.get(GENERATION)
    assert (halted["killed"], halted["kill"]) == (False, None)
    assert [(row["tenant"], row["remind_at"]) for row in halted["halts"]] == [
        ("acme", "2026-11-22T12:01:00Z")
    ]
    killed = services.features.kill(BOB, GENERATION, "bad pictures", in_flight="withhold")
    assert killed["last_allowed_at"] == "1970-01-01T00:33:20Z"
    shown = services.features.get(GENERATION)
    assert shown["killed"] is True
    assert shown["kill"]["in_flight"] == "withhold"
    assert shown["kill"]["by"] == "token:bob"
    assert shown["phase"] == "private_beta"
    assert shown["revision"] == killed["revision"]
    assert [row["feature"] for row in services.features.list()] == [GENERATION, ANALYSIS]


def test_how_far_a_stop_has_spread_can_be_asked_again(services: SimpleNamespace, clock: Any) -> None:
    here = worker(services, "here", clock)
    here.register()
    with services.ledger.hold(hold_request("acme", dispatch=False)):
        told = services.features.kill(BOB, GENERATION, "bad pictures", wait=0)
    spread = services.switches.spread(GENERATION)
    assert {name: spread[name] for name in told} == told
    assert (spread["acks"]["received"], spread["in_flight"]) == (0, {"voided": 1, "running": 0})
    assert (spread["change"]["by"], spread["change"]["reason"]) == ("token:bob", "bad pictures")
    services.state.refresh()
    here.report()
    assert services.switches.spread(GENERATION)["acks"]["received"] == 1
    services.features.revive(ALICE, GENERATION, "fixed")
    assert services.switches.spread(GENERATION)["killed"] is False


def test_the_spread_of_a_halt_is_that_tenants(services: SimpleNamespace) -> None:
    services.features.kill(BOB, GENERATION, "abuse", tenant="acme")
    assert services.switches.spread(GENERATION, "acme")["change"]["tenant"] == "acme"
    for feature, tenant in ((GENERATION, None), (GENERATION, "globex"), ("image-painting", None)):
        with pytest.raises(NotFound):
            services.switches.spread(feature, tenant)


def test_a_halt_tells_when_that_tenant_was_last_let_in(services: SimpleNamespace) -> None:
    _used(services, "acme", 1_000)
    _used(services, "globex", 2_000)
    told = services.features.kill(BOB, GENERATION, "abuse", tenant="acme")
    assert told["last_allowed_at"] == "1970-01-01T00:16:40Z"


def _used(services: SimpleNamespace, tenant: str, at: int) -> None:
    values = {
        "tenant_id": tenant, "id": f"gen_{at}", "hold_id": "hold_1", "request_id": "req_1", "decision_id": "dec_1",
        "api_key_id": "key_1", "feature": GENERATION, "vendor": "sandbox", "model": "m", "requested_model": "m",
        "mode": "live", "created_at": at, "operation": "generate", "prompt": "a cat", "images_asked": 1,
    }  # fmt: skip
    with services.database.write() as tx:
        tx.execute(sa.insert(generation).values(values))
