"""One tenant, one answer: the decision, Unleash's engine on the document that is served, the frontend API and OFREP."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from answering import Frontend, OpenFeature, constraint, feature, keep, rollout, variant, wire_answers
from clocks import Clock
from doors import ALICE
from gateway import on_sqlite

from rollout.core.decisions import FEATURES, GENERATION, TenantFacts, context_properties
from rollout.core.flag_answers import FlagAnswer, parse_context
from rollout.core.flag_tokens import ALL_PROJECTS
from rollout.core.flags import PRODUCTION
from rollout.core.ofrep import evaluation
from rollout.core.steps import Advance
from rollout.core.unleash import Query
from rollout.db import facts as stored
from rollout.db.engine import Database
from rollout.db.tables import grant, tenant
from rollout.services.client_features import ClientFeatures
from rollout.sync import embedded
from rollout.sync.snapshot import FlagState

pytestmark = on_sqlite

TENANTS = 10_000
OVER_HTTP = 12
REGIONS = ("eu", "us", "id", "")
CLAIMS = {"tenantId": "acme", "grant": "active", "partnerBucket": "0", "halt": "0", "cohorts": ",alpha,"}


def many(database: Database, now: int) -> None:
    """Tenants of all kinds: granted with and without a cohort, once or no more, of the program or none, in regions or nowhere."""
    drawn = random.Random(7)
    tenants, grants = [], []
    for number in range(TENANTS):
        region, program = drawn.choice(REGIONS), drawn.choice(("beta", ""))
        attributes = {name: text for name, text in (("region", region), ("program", program)) if text}
        id_ = f"t{number:05}"
        fields = {"tz": "UTC", "state": "active", "version": 1, "created_at": now}
        tenants.append({"id": id_, "name": id_, "attributes": attributes, **fields})
        if drawn.random() < 0.2:
            grants.append(
                {
                    "tenant_id": id_,
                    "feature": GENERATION,
                    "id": f"grant_{number}",
                    "state": drawn.choice(("active", "active", "revoked")),
                    "cohort": drawn.choice((None, "alpha", "internal")),
                    "starts_at": now - 100,
                    "expires_at": drawn.choice((None, now - 1, now + 1000)),
                    "reason": "test",
                    "version": 1,
                    "created_at": now,
                }
            )
    with database.write() as tx:
        tx.execute(sa.insert(tenant), tenants)
        tx.execute(sa.insert(grant), grants)


OTHERS = (
    feature("plain"),
    feature("third", rollout(33, "tenantId")),
    feature("european", rollout(100, "tenantId", constraints=[constraint("region", "IN", "eu")])),
    feature("elsewhere", rollout(100, "tenantId", constraints=[constraint("region", "NOT_IN", "eu", "us")])),
    feature("below", rollout(50, "tenantId"), dependencies=[{"feature": GENERATION, "enabled": True}]),
    feature(
        "drawn",
        rollout(
            80,
            "tenantId",
            variants=[
                variant("a", 500, payload=("number", "1"), stickiness="tenantId"),
                variant("b", 500, payload=("number", "2.5"), stickiness="tenantId"),
            ],
        ),
    ),
)


@pytest.fixture
def services(database: Database, clock: Clock) -> SimpleNamespace:
    many(database, int(clock()))
    services = wire_answers(database, clock)
    keep(services, *OTHERS)
    return services


def everybody(services: SimpleNamespace) -> Iterator[TenantFacts]:
    after = ""
    with services.database.read() as tx:
        while found := stored.page(tx, GENERATION, after=after, limit=500):
            yield from found
            after = found[-1].tenant.id


def served(services: SimpleNamespace) -> FlagState:
    """The document as an SDK gets it, in an engine of its own."""
    plain = ClientFeatures(services.state).features(Query(PRODUCTION, ALL_PROJECTS)).plain
    return embedded.load(orjson.loads(plain), 1)


def properties(services: SimpleNamespace, facts: TenantFacts) -> dict[str, Any]:
    plan = services.state.snapshot.plans[GENERATION]
    return context_properties(facts, plan, services.clock())


def answers(services: SimpleNamespace, facts: TenantFacts, context: dict[str, Any]) -> dict[str, FlagAnswer]:
    found = services.flag_answers.of(
        PRODUCTION, parse_context(context), facts, lambda project: project == "default"
    )
    return {one.flag.name: one for one in found}


def agree(services: SimpleNamespace, facts: TenantFacts, sdk: FlagState) -> bool:
    """Assert that all four say the same of every flag; whether the gate is open."""
    told = {name: services.features.decide(facts, name).allowed for name in FEATURES}
    context = {"properties": properties(services, facts)}
    found = answers(services, facts, CLAIMS)
    for name in sdk.names:
        engines, ours = sdk.answer(name, context), found[name]
        assert engines is not None
        assert ours.enabled is engines["feature_enabled"], (facts, name)
        if ours.enabled:
            assert ours.variant == engines, (facts, name)
    for name, allowed in told.items():
        assert found[name].enabled is allowed, (facts, name)
        assert evaluation(found[name], {})["value"] is allowed
        alone = services.flag_answers.one(PRODUCTION, name, parse_context(CLAIMS), facts, lambda _: False)
        assert alone == found[name]
    for name in ("plain", "third", "below", "drawn"):
        value = evaluation(found[name], {}).get("value")
        assert value == (
            ({"a": 1.0, "b": 2.5}[found[name].variant["name"]] if found[name].enabled else None)
            if name == "drawn"
            else found[name].enabled
        )
    return told[GENERATION]


def test_all_four_agree_on_ten_thousand_tenants(services: SimpleNamespace) -> None:
    services.change_requests.submit(ALICE, GENERATION, Advance("percentage"), "test")
    services.state.refresh()
    sdk = served(services)
    inside = [agree(services, facts, sdk) for facts in everybody(services)]
    assert len(inside) > TENANTS
    assert 0.5 * TENANTS < sum(inside) < 0.7 * TENANTS


@pytest.mark.parametrize("stop", [None, "tenant", "everyone"])
@pytest.mark.parametrize("phase", ["private_beta", "wider_beta", "general_availability"])
def test_all_four_agree_in_each_phase_and_when_it_is_stopped(
    services: SimpleNamespace, phase: str, stop: str | None
) -> None:
    if phase != "private_beta":
        services.change_requests.submit(ALICE, GENERATION, Advance(phase), "test")
    if stop == "everyone":
        services.features.kill(ALICE, GENERATION, "test", wait=0)
    if stop == "tenant":
        services.features.kill(ALICE, GENERATION, "test", tenant="t00001", wait=0)
    services.state.refresh()
    sdk = served(services)
    inside = {
        facts.tenant.id: agree(services, facts, sdk)
        for facts, _ in zip(everybody(services), range(300), strict=False)
    }
    assert any(inside.values()) is (stop != "everyone")
    assert not (stop == "tenant" and inside["t00001"])


def test_they_agree_over_http_with_tokens_and_keys_bound_to_their_tenants(services: SimpleNamespace) -> None:
    services.change_requests.submit(ALICE, GENERATION, Advance("percentage"), "test")
    services.state.refresh()
    for id_ in random.Random(7).sample([f"t{number:05}" for number in range(TENANTS)], OVER_HTTP):
        facts = services.state.facts(id_)
        found = answers(services, facts, {})
        page, app = Frontend(services, id_).on(**CLAIMS), OpenFeature(services, id_).values(**CLAIMS)
        assert set(page) == {name for name, one in found.items() if one.enabled}
        assert {name: value for name, value in app.items() if name != "drawn"} == {
            name: one.enabled for name, one in found.items() if name != "drawn"
        }
        assert app[GENERATION] is services.features.decide(facts, GENERATION).allowed
