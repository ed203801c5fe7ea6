"""Access requests: asked once, queued, answered once; an approval is request, grant and quota in one change."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, BOB, wire

from rollout.core.audit import Actor
from rollout.core.decisions import ANALYSIS, GENERATION, Decision
from rollout.core.grants import Asking, Standing
from rollout.core.meters import Meter
from rollout.core.steps import Advance
from rollout.core.tenants import Tenant
from rollout.db import meters
from rollout.db.engine import Database
from rollout.errors import Conflict, InvalidRequest, NotFound, RolloutError, StaleVersion
from rollout.services.access import Access, Approval

KEY = Actor("key:key_1", "partner", "req_key")
COVERS = Asking("covers for our magazine", 500, "2026-10")


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def access(services: SimpleNamespace) -> Access:
    found: Access = services.access
    return found


def decision(services: SimpleNamespace, tenant_id: str, feature: str = GENERATION) -> Decision:
    services.state.refresh()
    found: Decision = services.features.decide(services.state.facts(tenant_id), feature)
    return found


def ask(services: SimpleNamespace, tenant_id: str = "acme", asking: Asking = COVERS) -> Standing:
    standing, is_new = services.access.ask(KEY, decision(services, tenant_id), asking)
    assert is_new
    found: Standing = standing
    return found


def live_meters(database: Database, tenant_id: str = "acme") -> dict[str, Meter]:
    with database.read() as tx:
        return {meter.name: meter for meter in meters.live(tx, tenant_id)}


def revision_of_meters(database: Database) -> int:
    with database.write() as tx:
        return meters.lock_owners(tx, ["acme"])["acme"]


def test_a_request_waits_with_what_was_said_and_its_place(services: SimpleNamespace, clock: Any) -> None:
    standing = ask(services)
    request = standing.request
    assert (request.state, standing.position, request.created_at) == ("waiting", 1, clock())
    assert (request.use_case, request.expected_volume, request.terms_version) == (
        "covers for our magazine",
        500,
        "2026-10",
    )
    assert services.access.get_own("acme", request.id) == standing


def test_asking_again_gives_the_request_that_waits_and_changes_nothing(
    services: SimpleNamespace, access: Access
) -> None:
    standing = ask(services)
    again, is_new = access.ask(KEY, decision(services, "acme"), Asking("something else"))
    assert (again, is_new) == (standing, False)
    assert len(services.audit.page(subject=standing.request.id, limit=9)) == 1


def test_the_place_is_counted_among_those_that_wait_for_the_same_feature(
    services: SimpleNamespace, access: Access
) -> None:
    for name in ("hooli", "soylent"):
        services.tenants.add(ALICE, Tenant(name, name), "seed")
    first, second, third = (ask(services, name) for name in ("acme", "globex", "hooli"))
    assert [standing.position for standing in (first, second, third)] == [1, 2, 3]
    access.withdraw(KEY, "acme", first.request.id)
    access.deny(ALICE, second.request.id, "not now")
    assert access.get(third.request.id).position == 1
    assert access.get(second.request.id).position is None
    listed = access.page(state="waiting", after=None, limit=9)
    assert [(standing.request.tenant_id, standing.position) for standing in listed] == [("hooli", 1)]


def test_places_go_on_from_page_to_page(services: SimpleNamespace, access: Access) -> None:
    asked = []
    for number in range(6):
        services.tenants.add(ALICE, Tenant(f"t{number}", f"Tenant {number}"), "more")
        asked.append(ask(services, f"t{number}").request.id)
    access.deny(ALICE, asked[2], "not now")

    def page(after: str, state: Any) -> list[tuple[str, int | None]]:
        found = access.page(state=state, after=after, limit=3)
        return [(standing.request.tenant_id, standing.position) for standing in found]

    assert page(asked[0], None) == [("t1", 2), ("t2", None), ("t3", 3)]
    assert page(asked[0], "waiting") == [("t1", 2), ("t3", 3), ("t4", 4)]
    assert page(asked[3], "waiting") == [("t4", 4), ("t5", 5)]
    assert page("", "denied") == [("t2", None)]


def test_requests_are_listed_in_the_order_of_asking_page_by_page(
    services: SimpleNamespace, access: Access
) -> None:
    first, second = ask(services, "acme"), ask(services, "globex")
    assert access.page(after=None, limit=1) == [first]
    assert access.page(after=first.request.id, limit=9) == [second]
    assert access.page(tenant="acme", feature=GENERATION, after=None, limit=9) == [first]
    assert access.page(feature=ANALYSIS, after=None, limit=9) == []


def test_who_is_in_already_has_nothing_to_ask_for(services: SimpleNamespace, access: Access) -> None:
    services.grants.add(ALICE, "acme", GENERATION, "beta partner")
    for feature in (GENERATION, ANALYSIS):
        with pytest.raises(Conflict, match="has access to"):
            access.ask(KEY, decision(services, "acme", feature), Asking("more"))


def test_a_grant_counts_even_where_the_worker_has_not_heard_of_it(
    services: SimpleNamespace, access: Access
) -> None:
    before = decision(services, "acme")
    services.grants.add(ALICE, "acme", GENERATION, "beta partner")
    assert not before.allowed
    with pytest.raises(Conflict, match="has access to"):
        access.ask(KEY, before, COVERS)


def test_nobody_asks_for_what_is_generally_available(services: SimpleNamespace, access: Access) -> None:
    services.change_requests.submit(ALICE, GENERATION, Advance("general_availability"), "open it")
    with pytest.raises(Conflict, match="has access to"):
        access.ask(KEY, decision(services, "globex"), COVERS)


def test_an_approval_is_request_grant_and_the_quota_of_the_phase_in_one_change(
    services: SimpleNamespace, access: Access, database: Database, clock: Any
) -> None:
    standing, known = ask(services), revision_of_meters(database)
    approval = access.approve(
        ALICE, standing.request.id, "a good use case", expires_at=int(clock()) + 60, based_on=1
    )
    request, grant = approval.request, approval.grant
    assert (request.state, request.decided_by, request.decision_reason) == (
        "approved",
        "token:alice",
        "a good use case",
    )
    assert (grant.state, grant.tenant_id, grant.expires_at, grant.reason) == (
        "active",
        "acme",
        clock() + 60,
        "a good use case",
    )
    found = live_meters(database)
    assert tuple(found.values()) == approval.meters
    assert (found["image-day"].cap, found["image-day"].hard, found["image-day"].tz) == (
        100,
        True,
        "Asia/Jakarta",
    )
    assert all(meter.feature == GENERATION for meter in approval.meters)
    assert revision_of_meters(database) == known + 1
    rows = [row for row in services.audit.page(tenant="acme", limit=99) if row["reason"] == "a good use case"]
    assert {row["revision"] for row in rows} == {rows[0]["revision"]}
    assert sorted(row["action"] for row in rows) == [
        "access_request.approved",
        "grant.created",
        *["meter.added"] * len(found),
    ]
    assert decision(services, "acme").allowed
    assert services.audit.verify() is None


def test_quota_given_with_an_approval_takes_the_place_of_the_phases(
    access: Access, services: SimpleNamespace, database: Database
) -> None:
    quota = [
        {"unit": "image", "period": "day", "cap": 3},
        {"name": "trial-money", "unit": "usd_micro", "period": "life", "cap": 0, "tz": "UTC"},
    ]
    approval = access.approve(ALICE, ask(services).request.id, "small", quota=quota)
    assert {meter.name: meter.cap for meter in approval.meters} == {"image-day": 3, "trial-money": 0}
    assert set(live_meters(database)) == {"image-day", "trial-money"}


def test_a_tenant_with_a_hard_meter_keeps_its_own_quota(
    access: Access, services: SimpleNamespace, database: Database
) -> None:
    own = Meter("mtr_own", "acme", "mine", "feature", GENERATION, "image", "day", "UTC", 7)
    with database.write() as tx:
        meters.add(tx, own)
    approval = access.approve(ALICE, ask(services).request.id, "they have one")
    assert approval.meters == ()
    assert live_meters(database) == {"mine": own}


def test_a_soft_meter_and_one_of_another_feature_are_no_quota(
    access: Access, services: SimpleNamespace, database: Database
) -> None:
    with database.write() as tx:
        meters.add(
            tx, Meter("mtr_1", "acme", "soft", "feature", GENERATION, "image", "month", "UTC", 7, hard=False)
        )
        meters.add(tx, Meter("mtr_2", "acme", "other", "feature", ANALYSIS, "request", "day", "UTC", 7))
    assert access.approve(ALICE, ask(services).request.id, "good").meters != ()


def test_quota_given_for_a_meter_that_is_there_sets_its_cap(
    access: Access, services: SimpleNamespace, database: Database, clock: Any
) -> None:
    own = Meter("mtr_own", "acme", "image-day", "feature", GENERATION, "image", "day", "UTC", 7)
    with database.write() as tx:
        meters.add(tx, own)
    (meter,) = access.approve(
        ALICE, ask(services).request.id, "more", quota=[{"unit": "image", "period": "day", "cap": 50}]
    ).meters
    assert (meter.id, meter.cap, meter.tz, meter.version) == ("mtr_own", 50, "UTC", 2)
    (row,) = services.audit.page(subject="mtr_own", limit=9)
    assert (row["action"], row["before"]["cap"], row["after"]["cap"]) == ("meter.changed", 7, 50)


def test_quota_that_a_tenant_has_already_leaves_no_trace(
    access: Access, services: SimpleNamespace, database: Database
) -> None:
    own = Meter("mtr_own", "acme", "image-day", "feature", GENERATION, "image", "day", "UTC", 7)
    with database.write() as tx:
        meters.add(tx, own)
    quota = [{"unit": "image", "period": "day", "cap": 7}]
    assert access.approve(ALICE, ask(services).request.id, "as before", quota=quota).meters == (own,)
    assert services.audit.page(subject="mtr_own", limit=9) == []


@pytest.mark.parametrize(
    ("quota", "param"),
    [
        ([{"unit": "image", "period": "day", "cap": -1}], "meters.0.cap"),
        (
            [{"unit": "image", "period": "day", "cap": 1}, {"unit": "slot", "period": "day", "cap": 1}],
            "meters.1.period",
        ),
        ([{"unit": "image", "period": "day", "cap": 1, "tz": "Mars/Base"}], "meters.0.tz"),
        ([{"unit": "image", "period": "day", "cap": 1, "name": "No Slug"}], "meters.0.name"),
        ([{"unit": "image", "period": "day", "cap": 1, "name": "taken"}], "meters.0.name"),
    ],
)
def test_quota_that_cannot_be_is_refused_by_field_and_nothing_is_approved(
    access: Access, services: SimpleNamespace, database: Database, quota: list[dict[str, Any]], param: str
) -> None:
    with database.write() as tx:
        meters.add(tx, Meter("mtr_1", "acme", "taken", "feature", ANALYSIS, "request", "day", "UTC", 7))
    standing = ask(services)
    with pytest.raises(InvalidRequest) as caught:
        access.approve(ALICE, standing.request.id, "good", quota=quota)
    assert caught.value.members["param"] == param
    assert access.get(standing.request.id) == standing
    assert services.grants.page(tenant="acme", feature=None, before=None, limit=9) == []
    assert set(live_meters(database)) == {"taken"}


def test_a_denial_says_why_and_leaves_the_door_shut(access: Access, services: SimpleNamespace) -> None:
    denied = access.deny(BOB, ask(services).request.id, "not in this phase")
    assert (denied.state, denied.decided_by, denied.decision_reason) == (
        "denied",
        "token:bob",
        "not in this phase",
    )
    assert not decision(services, "acme").allowed
    assert ask(services).request.id != denied.id


@pytest.mark.parametrize("second", ["approve", "deny"])
def test_a_second_decision_hears_who_was_first_and_changes_nothing(
    access: Access, services: SimpleNamespace, second: str
) -> None:
    request_id = ask(services).request.id
    access.deny(ALICE, request_id, "not now")
    rows = services.audit.page(limit=99)
    with pytest.raises(Conflict, match="denied at 2026-11-22T12:00:00Z by token:alice") as caught:
        getattr(access, second)(BOB, request_id, "I say", based_on=1)
    assert (caught.value.code, caught.value.members["decided_by"]) == ("conflict", "token:alice")
    assert services.audit.page(limit=99) == rows


def test_of_two_approvals_at_once_one_decides_and_the_other_hears_so(
    access: Access, services: SimpleNamespace
) -> None:
    request_id = ask(services).request.id
    together = threading.Barrier(2)
    answers: list[Approval | RolloutError] = []

    def approve(actor: Actor) -> None:
        together.wait()
        try:
            answers.append(access.approve(actor, request_id, f"by {actor.name}"))
        except RolloutError as error:
            answers.append(error)

    threads = [threading.Thread(target=approve, args=(actor,)) for actor in (ALICE, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (approval,) = [answer for answer in answers if isinstance(answer, Approval)]
    (refusal,) = [answer for answer in answers if isinstance(answer, RolloutError)]
    assert isinstance(refusal, Conflict)
    assert refusal.members["decided_by"] == approval.request.decided_by
    assert services.grants.page(tenant="acme", feature=None, before=None, limit=9) == [approval.grant]
    assert [row["action"] for row in services.audit.page(limit=99)].count("grant.created") == 1
    assert services.audit.verify() is None


def test_of_many_asking_at_once_one_request_comes_to_be(access: Access, services: SimpleNamespace) -> None:
    outside = decision(services, "acme")
    threads = [threading.Thread(target=access.ask, args=(KEY, outside, COVERS)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(access.page(after=None, limit=9)) == 1


def test_a_tenant_takes_its_request_back_and_may_ask_anew(access: Access, services: SimpleNamespace) -> None:
    first = ask(services)
    withdrawn = access.withdraw(KEY, "acme", first.request.id)
    assert (withdrawn.request.state, withdrawn.position) == ("withdrawn", None)
    assert access.withdraw(KEY, "acme", first.request.id) == withdrawn
    with pytest.raises(Conflict, match="withdrawn at"):
        access.approve(ALICE, first.request.id, "too late")
    assert ask(services).request.id != first.request.id


def test_a_decided_request_cannot_be_withdrawn(access: Access, services: SimpleNamespace) -> None:
    standing = ask(services)
    access.approve(ALICE, standing.request.id, "good")
    with pytest.raises(Conflict, match=r"approved at .* cannot be withdrawn") as caught:
        access.withdraw(KEY, "acme", standing.request.id)
    assert "alice" not in caught.value.message


def test_another_tenants_request_is_not_found(access: Access, services: SimpleNamespace) -> None:
    request_id = ask(services).request.id
    for call in (
        lambda: access.get_own("globex", request_id),
        lambda: access.withdraw(KEY, "globex", request_id),
        lambda: access.get("acc_none"),
        lambda: access.approve(ALICE, "acc_none", "no"),
        lambda: access.deny(ALICE, "acc_none", "no"),
    ):
        with pytest.raises(NotFound):
            call()


def test_an_approval_based_on_another_version_or_with_a_past_end_changes_nothing(
    access: Access, services: SimpleNamespace, clock: Any
) -> None:
    standing = ask(services)
    with pytest.raises(StaleVersion):
        access.approve(ALICE, standing.request.id, "good", based_on=7)
    with pytest.raises(InvalidRequest) as caught:
        access.approve(ALICE, standing.request.id, "good", expires_at=int(clock()) - 1)
    assert caught.value.members["param"] == "expires_at"
    assert access.get(standing.request.id) == standing


def test_a_dry_run_shows_the_approval_and_keeps_nothing(
    access: Access, services: SimpleNamespace, database: Database
) -> None:
    standing = ask(services)
    approval = access.approve(ALICE, standing.request.id, "try", dry_run=True)
    assert (approval.request.state, len(approval.meters)) == ("approved", 5)
    assert access.get(standing.request.id) == standing
    assert live_meters(database) == {}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"use_case": " "}, "use_case"),
        ({"use_case": "x" * 4001}, "use_case"),
        ({"expected_volume": -1}, "expected_volume"),
        ({"expected_volume": 10**13}, "expected_volume"),
        ({"terms_version": ""}, "terms_version"),
        ({"terms_version": "x" * 65}, "terms_version"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Asking(**{"use_case": "covers", **fields})
    assert caught.value.members["param"] == param
