"""What would change: names, needs and decisions made once more are those that come true, and nothing is written."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from doors import ALICE, BOB
from phases import wire_phases

from rollout.core.contents import parse_phases
from rollout.core.decisions import GENERATION, Decision
from rollout.core.explanations import Basis
from rollout.core.plans import Run, RunningPlan
from rollout.core.refusals import Refusal
from rollout.core.simulations import OTHER_GROUNDS
from rollout.core.steps import Advance, Jump, Pause, RollBack
from rollout.core.tenants import Tenant
from rollout.db import refusals
from rollout.db.engine import Database
from rollout.db.tables import generation, hold, metadata
from rollout.errors import Conflict, InvalidRequest, NotFound
from rollout.services.audiences import evaluator
from rollout.services.history import History

HOUR = 3600
PROGRAMS = ("beta", "alpha")


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


def many(services: SimpleNamespace, count: int) -> None:
    for number in range(count):
        values = {"program": PROGRAMS[number % 3]} if number % 3 < 2 else {}
        services.tenants.add(ALICE, Tenant(f"t{number:03}", f"Tenant {number}", attributes=values), "more")


def use(services: SimpleNamespace, decision: Decision, at: int, *, mode: str = "live", **told: Any) -> None:
    """A use that was recorded, with its hold; `told`: what the hold came to."""
    id_, values = services.new_id("gen"), {"vendor": "openai", "cost_usd_micro": 40_000, "images": 2, **told}
    place = {"tenant_id": decision.tenant_id, "request_id": "req_1", "api_key_id": "key_1", "created_at": at}
    made = {"feature": GENERATION, "vendor": values["vendor"], "model": "a-model", "decision_id": decision.id}
    with services.database.write() as tx:
        tx.execute(
            sa.insert(hold).values(
                **place, **made, id=f"hold_{id_}", state="settled", attempt=1, fingerprint="f", lines=[],
                cost_usd_micro=values["cost_usd_micro"], usage={"images": values["images"]}, settled_from="usage",
            )
        )  # fmt: skip
        tx.execute(
            sa.insert(generation).values(
                **place, **made, id=id_, hold_id=f"hold_{id_}", phase=decision.phase, run=decision.run, mode=mode,
                requested_model="a-model", operation="generate", prompt="a cat", images_asked=2,
            )
        )  # fmt: skip


def refuse(services: SimpleNamespace, decision: Decision, at: int, **more: str) -> None:
    code = "feature_killed" if decision.reason == "killed" else "feature_not_enabled"
    members = {"feature": GENERATION, "reason": decision.reason, **more}
    note = Refusal(
        decision.tenant_id, services.new_id("req"), at, "POST", "/v1/images/generations", 403, code, "No.", members,
        "key_1", decision.id,
    )  # fmt: skip
    with services.database.write() as tx:
        refusals.add(tx, [note])


def decide(services: SimpleNamespace, tenant: str) -> Decision:
    services.state.refresh()
    decision: Decision = services.features.decide(services.state.facts(tenant), GENERATION)
    return decision


def names(found: Any, change: str) -> list[str]:
    return [one.tenant.id for one in found.changes if one.change == change]


def test_who_comes_and_goes_is_who_came_and_went(services: SimpleNamespace) -> None:
    many(services, 40)
    services.grants.add(ALICE, "acme", GENERATION, "pilot")
    services.features.kill(BOB, GENERATION, "abuse", tenant="t003", wait=0)
    for step in (Advance(), Jump("percentage_50"), Advance(), RollBack("wider_beta"), RollBack("internal")):
        found = services.simulations.simulate(GENERATION, step=step)
        before = members(services)
        moved = services.change_requests.submit(BOB, GENERATION, step, "on we go").plan
        after = members(services)
        assert names(found, "gains") == sorted(after - before)
        assert names(found, "loses") == sorted(before - after)
        told = found.answer["tenants"]
        assert (told["gained"], told["lost"]) == (moved["tenants"]["gained"], moved["tenants"]["lost"])
        assert (told["inside"], told["examined"], told["complete"]) == (len(before), 42, True)
        assert found.answer["plan"]["run"]["phase"] == moved["run"]["phase"]


def members(services: SimpleNamespace) -> set[str]:
    found = services.plans.members(GENERATION, after=None, limit=500)
    return {tenant.id for tenant, _ in found.inside}


def test_names_come_page_by_page(services: SimpleNamespace) -> None:
    many(services, 9)
    found = services.simulations.simulate(GENERATION, step=Advance("general_availability"))
    first = found.page(None, 6)
    assert [row["tenant"] for row in first["changes"]] == ["acme", "globex", "t000", "t001", "t002", "t003"]
    assert first["changes"][2] == {
        "tenant": "t000",
        "name": "Tenant 0",
        "change": "gains",
        "phase": "wider_beta",
    }
    rest = found.page(first["next_cursor"], 6)
    assert ([row["tenant"] for row in rest["changes"]], rest["next_cursor"]) == (
        ["t004", "t005", "t006", "t007", "t008"],
        None,
    )


def test_it_writes_nothing(services: SimpleNamespace, clock: Any) -> None:
    many(services, 5)
    clock.advance(HOUR)
    services.grants.add(ALICE, "acme", GENERATION, "pilot")
    use(services, decide(services, "acme"), int(clock()))
    refuse(services, decide(services, "t001"), int(clock()))
    before = everything(services.database)
    services.simulations.simulate(GENERATION, step=Advance("general_availability"))
    services.simulations.simulate(GENERATION, phases={"percentage": {"audience": {"basis_points": 4_000}}})
    assert everything(services.database) == before


def everything(database: Database) -> dict[str, list[Any]]:
    with database.read() as tx:
        return {
            name: sorted(map(repr, tx.execute(sa.select(table)))) for name, table in metadata.tables.items()
        }


def test_recorded_decisions_are_made_once_more_with_the_tenants_of_their_time(
    services: SimpleNamespace, clock: Any
) -> None:
    chance = random.Random(11)
    many(services, 12)
    everyone = ["acme", "globex", *(f"t{number:03}" for number in range(12))]
    recorded: list[tuple[int, Decision]] = []
    past = History(services.database)
    for _ in range(100):
        clock.advance(HOUR)
        tenant = chance.choice(everyone)
        _shake(services, clock, chance, tenant)
        decision = decide(services, chance.choice(everyone))
        (use if decision.allowed else refuse)(services, decision, int(clock()))
        recorded.append((int(clock()), decision))
    assert len({decision.reason for _, decision in recorded}) >= 6
    with contextlib.suppress(InvalidRequest):
        services.change_requests.submit(BOB, GENERATION, Jump("percentage"), "from here on")
    bases = [(one, past.at(one.tenant_id, GENERATION, at)) for at, one in recorded]
    wider = {
        "percentage": {"audience": {"basis_points": 5_000}},
        "percentage_50": {"audience": {"basis_points": 6_000}},
    }
    for step, phases, days in (
        (None, {}, 30),
        (Jump("internal"), None, 30),
        (Jump("percentage_50"), wider, 30),
        (RollBack("internal"), None, 4),
        (Jump("wider_beta"), None, 2),
    ):
        told = services.simulations.simulate(GENERATION, step=step, phases=phases, days=days).answer
        seen = [(one, basis) for one, basis in bases if basis.now >= int(clock()) - days * 24 * HOUR]
        assert told["replay"] == once_more(bases[-1][1].plan, told["plan"], seen), step


def _shake(services: SimpleNamespace, clock: Any, chance: random.Random, tenant: str) -> None:
    values = {"program": chance.choice(PROGRAMS)} if chance.random() < 0.6 else {}
    expires_at = int(clock()) + chance.choice([1, 5, 50]) * HOUR
    cohort = chance.choice([None, None, "internal"])
    acts = [
        lambda: services.tenants.change(ALICE, tenant, {"attributes": values}, "moved"),
        lambda: services.grants.add(ALICE, tenant, GENERATION, "pilot", expires_at=expires_at, cohort=cohort),
        lambda: services.change_requests.submit(
            BOB, GENERATION, chance.choice([Advance(), RollBack()]), "on we go"
        ),
        lambda: services.features.kill(BOB, GENERATION, "abuse", tenant=tenant, wait=0),
        lambda: services.features.revive(BOB, GENERATION, "sorted out", tenant=tenant, wait=0),
        lambda: services.features.kill(BOB, GENERATION, "fire", wait=0),
        lambda: services.features.revive(BOB, GENERATION, "out", wait=0),
    ]
    with contextlib.suppress(Conflict, InvalidRequest):
        chance.choice([*acts, acts[6], acts[6]])()


def once_more(now: Any, shown: dict[str, Any], recorded: list[tuple[Decision, Basis]]) -> dict[str, Any]:
    """The slow way: each decision by what the audit log says of its second."""
    phases, run = parse_phases(shown["phases"], GENERATION), shown["run"]
    standing = Run(1, run["phase"], "running", 0, "x", open_to=run["open_to"])
    after = RunningPlan(dataclasses.replace(now.plan, phases=phases), standing)
    will = evaluator(after)
    counts, who = Counter(), {"newly_allowed": set(), "newly_denied": set()}
    for decision, then in recorded:
        facts = dataclasses.replace(then.facts, halts={})
        properties = dataclasses.replace(then, facts=facts, plan=after).properties
        allowed = will(GENERATION, properties) is not None and decision.reason not in OTHER_GROUNDS
        counts["allowed" if decision.allowed else "denied"] += 1
        if allowed != decision.allowed:
            kind = "newly_allowed" if allowed else "newly_denied"
            counts[kind] += 1
            who[kind].add(decision.tenant_id)
    turned = {kind: {"decisions": counts[kind], "tenants": len(who[kind])} for kind in who}
    return {
        "decisions": len(recorded),
        "allowed": counts["allowed"],
        "denied": counts["denied"],
        **turned,
        "complete": True,
    }


def test_needs_follow_from_what_was_used(services: SimpleNamespace, clock: Any) -> None:
    many(services, 3)  # one of them is in the program
    for tenant in ("acme", "globex"):
        services.grants.add(ALICE, tenant, GENERATION, "pilot")
    clock.advance(24 * HOUR)
    for tenant, uses in (("acme", 6), ("globex", 1)):
        for _ in range(uses):
            use(services, decide(services, tenant), int(clock()))
    use(services, decide(services, "acme"), int(clock()), mode="test")
    budget = {"level": "phase", "unit": "image", "period": "day", "cap": 1}
    phases = {"wider_beta": {"quota": [budget]}}
    shared = {"unit": "usd_micro", "period": "month", "cap": 2_000_000, "feature": GENERATION}
    services.meters.add(ALICE, None, shared, "for all")
    told = services.simulations.simulate(GENERATION, step=Advance(), phases=phases, days=10).answer
    assert told["tenants"]["gained"] == 1
    assert told["expected"] == {
        "now": {"requests": 7, "images": 14, "cost_usd_micro": 280_000},
        "then": {"requests": 11, "images": 21, "cost_usd_micro": 420_000},
    }
    platform, phase = told["head_room"]
    assert (platform["cap"], platform["expected"], platform["fits"]) == (2_000_000, 1_260_000, True)
    assert (phase["level"], phase["meter"], phase["cap"], phase["expected"], phase["fits"]) == (
        "phase",
        None,
        1,
        3,
        False,
    )
    assert told["days"] == 10


def test_a_vendor_that_is_not_allowed_any_more_is_a_decision_that_turns(
    services: SimpleNamespace, clock: Any
) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "pilot")
    clock.advance(HOUR)
    decision = decide(services, "acme")
    use(services, decision, int(clock()), vendor="openai")
    use(services, decision, int(clock()), vendor="sandbox")
    refuse(services, dataclasses.replace(decision, reason="not_in_phase"), int(clock()), param="model")
    told = services.simulations.simulate(GENERATION, phases={"private_beta": {"vendors": ["openai"]}}).answer
    assert told["replay"]["newly_denied"] == {"decisions": 1, "tenants": 1}
    assert told["replay"]["newly_allowed"] == {"decisions": 0, "tenants": 0}


def test_what_stands_in_the_way_of_a_step_is_told_beside_it(services: SimpleNamespace, clock: Any) -> None:
    phases = [
        {"key": "one", "title": "One", "audience": {"kind": "granted"}, "exit": {"seconds": 86_400}},
        {"key": "two", "title": "Two", "audience": {"kind": "all"}, "entry": {"approvals": 2}},
    ]
    edit = services.plans.edit_to(GENERATION, {"phases": services.plans.get(GENERATION)["phases"]})
    assert edit.patch == {}
    with services.database.write() as tx:
        for table in ("plan", "phase", "phase_run"):
            tx.execute(sa.delete(metadata.tables[table]))
    services.plans.add(ALICE, GENERATION, "anew", phases=phases)
    told = services.simulations.simulate(GENERATION, step=Advance()).answer
    assert [(one["name"], one["word"]) for one in told["conditions"]] == [("seconds", "not_yet")]
    assert told["approvals_needed"] == 2


@pytest.mark.parametrize(
    ("asked", "error", "param"),
    [
        ({}, InvalidRequest, "step"),
        ({"step": Advance("nowhere")}, InvalidRequest, "to"),
        ({"step": Pause(), "days": 0}, InvalidRequest, "days"),
        ({"step": Pause(), "days": 91}, InvalidRequest, "days"),
        ({"phases": {"private_beta": None}}, InvalidRequest, "phases.private_beta"),
        (
            {"phases": {"percentage": {"audience": {"basis_points": 10_001}}}},
            InvalidRequest,
            "phases.percentage.audience.basis_points",
        ),
        ({"step": RollBack("percentage")}, InvalidRequest, "to"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    services: SimpleNamespace, asked: dict[str, Any], error: type[InvalidRequest], param: str
) -> None:
    with pytest.raises(error) as wrong:
        services.simulations.simulate(GENERATION, **asked)
    assert wrong.value.members["param"] == param


def test_only_what_has_a_plan_is_simulated(services: SimpleNamespace) -> None:
    with pytest.raises(NotFound):
        services.simulations.simulate("image-analysis", step=Advance())
