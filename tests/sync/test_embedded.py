"""What the engine answers is what the plan means, and a document that it would misread never reaches it."""

from __future__ import annotations

import os
import threading
from typing import Any

import orjson
import pytest
from answering import constraint, feature, rollout, strategy, variant
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.core.decisions import GENERATION, TenantFacts, context_properties
from rollout.core.flags import NUMBER_OPERATORS, STRING_OPERATORS, Constraint
from rollout.core.grants import Grant
from rollout.core.kills import Kill
from rollout.core.plans import (
    Everyone,
    Granted,
    Percentage,
    Phase,
    Plan,
    Run,
    RunningPlan,
    Segment,
    compile_flag,
    compile_parts,
    document,
    partner_bucket,
)
from rollout.core.templates import default_phases
from rollout.core.tenants import Tenant
from rollout.sync import embedded
from rollout.sync.embedded import FlagsRefused, load

NOW = 1_000
HALT = Kill(GENERATION, "acme", True, "finish", "abuse", "ana", 0, 1)


def standing(phase: str, phases: tuple[Phase, ...] = default_phases(GENERATION)) -> RunningPlan:
    return RunningPlan(Plan(GENERATION, "salt", phases), Run(1, phase, "running", 0, "ana"))


def admitted_in(plan: RunningPlan, facts: TenantFacts) -> str | None:
    flags = load(document([compile_flag(plan, killed=False)]), 1)
    return flags.evaluate(GENERATION, context_properties(facts, plan, NOW))


PHASES = (
    Phase("internal", "", Granted(("internal", "staff"))),
    Phase("tenth", "", Percentage(1_000, (Constraint("region", "STR_STARTS_WITH", ("eu",)),))),
    Phase("private", "", Granted()),
    Phase(
        "segment",
        "",
        Segment((Constraint("program", "IN", ("beta",)), Constraint("seats", "NUM_GT", value="10"))),
    ),
    Phase("half", "", Percentage(5_000)),
    Phase("everyone", "", Everyone()),
)

TENANTS = st.builds(
    Tenant,
    id=st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True),
    name=st.just("A tenant"),
    attributes=st.fixed_dictionaries(
        {},
        optional={
            "region": st.sampled_from(["eu", "eu-west", "us", "EU"]),
            "program": st.sampled_from(["beta", "Beta", "alphabet"]),
            "seats": st.sampled_from(["10", "11", "9.5", "many", ""]),
            "grant": st.just("active"),
            "halt": st.just("0"),
            "partnerBucket": st.just("0"),
        },
    ),
)
GRANTS = st.none() | st.builds(
    Grant,
    id=st.just("grt_1"),
    tenant_id=st.just("any"),
    feature=st.just(GENERATION),
    state=st.sampled_from(["active", "expired", "revoked"]),
    starts_at=st.sampled_from([0, 2_000]),
    expires_at=st.sampled_from([None, 500, 2_000]),
    reason=st.just("beta"),
    cohort=st.sampled_from([None, "internal", "staff", "internals", "int"]),
)


def as_the_plan_says(tenant: Tenant, grant: Grant | None, phase: str, halted: bool) -> str | None:
    """The same in plain Python, sharing nothing with the compiler."""
    attributes = tenant.attributes
    active = (
        grant is not None
        and grant.state == "active"
        and grant.starts_at <= NOW < (grant.expires_at or NOW + 1)
    )
    cohort = grant.cohort if grant is not None and active else None
    bucket = partner_bucket("salt", tenant.id)
    seats = attributes.get("seats", "")
    inside = {
        "internal": cohort in ("internal", "staff"),
        "tenth": bucket < 1_000 and attributes.get("region", "").startswith("eu"),
        "private": active,
        "segment": attributes.get("program") == "beta" and seats == "11",
        "half": bucket < 5_000,
        "everyone": True,
    }
    order = [item.key for item in PHASES]
    reached = order[: order.index(phase) + 1]
    return None if halted else next((key for key in reached if inside[key]), None)


@settings(max_examples=400, deadline=None)
@given(TENANTS, GRANTS, st.sampled_from(PHASES), st.booleans())
def test_the_engine_answers_what_the_plan_says(
    tenant: Tenant, grant: Grant | None, phase: Phase, halted: bool
) -> None:
    facts = TenantFacts(tenant, {GENERATION: grant} if grant else {}, {GENERATION: HALT} if halted else {})
    expected = as_the_plan_says(tenant, grant, phase.key, halted)
    assert admitted_in(standing(phase.key, PHASES), facts) == expected


def test_no_step_of_a_share_removes_one_of_ten_thousand_tenants() -> None:
    members: set[str] = set()
    facts = [TenantFacts(Tenant(f"tenant-{number}", "A tenant")) for number in range(10_000)]
    for share in (0, 1, 1_250, 9_999, 10_000):
        plan = standing("percentage", (Phase("percentage", "", Percentage(share)),))
        flags = load(document([compile_flag(plan, killed=False)]), 1)
        inside = {
            one.tenant.id
            for one in facts
            if flags.evaluate(GENERATION, context_properties(one, plan, NOW)) is not None
        }
        assert members <= inside
        if share == 1_250:
            assert abs(len(inside) / 10_000 - 0.125) <= 0.009
        members = inside
    assert len(members) == 10_000


