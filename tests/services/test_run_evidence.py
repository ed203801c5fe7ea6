"""What a run came to, as gates look at it: its own calls by live keys that ended, and the ratings of what it made."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, SECRET, wire
from uses import Uses, generation

from rollout.core.decisions import GENERATION
from rollout.core.evaluations import Evaluation
from rollout.core.feedback import Opinion
from rollout.core.gates import Evidence
from rollout.core.plans import Run
from rollout.core.steps import Advance, Restart
from rollout.core.uses import Generation
from rollout.db import evaluations, evidence
from rollout.db.engine import Database
from rollout.errors import Conflict
from rollout.services.changes import Changes
from rollout.services.feedback import Feedback
from rollout.services.ids import first_id, ids_by

RUN = Run(2, "private_beta", "running", 1_795_348_800, "token:ana")
UP, DOWN = Opinion("up"), Opinion("down")


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    wired = wire(database, clock)
    wired.uses = Uses(database)
    wired.feedback = Feedback(database, Changes(database), SECRET, ids_by(clock), clock)
    return wired


def of_run(services: SimpleNamespace, run: Run = RUN) -> Evidence:
    with services.database.read() as tx:
        return evidence.of_run(tx, GENERATION, run, first_id("fb", run.entered_at))


def test_a_run_without_calls_came_to_nothing(services: SimpleNamespace) -> None:
    assert of_run(services) == Evidence()


def test_calls_are_counted_by_how_they_ended(services: SimpleNamespace) -> None:
    uses = services.uses
    uses.settled(generation("gen_1"), 40_000, images=2)
    uses.settled(generation("gen_2", tenant_id="globex"), 20_000, images=1)
    uses.settled(generation("gen_3"), 500, images=0)
    uses.settled(generation("gen_4"), 9_000, images=1, source="estimate")
    uses.void(generation("gen_5"), 9_000)
    uses.unknown(generation("gen_6"), 9_000)
    assert of_run(services) == Evidence(
        requests=6, tenants=2, refused=1, failed=3, images=3, cost_usd_micro=60_000
    )


def test_what_runs_still_and_other_runs_and_test_keys_do_not_count(services: SimpleNamespace) -> None:
    uses = services.uses
    uses.settled(generation("gen_1", run=1), 5, images=1)
    uses.settled(generation("gen_2", mode="test"), 5, images=1)
    uses.settled(generation("gen_3", run=3), 5, images=1)
    with uses.held(generation("gen_4"), 5) as held:
        assert of_run(services) == Evidence()
        held.void("never sent")
    assert of_run(services, dataclasses.replace(RUN, entered_at=RUN.entered_at + 1)) == Evidence()


def test_ratings_count_where_their_picture_was_made(services: SimpleNamespace, clock: Any) -> None:
    uses, rate = services.uses, services.feedback.submit
    made: dict[str, dict[str, Any]] = {
        "gen_1": {},
        "gen_2": {},
        "gen_3": {"run": 1},
        "gen_4": {"mode": "test"},
    }
    for name, changed in made.items():
        uses.settled(generation(name, **changed), 5, images=1)
    uses.settled(generation("gen_5", tenant_id="globex"), 5, images=1)
    clock.advance(3600)
    rate("acme", "gen_1", "ann", UP)
    rate("acme", "gen_2", "ann", DOWN)
    rate("acme", "gen_2", "ben", DOWN)
    rate("acme", "gen_3", "cyd", DOWN)
    rate("acme", "gen_4", "dan", DOWN)
    rate("globex", "gen_5", "ann", UP)
    taken_back, _ = rate("acme", "gen_1", "ben", DOWN)
    services.feedback.withdraw("acme", taken_back.id)
    found = of_run(services)
    assert (found.ratings, found.negative, found.raters) == (4, 2, 3)


def test_pictures_that_claude_judged_count_by_their_least_score(services: SimpleNamespace) -> None:
    def judged(made: Generation, score: float | None, at: int = RUN.entered_at) -> None:
        services.uses.settled(made, 5, images=1)
        facts = {"feature": made.feature, "phase": made.phase, "run": made.run, "model": made.model}
        skipped = "late" if score is None else None
        with services.database.write() as tx:
            found = Evaluation(made.tenant_id, made.id, **facts, judge="claude", score=score, skipped=skipped)
            evaluations.add(tx, dataclasses.replace(found, created_at=at))

    judged(generation("gen_1"), 0.5)
    judged(generation("gen_2"), 0.49)
    judged(generation("gen_3", tenant_id="globex"), 0.0)
    judged(generation("gen_4"), None)
    judged(generation("gen_5", run=1), 0.0)
    judged(generation("gen_6", mode="test"), 0.0)
    judged(generation("gen_7"), 0.0, RUN.entered_at - 1)
    found = of_run(services)
    assert (found.evaluations, found.poor) == (3, 2)


def test_the_newest_calls_and_ratings_are_looked_at(
    services: SimpleNamespace, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked at is bounded, however long a run is."""
    for number in range(3):
        services.uses.settled(generation(f"gen_{number}"), 10**number, images=1)
        clock.advance(60)
        services.feedback.submit("acme", f"gen_{number}", f"user-{number}", DOWN if number else UP)
    monkeypatch.setattr(evidence, "COUNTED", 2)
    found = of_run(services)
    assert (found.requests, found.cost_usd_micro) == (2, 110)
    assert (found.ratings, found.negative) == (2, 2)


def test_an_advance_is_possible_once_the_calls_are_there(services: SimpleNamespace) -> None:
    gates = {"exit": {"requests": 2, "tenants": 1}, "hold": {"failed_percent": 40}}
    services.change_requests.submit(ALICE, GENERATION, Restart(gates), "with gates")

    def unmet() -> dict[str, str]:
        with pytest.raises(Conflict) as refused:
            services.change_requests.submit(ALICE, GENERATION, Advance(), "ready")
        return {one["name"]: one["word"] for one in refused.value.members["unmet"]}

    assert unmet() == {"requests": "no_data", "tenants": "no_data", "failed_percent": "no_data"}
    services.uses.void(generation("gen_1"), 5)
    assert unmet() == {"requests": "not_enough", "failed_percent": "failing"}
    services.uses.settled(generation("gen_2"), 5, images=1)
    assert unmet() == {"failed_percent": "failing"}
    services.uses.settled(generation("gen_3"), 5, images=1)
    assert services.change_requests.submit(ALICE, GENERATION, Advance(), "ready").plan


def test_a_phase_moves_on_when_its_evidence_comes(services: SimpleNamespace) -> None:
    gates = {"exit": {"requests": 1}, "moves_on": True}
    services.change_requests.submit(ALICE, GENERATION, Restart(gates), "with gates")
    services.controller.tick()
    assert services.plans.get(GENERATION)["run"]["phase"] == "private_beta"
    services.uses.settled(generation("gen_1"), 5, images=1)
    services.controller.tick()
    assert services.plans.get(GENERATION)["run"]["phase"] == "wider_beta"
