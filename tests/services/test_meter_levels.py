"""Limits by key, end user, phase and for all together; caps by their plan; time zones: as holds and admins see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, wire
from ledgers import NOON, RESULT, actual, ledger_on, request

from rollout.core.decisions import ANALYSIS, GENERATION, TenantFacts
from rollout.core.meters import PLATFORM, Caller, Meter, end_user_subject, shortage
from rollout.core.plans import Phase
from rollout.core.steps import Advance, RollBack
from rollout.core.tenants import NewKey
from rollout.db import audit
from rollout.db.engine import Database
from rollout.db.tables import phase
from rollout.errors import Conflict, InsufficientQuota, InvalidRequest, NotFound
from rollout.services.alerts import Alerts
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger
from rollout.services.meters import Meters

HOUR, DAY = 3600, 86_400
BY_DAY = {"feature": GENERATION, "unit": "image", "period": "day", "cap": 3}
EACH_USER = {**BY_DAY, "level": "end_user", "name": "user-day"}
ALL = {**BY_DAY, "name": "all-day"}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def meters(database: Database, services: SimpleNamespace) -> Meters:
    return Meters(database, Changes(database), new_id)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return ledger_on(database)


def facts(services: SimpleNamespace, tenant: str = "acme") -> TenantFacts:
    found: TenantFacts = services.state.fresh_facts(tenant)
    return found


def generate(
    services: SimpleNamespace, ledger: Ledger, images: int = 1, tenant: str = "acme", **by: Any
) -> None:
    known = facts(services, tenant)
    asked = request(*known.meters, images=images, meter_rev=known.meter_rev, tenant_id=tenant, **by)
    with ledger.hold(asked) as held:
        held.settle(actual(images), RESULT)


def refused(services: SimpleNamespace, ledger: Ledger, images: int = 1, **by: Any) -> InsufficientQuota:
    with pytest.raises(InsufficientQuota) as caught:
        generate(services, ledger, images, **by)
    return caught.value


def used(meters: Meters, meter: Meter) -> dict[str, tuple[int, int]]:
    """By subject: used and cap."""
    return {one.subject: (one.used, one.cap) for one in meters.windows(meters.get(meter.id), limit=9)}


def last_audited(database: Database) -> Any:
    with database.read() as tx:
        return list(audit.walk(tx))[-1][0]


# -- subjects ----------------------------------------------------------------------------------------------------


def test_each_end_user_has_a_window_from_the_first_request_on(
    services: SimpleNamespace, meters: Meters, ledger: Ledger
) -> None:
    meter = meters.add(ALICE, "acme", EACH_USER, "fair shares")
    generate(services, ledger, 3, end_user="ana")
    assert refused(services, ledger, end_user="ana").members["limit"] == "user-day"
    generate(services, ledger, 2, end_user="budi")
    generate(services, ledger, 1)
    assert used(meters, meter) == {
        end_user_subject("acme", "ana"): (3, 3),
        end_user_subject("acme", "budi"): (2, 3),
        end_user_subject("acme", "anonymous"): (1, 3),
    }
    assert next(iter(used(meters, meter))) == end_user_subject("acme", "ana"), "the fullest comes first"
    assert ledger.verify() == []


def test_a_key_of_the_tenant_can_be_limited_and_no_other(
    services: SimpleNamespace, meters: Meters, ledger: Ledger
) -> None:
    key = services.keys.add(ALICE, "acme", NewKey("ci"), "for ci").key.id
    theirs = services.keys.add(ALICE, "globex", NewKey("ci"), "for ci").key.id
    fields = {**BY_DAY, "level": "api_key", "subject": key, "name": "ci-day"}
    for wrong in (theirs, "key_none"):
        with pytest.raises(InvalidRequest) as caught:
            meters.add(ALICE, "acme", {**fields, "subject": wrong}, "ci is greedy")
        assert caught.value.members["param"] == "subject"
    meter = meters.add(ALICE, "acme", fields, "ci is greedy")
    generate(services, ledger, 3, api_key_id=key)
    refused(services, ledger, api_key_id=key)
    generate(services, ledger, 9, api_key_id="key_other")
    assert used(meters, meter) == {key: (3, 3)}
    (listed,) = meters.limits(tenant="acme", limit=9)
    assert (listed.used, listed.subject) == (3, key)
    assert meters.standing(meter.id)[0].used == 3


def test_a_caller_sees_the_limits_of_his_key_and_end_user_and_no_shared_one(
    services: SimpleNamespace, meters: Meters, ledger: Ledger
) -> None:
    meters.add(ALICE, "acme", EACH_USER, "fair shares")
    meters.add(ALICE, "acme", {**BY_DAY, "level": "api_key", "name": "key-day"}, "fair shares")
    meters.add(ALICE, None, ALL, "our own limit")
    generate(services, ledger, 2, api_key_id="key_1", end_user="ana")

    def seen(key: str, end_user: str | None) -> dict[str, int]:
        return {it.meter.name: it.used for it in ledger.limits(facts(services), Caller(key, end_user))}

    assert seen("key_1", "ana") == {"user-day": 2, "key-day": 2}
    assert seen("key_1", "budi") == {"user-day": 0, "key-day": 2}
    assert seen("key_2", None) == {"user-day": 0, "key-day": 0}


# -- what all tenants share --------------------------------------------------------------------------------------


def test_a_shared_meter_counts_all_tenants_from_the_next_hold_on(
    services: SimpleNamespace, meters: Meters, ledger: Ledger, database: Database
) -> None:
    known = facts(services)
    generate(services, ledger)
    meter = meters.add(ALICE, None, ALL, "our own limit")
    assert (meter.tenant_id, meter.level, meter.tz) == (PLATFORM, "platform", "UTC")
    assert (last_audited(database).action, last_audited(database).tenant_id) == ("meter.added", None)
    with ledger.hold(request(*known.meters, images=2, meter_rev=known.meter_rev)) as held:
        held.settle(actual(2), RESULT)
    generate(services, ledger, tenant="globex")
    error = refused(services, ledger, tenant="globex")
    assert "limit" not in error.members
    assert used(meters, meter) == {"": (3, 3)}
    meters.change(ALICE, meter.id, {"cap": 4}, "one more")
    generate(services, ledger, tenant="globex")
    meters.archive(ALICE, meter.id, "enough")
    generate(services, ledger, 50)
    assert ledger.verify() == []


def test_shared_meters_are_listed_apart_and_found_by_name(meters: Meters) -> None:
    ours = meters.add(ALICE, None, ALL, "our own limit")
    theirs = meters.add(ALICE, "acme", BY_DAY, "as agreed")
    assert [it.meter for it in meters.limits(limit=9)] == [theirs, ours]
    assert [it.meter for it in meters.limits(shared=False, limit=9)] == [theirs]
    assert [it.meter for it in meters.limits(tenant=PLATFORM, limit=9)] == [ours]
    assert meters.named(None, "all-day") == ours
    with pytest.raises(NotFound, match="there are: all-day"):
        meters.named(None, "image-day")


def test_a_shared_meter_over_all_features_changes_under_every_gate(meters: Meters) -> None:
    watched = {"unit": "usd_micro", "period": "month", "cap": 5_000_000}
    meter = meters.add(ALICE, None, watched, "to watch")
    assert (meter.feature, meter.hard, meter.name) == (None, False, "money-month")
    assert meters.change(ALICE, meter.id, {"cap": 9}, "less").cap == 9


@pytest.mark.parametrize(
    ("tenant", "fields", "param"),
    [
        (None, {"level": "tenant"}, "level"),
        (None, {"level": "api_key"}, "level"),
        ("acme", {"level": "platform"}, "level"),
        ("acme", {"level": "phase", "subject": "private_beta"}, "level"),
        (None, {"level": "phase"}, "subject"),
        (None, {"level": "phase", "subject": "gamma"}, "subject"),
        ("acme", {"subject": "ana"}, "subject"),
        ("acme", {"level": "end_user", "subject": ""}, "subject"),
        ("acme", {"until": NOON}, "until"),
        ("acme", {"effective_at": NOON + 9, "until": NOON + 9}, "until"),
        ("acme", {"thresholds": (0,)}, "thresholds"),
    ],
)
def test_a_meter_that_cannot_be_is_refused_by_field(
    services: SimpleNamespace, meters: Meters, tenant: str | None, fields: Mapping[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        meters.add(ALICE, tenant, {**BY_DAY, **fields}, "try")
    assert caught.value.members["param"] == param
    assert meters.page(tenant=None, after=None, limit=9) == []


def test_a_second_meter_that_counts_the_same_is_refused_and_the_first_is_named(meters: Meters) -> None:
    first = meters.add(ALICE, "acme", BY_DAY, "as agreed")
    with pytest.raises(Conflict, match="'image-day' counts the same") as caught:
        meters.add(ALICE, "acme", {**BY_DAY, "name": "other", "cap": 9}, "more")
    assert caught.value.members["meter"] == first.id
    meters.add(
        ALICE, "acme", {**BY_DAY, "name": "analyses", "feature": ANALYSIS, "unit": "request"}, "another"
    )
    meters.add(ALICE, "globex", BY_DAY, "their own")


# -- phases ------------------------------------------------------------------------------------------------------


def budgets(database: Database, **caps: int) -> None:
    """Phases of image generation get a budget for all whom they let in."""
    with database.write() as tx:
        for key, cap in caps.items():
            quota = [
                {"level": "phase", "unit": "usd_micro", "period": "life", "cap": cap},
                {"unit": "image", "period": "day", "cap": 7},
            ]
            tx.execute(phase.update().where(phase.c.key == key).values(quota=quota))


def shared(meters: Meters) -> dict[str | None, int]:
    return {meter.subject: meter.cap for meter in meters.page(tenant=PLATFORM, after=None, limit=9)}


def test_a_phase_brings_its_budget_when_the_plan_enters_it(
    services: SimpleNamespace, meters: Meters, ledger: Ledger, database: Database
) -> None:
    budgets(database, private_beta=70_000, wider_beta=70_000, percentage=90_000)
    services.change_requests.submit(ALICE, GENERATION, Advance("percentage"), "on", dry_run=True)
    assert shared(meters) == {}
    services.change_requests.submit(ALICE, GENERATION, Advance("percentage"), "on")
    assert shared(meters) == {"wider_beta": 70_000, "percentage": 90_000}
    (wider,) = [it for it in meters.page(tenant=PLATFORM, after=None, limit=9) if it.subject == "wider_beta"]
    assert wider.name == "image-generation-wider-beta-money-life"
    generate(services, ledger, phase="wider_beta")
    refused(services, ledger, phase="wider_beta", tenant="globex")
    generate(services, ledger, phase="percentage")
    assert ledger.verify() == []
    meters.change(ALICE, wider.id, {"cap": 1}, "too much")
    services.change_requests.submit(ALICE, GENERATION, RollBack(), "back")
    assert shared(meters) == {"wider_beta": 70_000, "percentage": 90_000}


def test_a_budget_of_a_phase_is_no_quota_of_a_tenant(
    services: SimpleNamespace, meters: Meters, database: Database
) -> None:
    budgets(database, private_beta=70_000)
    services.grants.add(ALICE, "acme", GENERATION, "let them in")
    assert [meter.name for meter in meters.page(tenant="acme", after=None, limit=9)] == ["image-day"]


def test_a_new_plan_brings_the_budgets_of_the_phases_that_are_open(
    services: SimpleNamespace, meters: Meters, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def phases(template: str, feature: str) -> tuple[Phase, ...]:
        budget = {"level": "phase", "unit": "request", "period": "life", "cap": 5}
        made: tuple[Phase, ...] = defaults(template, feature)
        return tuple(replace(one, quota=(budget,)) for one in made)

    from rollout.services import plans

    defaults = plans.phases_of
    monkeypatch.setattr(plans, "phases_of", phases)
    with Changes(database).begin(ALICE, "seed") as change:
        services.plans.ensure_plan(change, ANALYSIS)
    assert shared(meters) == {"internal": 5, "private_beta": 5}


# -- caps by their plan ------------------------------------------------------------------------------------------


def test_a_cap_of_a_time_is_exact_to_the_second_without_anybody_doing_anything(
    services: SimpleNamespace, meters: Meters, ledger: Ledger, clock: Any
) -> None:
    meter = meters.add(ALICE, "acme", {**BY_DAY, "period": "life"}, "as agreed")
    launch = {"cap": 5, "effective_at": NOON + HOUR, "until": NOON + 2 * HOUR}
    meters.change(ALICE, meter.id, launch, "launch")
    generate(services, ledger, 3)
    clock.advance(HOUR - 1)
    refused(services, ledger)
    clock.advance(1)
    generate(services, ledger, 2)
    clock.advance(HOUR - 1)
    refused(services, ledger)
    clock.advance(1)
    refused(services, ledger)
    limit = meters.standing(meter.id)[0]
    assert (limit.used, limit.cap, limit.remaining) == (5, 3, 0)
    assert (shortage(limit) or "").startswith("5 of 3 are used or held: nothing is cancelled")


def test_what_was_planned_and_has_come_is_written_down_by_the_schedule(
    services: SimpleNamespace, meters: Meters, ledger: Ledger, clock: Any, database: Database
) -> None:
    meter = meters.add(ALICE, "acme", BY_DAY, "as agreed")
    meters.change(
        ALICE, meter.id, {"cap": 9, "effective_at": NOON + HOUR, "until": NOON + 2 * HOUR}, "launch"
    )
    before = last_audited(database)
    assert meters.carry_out_plans() == 0
    assert last_audited(database) == before
    clock.advance(HOUR)
    assert (meters.carry_out_plans(), meters.carry_out_plans()) == (1, 0)
    entry = last_audited(database)
    assert (entry.actor, entry.action, entry.before["cap"], entry.after["cap"]) == (
        "system:schedule", "meter.changed", 3, 9,
    )  # fmt: skip
    assert (meters.get(meter.id).cap, meters.get(meter.id).scheduled) == (9, ((NOON + 2 * HOUR, 3),))
    clock.advance(HOUR)
    assert meters.carry_out_plans() == 1
    assert (meters.get(meter.id).cap, meters.get(meter.id).due_at) == (3, None)


def test_a_meter_that_ends_is_archived_and_limits_nothing_from_its_end_on(
    services: SimpleNamespace, meters: Meters, ledger: Ledger, clock: Any, database: Database
) -> None:
    ends = {**BY_DAY, "effective_at": NOON + HOUR, "until": NOON + 2 * HOUR}
    meter = meters.add(ALICE, "acme", ends, "for an hour")
    generate(services, ledger, 9)
    clock.advance(2 * HOUR - 1)
    refused(services, ledger, 4)
    clock.advance(1)
    generate(services, ledger, 9)
    assert ledger.limits(facts(services)) == []
    assert meters.carry_out_plans() == 1
    assert (last_audited(database).action, last_audited(database).actor) == (
        "meter.archived",
        "system:schedule",
    )
    with pytest.raises(NotFound):
        meters.get(meter.id)


def test_a_cap_lowered_while_work_is_under_way_cancels_nothing_and_admits_nothing_new(
    services: SimpleNamespace, meters: Meters, ledger: Ledger, clock: Any
) -> None:
    meter = meters.add(ALICE, "acme", {**BY_DAY, "cap": 9}, "as agreed")
    known = facts(services)
    with ledger.hold(request(*known.meters, images=7, meter_rev=known.meter_rev)) as held:
        meters.change(ALICE, meter.id, {"cap": 5}, "too many")
        limit = meters.standing(meter.id)[0]
        assert (limit.held, limit.cap) == (7, 5)
        assert (shortage(limit) or "").startswith("7 of 5 are used or held")
        refused(services, ledger)
        held.settle(actual(7), RESULT)
    refused(services, ledger)
    assert used(meters, meter) == {"": (7, 5)}
    assert ledger.verify() == []


def test_a_change_of_a_cap_keeps_what_tops_up_its_window(
    meters: Meters, database: Database, ledger: Ledger
) -> None:
    from rollout.core.topups import NewTopUp
    from rollout.services.topups import TopUps

    meter = meters.add(ALICE, "acme", BY_DAY, "as agreed")
    topups = TopUps(database, Changes(database), ledger, new_id)
    topups.add(ALICE, NewTopUp(meter.id, 4, None, None, None), "launch")
    meters.change(ALICE, meter.id, {"cap": 10}, "more")
    assert used(meters, meter) == {"": (0, 14)}
    assert ledger.verify() == []


# -- time zones --------------------------------------------------------------------------------------------------


def test_a_tenants_new_time_zone_takes_its_meters_along_when_their_windows_end(
    services: SimpleNamespace, meters: Meters, ledger: Ledger, clock: Any
) -> None:
    following = meters.add(ALICE, "acme", BY_DAY, "as agreed")
    monthly = meters.add(ALICE, "acme", {**BY_DAY, "period": "month", "cap": 100}, "as agreed")
    own = meters.add(ALICE, "acme", {**BY_DAY, "level": "tenant", "tz": "UTC", "name": "own"}, "as agreed")
    generate(services, ledger, 3)
    services.tenants.change(ALICE, "acme", {"tz": "Pacific/Auckland"}, "they moved")
    ends = meters.standing(following.id)[0].ends
    assert ends == NOON + 5 * HOUR, "midnight in Jakarta"
    assert meters.get(following.id).zones == ((ends, "Pacific/Auckland"),)
    assert meters.get(monthly.id).last_tz == "Pacific/Auckland"
    assert meters.get(own.id) == own
    refused(services, ledger)
    clock.advance(5 * HOUR)
    assert meters.carry_out_plans() == 1
    limit = meters.standing(following.id)[0]
    assert (limit.meter.tz, limit.start, limit.used) == ("Pacific/Auckland", ends, 0)
    assert limit.ends == NOON + 23 * HOUR, "midnight in Auckland"


def test_a_change_of_time_zone_taken_back_leaves_the_meters_as_they_were(
    services: SimpleNamespace, meters: Meters
) -> None:
    meter = meters.add(ALICE, "acme", BY_DAY, "as agreed")
    for tz in ("Pacific/Auckland", "Asia/Jakarta"):
        services.tenants.change(ALICE, "acme", {"tz": tz}, "they moved")
    assert (meters.get(meter.id).tz, meters.get(meter.id).zones) == ("Asia/Jakarta", ())


# -- alerts ------------------------------------------------------------------------------------------------------


def test_what_was_told_of_meters_is_listed_newest_first(
    services: SimpleNamespace, meters: Meters, ledger: Ledger, clock: Any, database: Database
) -> None:
    alerts = Alerts(database)
    ours = meters.add(ALICE, "acme", {**BY_DAY, "cap": 10, "thresholds": (30, 90)}, "as agreed")
    everybodys = meters.add(ALICE, None, {**ALL, "cap": 4, "thresholds": (100,)}, "our own limit")
    generate(services, ledger, 3)
    clock.advance(60)
    generate(services, ledger, 1)
    clock.advance(60)
    refused(services, ledger)
    told = alerts.page(limit=9)
    assert [(one.meter.name, one.alert.threshold, one.alert.at - NOON) for one in told] == [
        ("all-day", 0, 120),
        ("all-day", 100, 60),
        ("image-day", 30, 0),
    ]
    assert [one.alert.threshold for one in alerts.page(tenant="acme", limit=9)] == [30]
    assert [one.alert.threshold for one in alerts.page(tenant=PLATFORM, since=NOON + 61, limit=9)] == [0]
    assert [one.alert.threshold for one in alerts.page(meter=ours.id, limit=9)] == [30]
    assert [one.meter for one in alerts.page(meter=everybodys.id, limit=1)] == [everybodys]
    meters.archive(ALICE, ours.id, "done")
    assert [one.alert.threshold for one in alerts.page(tenant="acme", limit=9)] == [30]
    with pytest.raises(NotFound):
        alerts.page(tenant="nobody", limit=9)
    with pytest.raises(InvalidRequest) as caught:
        alerts.page(cursor="yesterday", limit=9)
    assert caught.value.members["param"] == "cursor"
