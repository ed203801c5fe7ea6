"""Grants: given, given another end, revoked, given anew; ended by time alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import pytest
from doors import ALICE, BOB, wire

from rollout.core.decisions import ANALYSIS, GENERATION, Decision
from rollout.core.grants import Asking, GrantState
from rollout.core.tenants import Tenant
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound, StaleVersion
from rollout.services.grants import Grants

DAY = 86_400


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def grants(services: SimpleNamespace) -> Grants:
    found: Grants = services.grants
    return found


def decision(services: SimpleNamespace, tenant_id: str) -> Decision:
    services.state.refresh()
    found: Decision = services.features.decide(services.state.facts(tenant_id), GENERATION)
    return found


def test_a_grant_lets_its_tenant_in_and_nobody_else(
    services: SimpleNamespace, grants: Grants, clock: Any
) -> None:
    grant = grants.add(ALICE, "acme", GENERATION, "beta partner", expires_at=int(clock()) + DAY)
    assert (grant.state, grant.starts_at, grant.reason) == ("active", clock(), "beta partner")
    assert (decision(services, "acme").allowed, decision(services, "acme").reason) == (True, "granted")
    assert decision(services, "globex").reason == "not_granted"


def test_nobody_is_let_in_without_a_limit(services: SimpleNamespace, grants: Grants) -> None:
    grants.add(ALICE, "acme", GENERATION, "beta partner")
    services.state.refresh()
    limits = {(meter.unit, meter.period): meter.cap for meter in services.state.facts("acme").meters}
    assert limits[("image", "day")] == 100
    assert limits[("usd_micro", "month")] == 100_000_000


def test_time_ends_a_grant_without_anybody_writing_it_down(
    services: SimpleNamespace, grants: Grants, clock: Any
) -> None:
    grant = grants.add(ALICE, "acme", GENERATION, "beta partner", expires_at=int(clock()) + DAY)
    clock.advance(DAY)
    assert grants.get(grant.id).state == "expired"
    assert [one.state for one in grants.page(tenant="acme", feature=None, before=None, limit=9)] == [
        "expired"
    ]
    assert decision(services, "acme").reason == "grant_expired"


def test_what_time_has_ended_is_written_down_once_and_ends_no_sooner_for_it(
    services: SimpleNamespace, grants: Grants, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.services.grants.EXPIRED_AT_ONCE", 2)
    services.tenants.add(ALICE, Tenant("one", "one"), "more")
    for tenant in ("acme", "globex", "one"):
        grants.add(ALICE, tenant, GENERATION, "a trial", expires_at=int(clock()) + DAY)

    def written() -> list[str | None]:
        grants.expire()
        found = services.audit.page(before=None, limit=50)
        return [row["tenant_id"] for row in found if row["action"] == "grant.expired"]

    assert written() == []
    clock.advance(DAY - 1)
    assert written() == []
    assert decision(services, "acme").allowed
    clock.advance(1)
    assert [len(written()) for _ in range(3)] == [2, 3, 3]
    assert sorted(filter(None, written())) == ["acme", "globex", "one"]
    assert decision(services, "acme").reason == "grant_expired"
    again = grants.add(ALICE, "acme", GENERATION, "bought", expires_at=int(clock()) + DAY)
    assert grants.get(again.id).state == "active"
    assert decision(services, "acme").allowed
    assert services.audit.verify() is None


def test_a_revoked_grant_lets_nobody_in_and_can_be_revoked_again(
    services: SimpleNamespace, grants: Grants
) -> None:
    grant = grants.add(ALICE, "acme", GENERATION, "beta partner")
    revoked = grants.revoke(BOB, grant.id, "trial is over")
    assert (revoked.state, revoked.reason) == ("revoked", "trial is over")
    assert decision(services, "acme").allowed is False
    assert grants.revoke(BOB, grant.id, "again") == revoked
    rows = services.audit.page(subject=grant.id, limit=9)
    assert [(row["action"], row["reason"]) for row in rows] == [
        ("grant.revoked", "trial is over"),
        ("grant.created", "beta partner"),
    ]
    assert (rows[0]["before"]["state"], rows[0]["after"]["state"]) == ("active", "revoked")


def test_a_tenant_has_one_grant_of_a_feature_at_a_time(grants: Grants) -> None:
    first = grants.add(ALICE, "acme", GENERATION, "beta partner")
    with pytest.raises(Conflict, match=first.id) as caught:
        grants.add(BOB, "acme", GENERATION, "me too")
    assert caught.value.members["grant"] == first.id


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_an_ended_grant_makes_way_for_a_new_one_with_an_id_of_its_own(
    services: SimpleNamespace, grants: Grants, clock: Any, end: str
) -> None:
    first = grants.add(ALICE, "acme", GENERATION, "trial", expires_at=int(clock()) + DAY)
    if end == "revoked":
        grants.revoke(ALICE, first.id, "enough")
    else:
        clock.advance(DAY)
    second = grants.add(ALICE, "acme", GENERATION, "second trial")
    assert second.id != first.id
    assert decision(services, "acme").allowed
    with pytest.raises(NotFound):
        grants.get(first.id)
    (created,) = services.audit.page(subject=second.id, limit=9)
    assert created["before"]["id"] == first.id


def test_the_end_of_a_grant_can_be_moved_and_taken_away(grants: Grants, clock: Any) -> None:
    grant = grants.add(ALICE, "acme", GENERATION, "trial", expires_at=int(clock()) + DAY)
    later = grants.set_expiry(ALICE, grant.id, int(clock()) + 2 * DAY, "longer", based_on=1)
    assert (later.expires_at, later.version, later.reason) == (clock() + 2 * DAY, 2, "trial")
    with pytest.raises(StaleVersion) as caught:
        grants.set_expiry(BOB, grant.id, None, "for ever", based_on=1)
    assert caught.value.members["current"]["expires_at"] == "2026-11-24T12:00:00Z"
    assert grants.set_expiry(BOB, grant.id, None, "for ever", based_on=2).expires_at is None


def test_the_end_that_a_grant_has_already_leaves_no_trace(
    services: SimpleNamespace, grants: Grants, clock: Any
) -> None:
    grant = grants.add(ALICE, "acme", GENERATION, "trial", expires_at=int(clock()) + DAY)
    assert grants.set_expiry(BOB, grant.id, grant.expires_at, "the same") == grant
    assert len(services.audit.page(subject=grant.id, limit=9)) == 1


def test_the_end_of_an_ended_grant_stays(grants: Grants, clock: Any) -> None:
    grant = grants.add(ALICE, "acme", GENERATION, "trial", expires_at=int(clock()) + DAY)
    clock.advance(DAY)
    with pytest.raises(Conflict, match="is expired") as caught:
        grants.set_expiry(ALICE, grant.id, int(clock()) + DAY, "longer")
    assert "anew" in caught.value.remedy_text


def test_an_end_in_the_past_is_refused_by_name(grants: Grants, clock: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        grants.add(ALICE, "acme", GENERATION, "late", expires_at=int(clock()) - 1)
    assert caught.value.members["param"] == "expires_at"
    grant = grants.add(ALICE, "acme", GENERATION, "trial")
    with pytest.raises(InvalidRequest) as caught:
        grants.set_expiry(ALICE, grant.id, int(clock()), "now")
    assert caught.value.members["param"] == "expires_at"
    assert grants.get(grant.id) == grant


@pytest.mark.parametrize(
    ("feature", "cohort", "message"),
    [
        (ANALYSIS, None, "every tenant has it without a grant"),
        ("video", None, "there are image-generation and image-analysis"),
        (GENERATION, "a,b", "A cohort is"),
        (GENERATION, "", "A cohort is"),
    ],
)
def test_what_cannot_be_granted_is_refused_in_words(
    grants: Grants, feature: str, cohort: str | None, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        grants.add(ALICE, "acme", feature, "why not", cohort=cohort)
    assert grants.page(tenant=None, feature=None, before=None, limit=9) == []


def test_an_unknown_tenant_and_an_unknown_grant_are_not_found(grants: Grants) -> None:
    for call in (
        lambda: grants.add(ALICE, "nobody", GENERATION, "no"),
        lambda: grants.get("grt_none"),
        lambda: grants.revoke(ALICE, "grt_none", "no"),
        lambda: grants.set_expiry(ALICE, "grt_none", None, "no"),
    ):
        with pytest.raises(NotFound):
            call()


def test_grants_are_listed_newest_first_by_tenant_and_feature(grants: Grants) -> None:
    first = grants.add(ALICE, "acme", GENERATION, "one", cohort="internal")
    second = grants.add(ALICE, "globex", GENERATION, "two")
    assert grants.page(tenant=None, feature=None, before=None, limit=9) == [second, first]
    assert grants.page(tenant=None, feature=GENERATION, before=second.id, limit=9) == [first]
    assert grants.page(tenant="acme", feature=GENERATION, before=None, limit=9) == [first]
    assert grants.page(tenant="acme", feature=ANALYSIS, before=None, limit=9) == []
    assert first.cohort == "internal"


def test_a_grant_approves_the_request_that_waits_for_it(services: SimpleNamespace, grants: Grants) -> None:
    asked, _ = services.access.ask(ALICE, decision(services, "acme"), Asking("covers"))
    grants.add(BOB, "acme", GENERATION, "they called us")
    request = services.access.get(asked.request.id).request
    assert (request.state, request.decided_by, request.decision_reason) == (
        "approved",
        "token:bob",
        "they called us",
    )


def test_a_dry_run_grants_nothing(services: SimpleNamespace, grants: Grants) -> None:
    assert grants.add(ALICE, "acme", GENERATION, "try", dry_run=True).state == "active"
    assert grants.page(tenant=None, feature=None, before=None, limit=9) == []
    assert services.audit.verify() is None


def test_grants_are_found_by_the_state_that_time_gives_them(
    services: SimpleNamespace, grants: Grants, clock: Any
) -> None:
    for name in ("one", "two"):
        services.tenants.add(ALICE, Tenant(name, name), "more")
    forever = grants.add(ALICE, "acme", GENERATION, "for good")
    soon = grants.add(ALICE, "globex", GENERATION, "a trial", expires_at=int(clock()) + DAY)
    over = grants.revoke(ALICE, grants.add(ALICE, "one", GENERATION, "oops").id, "a mistake")

    def states() -> list[list[str]]:
        return [
            [grant.id for grant in grants.page(tenant=None, feature=None, state=state, before=None, limit=9)]
            for state in get_args(GrantState)
        ]

    assert states() == [[soon.id, forever.id], [], [over.id]]
    clock.advance(DAY)
    assert states() == [[forever.id], [soon.id], [over.id]]
