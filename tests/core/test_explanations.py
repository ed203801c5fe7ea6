"""Explanations: they agree with the decision, what would change it does when it is carried out, and partners read of nobody else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.core.decisions import ANALYSIS, GENERATION, Evaluate, TenantFacts
from rollout.core.explanations import Basis, Explanation, explain, told
from rollout.core.flags import Constraint
from rollout.core.gates import Gate
from rollout.core.grants import Grant
from rollout.core.kills import EVERYONE, Kill
from rollout.core.plans import (
    Audience,
    Everyone,
    Granted,
    Percentage,
    Phase,
    Plan,
    Run,
    RunningPlan,
    Segment,
    partner_bucket,
)
from rollout.core.tenants import Tenant
from rollout.sync import embedded

NOW = 1_795_348_800
OTHER = "wayland-yutani"
COHORTS = ("internal", "early")
REASON = f"asked for by {OTHER}, at most 4711 pictures"


def engine(document: Mapping[str, Any]) -> Evaluate:
    return embedded.load(document, 0).evaluate


def explained(basis: Basis) -> Explanation:
    return explain(basis, basis.decide(engine), engine)


def stop(tenant: str) -> Kill:
    return Kill(GENERATION, tenant, True, "finish", REASON, "token:ana", NOW * 1000, 7)


texts = st.sampled_from(["beta", "alpha", "eu-west", "eu-east", "7", "20"])
constraints = st.one_of(
    st.builds(
        Constraint,
        st.sampled_from(["program", "region", "seats"]),
        st.sampled_from(["IN", "STR_CONTAINS", "STR_STARTS_WITH", "STR_ENDS_WITH"]),
        st.lists(texts, min_size=1, max_size=2, unique=True).map(tuple),
    ),
    st.builds(
        Constraint,
        st.just("seats"),
        st.sampled_from(["NUM_EQ", "NUM_GT", "NUM_GTE", "NUM_LT", "NUM_LTE"]),
        st.just(()),
        st.sampled_from(["5", "7.5", "20"]),
    ),
)
conditions = st.lists(constraints, min_size=1, max_size=3).map(tuple)
audiences: st.SearchStrategy[Audience] = st.one_of(
    st.lists(st.sampled_from(COHORTS), max_size=2, unique=True).map(tuple).map(Granted),
    conditions.map(Segment),
    st.builds(Percentage, st.integers(0, 10_000), st.one_of(st.just(()), conditions)),
    st.just(Everyone()),
)


@st.composite
def plans(draw: st.DrawFn) -> RunningPlan:
    phases = tuple(
        Phase(f"phase-{number}", f"{OTHER} {number}", audience, entry=draw(gates))
        for number, audience in enumerate(draw(st.lists(audiences, min_size=1, max_size=5)))
    )
    position = draw(st.integers(0, len(phases) - 1))
    reach = draw(st.integers(position, len(phases) - 1))
    run = Run(3, phases[position].key, draw(st.sampled_from(["running", "paused"])), NOW - 500, "token:ana")
    open_to = phases[reach].key if reach > position else None
    return RunningPlan(Plan(GENERATION, "salt", phases), dataclasses.replace(run, open_to=open_to))


gates = st.sampled_from([None, Gate(), Gate(not_before=NOW + 86_400), Gate(not_before=NOW - 86_400)])
grants = st.builds(
    Grant,
    st.just("grt_1"),
    st.just("acme"),
    st.just(GENERATION),
    st.sampled_from(["active", "active", "active", "revoked"]),
    st.sampled_from([NOW - 1000, NOW - 1000, NOW + 50]),
    st.sampled_from([None, NOW - 10, NOW + 100]),
    st.just(REASON),
    st.sampled_from([None, *COHORTS]),
)
attributes = st.fixed_dictionaries(
    {}, optional={"program": texts, "region": texts, "seats": st.sampled_from(["5", "7", "7.5", "19", "20"])}
)


@st.composite
def bases(draw: st.DrawFn) -> Basis:
    feature = draw(st.sampled_from([GENERATION, GENERATION, GENERATION, ANALYSIS]))
    grant, halted, killed = draw(st.none() | grants), draw(st.booleans()), draw(st.booleans())
    facts = TenantFacts(
        Tenant("acme", "Acme", attributes=draw(attributes)),
        {GENERATION: grant} if grant else {},
        {feature: stop("acme")} if halted else {},
    )
    plan = draw(st.none() | plans()) if feature == GENERATION else None
    return Basis(facts, feature, plan, stop(EVERYONE) if killed else None, 12, NOW)


@settings(max_examples=150, deadline=None)
@given(bases())
def test_it_agrees_with_the_decision_and_its_ways_are_true_when_carried_out(basis: Basis) -> None:
    found = explained(basis)
    admitted = any(door.is_open and door.admits for door in found.doors)
    if found.decision.reason not in ("killed", "tenant_halted") and basis.feature == GENERATION:
        assert found.decision.allowed is admitted
    for way in found.ways:
        assert way.carry_out(basis).decide(engine).allowed is not found.decision.allowed, way
        assert way.acts
    assert len(found.would_change) == len(found.ways)
    json.dumps([way.as_json() for way in found.ways])


@settings(max_examples=100, deadline=None)
@given(bases())
def test_no_way_asks_for_more_than_it_takes(basis: Basis) -> None:
    found = explained(basis)
    if found.decision.allowed:
        stops = [way.as_json()["acts"] for way in found.ways[:2]]
        assert [act["do"] for (act,) in stops] == ["kill", "kill"]
        return
    for way in found.ways:
        for left_out in range(len(way.acts)):
            fewer = dataclasses.replace(way, acts=(*way.acts[:left_out], *way.acts[left_out + 1 :]))
            assert fewer.carry_out(basis).decide(engine).allowed is False, (way, left_out)


@settings(max_examples=150, deadline=None)
@given(bases())
def test_partners_read_no_other_tenant_no_share_and_no_limit(basis: Basis) -> None:
    decision = basis.decide(engine)
    words = told(decision, basis.grant, basis.plan, basis.now)
    text = f"{words.detail} {words.how_to_enable or ''}"
    bucket = partner_bucket("salt", "acme") if basis.plan else 4711
    for secret in (
        OTHER,
        "4711",
        str(bucket),
        "%",
        "token:ana",
        "phase-",
        "salt",
        *COHORTS,
        "seats",
        "region",
    ):
        assert secret not in text
    if basis.plan is not None:
        shares = [
            phase.audience.basis_points
            for phase in basis.plan.plan.phases
            if isinstance(phase.audience, Percentage)
        ]
        for share in shares:
            assert f" {share} " not in text
            assert f"{share / 100:g}" not in text.replace("2026", "").split()
    assert words.detail.endswith(".")
    assert (words.how_to_enable is not None) == (
        decision.reason in ("not_granted", "grant_expired", "not_in_phase")
    )


def basis_of(*phases: Phase, at: str, grant: Grant | None = None, **attributes: str) -> Basis:
    run = Run(1, at, "running", NOW - 500, "token:ana")
    facts = TenantFacts(Tenant("acme", "Acme", attributes=attributes), {GENERATION: grant} if grant else {})
    return Basis(facts, GENERATION, RunningPlan(Plan(GENERATION, "salt", phases), run), None, 12, NOW)


BETA = Constraint("program", "IN", ("beta",))
EU = Constraint("region", "STR_STARTS_WITH", ("eu-west", "eu-north"))
LARGE = Constraint("seats", "NUM_GTE", value="20")


def test_each_phase_says_all_that_it_takes() -> None:
    found = explained(
        basis_of(
            Phase("internal", "Internal", Granted(("internal",))),
            Phase("beta", "Beta", Segment((BETA, LARGE))),
            Phase("share", "Share", Percentage(0, (EU,))),
            Phase("all", "All", Everyone()),
            at="internal",
            program="beta",
        )
    )
    share = partner_bucket("salt", "acme") + 1
    assert found.would_change == [
        "On with a grant in cohort internal.",
        "On with beta reached and seats = 20.",
        f"On with share reached and a share of {share / 100:.2f} % in share and region = eu-west.",
        "On with all reached.",
    ]


def test_who_is_in_twice_loses_it_by_both() -> None:
    phases = (
        Phase("internal", "Internal", Granted(("internal",))),
        Phase("partners", "Partners", Granted()),
        Phase("beta", "Beta", Segment((BETA,))),
    )
    grant = Grant("grt_1", "acme", GENERATION, "active", NOW - 10, NOW + 60, "pilot")
    found = explained(basis_of(*phases, at="beta", grant=grant, program="beta"))
    assert found.would_change == [
        "Off with image-generation killed for acme.",
        "Off with image-generation killed for everyone.",
        "Off with a rollback to internal.",
        "Off with grt_1 revoked and without program.",
        "Off with the time 2026-11-22T12:01:00Z, by its grant and without program.",
    ]


def test_a_grant_in_the_wrong_cohort_makes_way_for_another() -> None:
    grant = Grant("grt_1", "acme", GENERATION, "active", NOW - 10, None, "pilot")
    found = explained(
        basis_of(Phase("internal", "Internal", Granted(("internal",))), at="internal", grant=grant)
    )
    assert found.would_change == ["On with a grant in cohort internal in place of grt_1."]


def test_a_condition_that_nothing_meets_is_no_way_in() -> None:
    small = Constraint("seats", "NUM_LT", value="5")
    found = explained(basis_of(Phase("odd", "Odd", Segment((LARGE, small))), at="odd"))
    assert (found.decision.reason, found.ways) == ("not_in_phase", [])


def test_a_worker_without_news_lets_in_whom_no_act_would() -> None:
    basis = basis_of(Phase("all", "All", Everyone()), at="all")
    stale = dataclasses.replace(basis.decide(engine), allowed=False, reason="flags_stale")
    found = explain(basis, stale, engine)
    assert found.ways == []
    assert found.detail.startswith("Off: this process cannot confirm")


def test_a_partner_is_told_from_when_the_next_phase_is() -> None:
    later = Gate(not_before=NOW + 86_400)
    basis = basis_of(
        Phase("internal", "Internal", Granted(("internal",))),
        Phase("all", "All", Everyone(), entry=later),
        at="internal",
    )
    words = told(basis.decide(engine), None, basis.plan, NOW)
    assert (
        words.detail == "Not open to you yet: the next phase begins at 2026-11-23T12:00:00Z at the earliest."
    )
    assert told(basis.decide(engine), None, basis.plan, NOW + 86_400).detail == "Not open to you yet."