EVERY_FIELD = TenantFacts(
    Tenant("acme", "Acme", attributes={"program": "beta", "region": "eu", "seats": "11"}),
    {GENERATION: Grant("grt_1", "acme", GENERATION, "active", 0, None, "beta", "internal")},
)


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.key)
def test_a_context_field_that_is_missing_closes_the_door(phase: Phase) -> None:
    alone = standing(phase.key, (phase if phase.key != "tenth" and phase.key != "half" else _always(phase),))
    evaluate = load(document([compile_flag(alone, killed=False)]), 1).evaluate
    properties = context_properties(EVERY_FIELD, alone, NOW)
    used = {item["contextName"] for item in compile_flag(alone, killed=False)["strategies"][0]["constraints"]}
    assert evaluate(GENERATION, properties) == phase.key
    for field in used | {"tenantId"}:
        without = {name: value for name, value in properties.items() if name != field}
        assert evaluate(GENERATION, without) is None, field


def _always(phase: Phase) -> Phase:
    assert isinstance(phase.audience, Percentage)
    return Phase(phase.key, "", Percentage(10_000, phase.audience.filter))


@pytest.mark.parametrize("operator", STRING_OPERATORS + NUMBER_OPERATORS)
def test_each_operator_that_an_audience_may_use_is_false_without_its_field(operator: str) -> None:
    number = operator in NUMBER_OPERATORS
    constraint = Constraint("field", operator, () if number else ("a",), "1" if number else None)
    plan = standing("segment", (Phase("segment", "", Segment((constraint,))),))
    assert admitted_in(plan, TenantFacts(Tenant("acme", "Acme"))) is None


def test_a_flag_that_is_not_known_is_off_and_the_engine_does_not_hear_of_it() -> None:
    flags = load(document([compile_flag(standing("general_availability"), killed=False)]), 1)
    assert flags.evaluate("another-flag", {"tenantId": "acme"}) is None


def test_a_killed_flag_is_off_for_everyone() -> None:
    plan = standing("general_availability")
    flags = load(document([compile_flag(plan, killed=True)]), 1)
    assert flags.evaluate(GENERATION, context_properties(EVERY_FIELD, plan, NOW)) is None


def test_the_parts_of_a_plan_load_as_flags() -> None:
    plan = standing("private_beta")
    evaluate = load(compile_parts(plan), 1).evaluate
    properties = context_properties(EVERY_FIELD, plan, NOW)
    assert evaluate("private_beta.0", properties) is not None
    assert evaluate("percentage.0", {**properties, "partnerBucket": "1000"}) is None


@pytest.mark.parametrize(
    "spoiled", [{}, {"version": 2, "features": [{"enabled": True}]}, {"version": 2, "features": ["x"]}]
)
def test_a_document_whose_flags_have_no_names_is_refused(spoiled: dict[str, Any]) -> None:
    with pytest.raises(FlagsRefused, match="features"):
        load(spoiled, 1)


def test_an_engine_that_loads_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from UnleashClient.clients.unleash_client import UnleashClient

    monkeypatch.setattr(UnleashClient, "feature_definitions", lambda _self: {})
    with pytest.raises(FlagsRefused, match="image-generation"):
        load(document([compile_flag(standing("internal"), killed=False)]), 1)


def test_it_answers_what_the_client_itself_does() -> None:
    flags = {
        "version": 2,
        "features": [
            feature("plain"),
            feature("off", enabled=False),
            feature("drawn", variants=[variant("a", 500, payload=("json", '{"x": "é"}')), variant("b", 500)]),
            feature("☃", rollout(50, "userId")),
            feature("theirs", strategy("their-own"), strategy("another")),
            feature("below", dependencies=[{"feature": "☃", "enabled": True}]),
            feature("dated", strategy(constraints=[constraint("currentTime", "DATE_AFTER", value="2026-01-01T00:00:00Z")])),
            feature("numbered", strategy(constraints=[constraint("seats", "NUM_GT", value="9")])),
            feature("odd", strategy(constraints=[constraint("plan", "NOBODY_KNOWS", "x")])),
        ],
    }  # fmt: skip
    client, state = embedded._client(orjson.dumps(flags).decode()), load(flags, 1)
    contexts: list[dict[str, Any]] = [
        *({"userId": f"user {number}", "sessionId": "s"} for number in range(50)),
        {"properties": {"seats": 10}, "userId": "u"},
        {"seats": "11", "userId": None, "sessionId": "s"},
        {"currentTime": "nonsense", "userId": "u"},
        {"properties": {"plan": "\x00☃"}, "userId": "u"},
    ]
    for name in state.names:
        for context in contexts:
            assert state.answer(name, context) == client.get_variant(name, context), (name, context)


def test_loading_starts_no_thread() -> None:
    before = threading.active_count()
    load(document([compile_flag(standing("internal"), killed=False)]), 1)
    assert threading.active_count() == before


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_loaded_flags_survive_a_fork() -> None:
    plan = standing("general_availability")
    flags = load(document([compile_flag(plan, killed=False)]), 1)
    child = os.fork()
    if child == 0:
        answer = flags.evaluate(GENERATION, context_properties(EVERY_FIELD, plan, NOW))
        os._exit(0 if answer is not None else 1)
    assert os.waitpid(child, 0)[1] == 0
