"""A phase says whose models its members may use: at the list of models, and at each call before anything is held."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import doors
import pytest
from clocks import Clock
from gateway import IMAGE_MODEL, MESSAGE_MODEL, Gateway, on_sqlite

from rollout.core.decisions import GENERATION
from rollout.core.plans import plan_json
from rollout.core.steps import Advance
from rollout.db import plans
from rollout.db.engine import Database
from rollout.services.changes import Changes

pytestmark = on_sqlite


@pytest.fixture
def gateway(database: Database, clock: Clock, tmp_path: Path) -> Gateway:
    return Gateway(database, clock, tmp_path)


def allow(gateway: Gateway, keys: str, *vendors: str) -> None:
    """As an edit would; only that a vendor of whom the catalogue knows nothing may be named."""
    with Changes(gateway.database).begin(doors.ALICE, "try") as change:
        running = plans.get(change.tx, GENERATION)
        assert running is not None
        phases = tuple(
            dataclasses.replace(phase, vendors=vendors) if phase.key in keys.split() else phase
            for phase in running.plan.phases
        )
        plans.put_phases(change.tx, dataclasses.replace(running.plan, phases=phases))
        change.record("plan.edited", subject=GENERATION, tenant=None, before=None, after=plan_json(running))
    gateway.services.state.refresh()


def models(gateway: Gateway, tenant: str = "acme") -> set[str]:
    return {model["id"] for model in gateway.door(tenant).get("/v1/models").json["data"]}


def test_models_of_other_vendors_are_not_listed_and_a_call_for_one_is_refused_before_any_hold(
    gateway: Gateway,
) -> None:
    allow(gateway, "private_beta", "somebody")
    assert IMAGE_MODEL not in models(gateway)
    assert MESSAGE_MODEL in models(gateway)
    assert gateway.door().get(f"/v1/models/{IMAGE_MODEL}").status_code == 404

    answer = gateway.door().generate()

    assert answer.status_code == 403
    error = answer.json["error"]
    assert (error["code"], error["param"]) == ("feature_not_enabled", "model")
    assert f"The model {IMAGE_MODEL} is not open to acme in this phase" in error["message"]
    assert "somebody" not in answer.text
    assert (gateway.holds(), gateway.vendor.calls) == ([], [])


def test_the_vendor_that_a_phase_names_answers(gateway: Gateway) -> None:
    allow(gateway, "private_beta", "somebody", "openai")
    assert IMAGE_MODEL in models(gateway)
    assert gateway.door().generate().status_code == 200


def test_the_phase_that_let_a_tenant_in_counts_and_not_the_one_where_the_plan_stands(
    gateway: Gateway,
) -> None:
    allow(gateway, "percentage percentage_50 general_availability", "somebody")
    gateway.services.change_requests.submit(doors.BOB, GENERATION, Advance("general_availability"), "launch")
    gateway.services.state.refresh()
    assert gateway.door().generate().status_code == 200
    assert gateway.door("globex").generate().status_code == 403
    assert IMAGE_MODEL in models(gateway)
    assert IMAGE_MODEL not in models(gateway, "globex")
    decided = [
        gateway.services.features.decide(gateway.services.state.facts(tenant), GENERATION)
        for tenant in ("acme", "globex")
    ]
    assert [(one.reason, one.vendors) for one in decided] == [("ga", None), ("ga", ("somebody",))]


def test_a_test_key_of_a_tenant_outside_tries_all_models(gateway: Gateway) -> None:
    allow(gateway, "private_beta", "somebody")
    assert gateway.door("globex", mode="test").generate().status_code == 200
    assert gateway.door("acme", mode="test").generate().status_code == 403
