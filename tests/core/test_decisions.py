"""One row for each reason; what is asked of the flag, and when it is not asked at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import pytest

from rollout.core.decisions import (
    ANALYSIS,
    GENERATION,
    Decision,
    FeatureState,
    Reason,
    TenantFacts,
    context_properties,
    decide,
    decision_id,
)
from rollout.core.grants import Grant, GrantState
from rollout.core.kills import Kill
from rollout.core.plans import Plan, Run, RunningPlan, partner_bucket
from rollout.core.templates import default_phases
from rollout.core.tenants import Tenant
from rollout.errors import InvalidRequest

NOW = 1_000.0
ACME = TenantFacts(Tenant("acme", "Acme", attributes={"region": "eu", "grant": "active"}))
HALT = Kill(GENERATION, "acme", True, "finish", "abuse", "token:ana", 0, 3)


def granted(
    state: GrantState = "active", starts_at: int = 0, expires_at: int | None = None, cohort: str | None = None
) -> TenantFacts:
    grant = Grant("grt_1", "acme", GENERATION, state, starts_at, expires_at, "beta", cohort)
    return replace(ACME, grants={GENERATION: grant})


def plan(phase: str) -> RunningPlan:
    return RunningPlan(
        Plan(GENERATION, "salt", default_phases(GENERATION)), Run(2, phase, "running", 0, "ana")
    )


def open_state(phase: str = "private_beta", *, killed: bool = False, fresh: bool = True) -> FeatureState:
    return FeatureState(7, plan(phase), killed, fresh)


class Flag:
    """Lets in by the audience of one phase, or not at all, and remembers what it was asked."""

    def __init__(self, admits: str | None = None) -> None:
        self._admits = admits
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def __call__(self, flag: str, properties: Mapping[str, str]) -> str | None:
        self.asked.append((flag, properties))
        return self._admits


OFF = None
NO_PLAN = FeatureState(7, None, False, True)

TABLE: list[tuple[Reason, TenantFacts, str, FeatureState, str | None]] = [
    ("ga", ACME, GENERATION, open_state("general_availability"), "general_availability"),
    ("ga", granted(), GENERATION, open_state("general_availability"), "private_beta"),
    ("ga", ACME, ANALYSIS, NO_PLAN, OFF),
    ("ga", ACME, ANALYSIS, FeatureState(0, None, False, False), OFF),
    ("granted", granted(), GENERATION, open_state(), "private_beta"),
    ("segment", ACME, GENERATION, open_state("percentage"), "wider_beta"),
    ("percentage", ACME, GENERATION, open_state("percentage"), "percentage"),
    ("killed", granted(), GENERATION, open_state(killed=True), "private_beta"),
    ("killed", ACME, ANALYSIS, FeatureState(7, None, True, True), OFF),
    (
        "killed",
        replace(granted(), halts={GENERATION: HALT}),
        GENERATION,
        open_state(killed=True, fresh=False),
        OFF,
    ),
    ("tenant_halted", replace(granted(), halts={GENERATION: HALT}), GENERATION, open_state(), "private_beta"),
    ("tenant_halted", replace(ACME, halts={ANALYSIS: HALT}), ANALYSIS, NO_PLAN, OFF),
    ("flags_stale", granted(), GENERATION, open_state(fresh=False), "private_beta"),
    ("flags_stale", granted(), GENERATION, FeatureState(0, None, False, False), OFF),
    ("flag_unknown", granted(), GENERATION, NO_PLAN, "private_beta"),
    ("flag_off", granted(), GENERATION, replace(open_state(), upstream=Flag()), "private_beta"),
    ("granted", granted(), GENERATION, replace(open_state(), upstream=Flag("renamed there")), "private_beta"),
    ("not_granted", ACME, GENERATION, open_state(), OFF),
    ("not_granted", ACME, GENERATION, replace(open_state(), upstream=Flag("private_beta")), OFF),
    ("not_granted", granted("revoked"), GENERATION, open_state(), OFF),
    ("not_granted", granted(starts_at=2_000), GENERATION, open_state(), OFF),
    ("grant_expired", granted(expires_at=999), GENERATION, open_state(), OFF),
    ("grant_expired", granted("expired", expires_at=999), GENERATION, open_state("percentage"), OFF),
    ("not_in_phase", ACME, GENERATION, open_state("wider_beta"), OFF),
    ("not_in_phase", granted(), GENERATION, open_state("internal"), OFF),
]


@pytest.mark.parametrize(("reason", "facts", "feature", "state", "admits"), TABLE)
def test_each_reason(
    reason: Reason, facts: TenantFacts, feature: str, state: FeatureState, admits: str | None
) -> None:
    decision = decide(facts, feature, state, NOW, Flag(admits))
    assert decision.reason == reason
    assert decision.allowed is (reason in ("ga", "granted", "segment", "percentage"))


def test_the_table_has_every_reason() -> None:
    assert {row[0] for row in TABLE} == set(get_args(Reason))


def test_the_flag_is_asked_once_and_not_at_all_when_a_bit_decides() -> None:
    asked, unasked = Flag("private_beta"), Flag("private_beta")
    decide(granted(), GENERATION, open_state(), NOW, asked)
    decide(granted(), GENERATION, open_state(killed=True), NOW, unasked)
    decide(replace(ACME, halts={GENERATION: HALT}), GENERATION, open_state(), NOW, unasked)
    decide(ACME, ANALYSIS, NO_PLAN, NOW, unasked)
    assert [flag for flag, _ in asked.asked] == [GENERATION]
    assert unasked.asked == []


def test_a_halt_stops_only_the_feature_it_names() -> None:
    halted = replace(ACME, halts={GENERATION: HALT})
    assert decide(halted, ANALYSIS, NO_PLAN, NOW, Flag()).allowed


def test_the_decision_carries_where_the_plan_stands() -> None:
    decision = decide(granted(), GENERATION, open_state(), NOW, Flag("private_beta"))
    assert decision == Decision(
        id=decision_id(7, "acme", GENERATION),
        tenant_id="acme",
        feature=GENERATION,
        allowed=True,
        reason="granted",
        phase="private_beta",
        run=2,
        revision=7,
        valid_until=None,
    )


def test_the_id_is_the_same_for_the_same_question_and_another_for_each_other() -> None:
    assert decision_id(7, "acme", GENERATION) == decision_id(7, "acme", GENERATION)
    others = {
        decision_id(8, "acme", GENERATION),
        decision_id(7, "globex", GENERATION),
        decision_id(7, "acme", ANALYSIS),
    }
    assert len(others | {decision_id(7, "acme", GENERATION)}) == 4
    assert all(name.startswith("dec_") for name in others)


@pytest.mark.parametrize(
    ("facts", "valid_until"),
    [
        (ACME, None),
        (granted(), None),
        (granted(expires_at=1_500), 1_500),
        (granted(starts_at=1_200, expires_at=1_500), 1_200),
        (granted(expires_at=900), None),
        (granted("revoked", expires_at=1_500), None),
    ],
)
def test_a_decision_holds_until_the_grant_begins_or_ends(
    facts: TenantFacts, valid_until: float | None
) -> None:
    assert decide(facts, GENERATION, open_state(), NOW, Flag()).valid_until == valid_until


def test_context_properties_come_from_rows_and_no_attribute_replaces_them() -> None:
    assert context_properties(ACME, plan("private_beta"), NOW) == {
        "region": "eu",
        "tenantId": "acme",
        "grant": "none",
        "phase": "private_beta",
        "halt": "0",
        "cohorts": ",",
        "partnerBucket": str(partner_bucket("salt", "acme")),
    }


def test_a_cohort_counts_while_its_grant_does() -> None:
    running = plan("internal")
    assert context_properties(granted(cohort="internal"), running, NOW)["cohorts"] == ",internal,"
    assert context_properties(granted(cohort="internal", expires_at=999), running, NOW)["cohorts"] == ","
    assert context_properties(granted(), running, NOW)["cohorts"] == ","


def test_a_kill_has_one_of_two_ways_with_work_in_flight() -> None:
    with pytest.raises(InvalidRequest):
        Kill(GENERATION, "*", True, "drop", "why", "ana", 0, 1)  # type: ignore[arg-type]
