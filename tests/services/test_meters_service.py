"""Meters: added, changed, archived; audited, and true for the very next hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from doors import ALICE, wire
from ledgers import NOON, RESULT, actual, ledger_on, request

from rollout.core.decisions import ANALYSIS, GENERATION, TenantFacts
from rollout.core.meters import Meter
from rollout.db import audit
from rollout.db.engine import Database
from rollout.errors import Conflict, InsufficientQuota, InvalidRequest, NotFound, StaleVersion
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.ledger import Ledger
from rollout.services.meters import Meters

BY_DAY = {"feature": GENERATION, "unit": "image", "period": "day", "cap": 3}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def meters(database: Database, services: SimpleNamespace) -> Meters:
    return Meters(database, Changes(database), new_id)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return ledger_on(database)


def facts(services: SimpleNamespace) -> TenantFacts:
    found: TenantFacts = services.state.fresh_facts("acme")
    return found


def generate(ledger: Ledger, known: TenantFacts, images: int = 1) -> None:
    asked = request(*known.meters, images=images, meter_rev=known.meter_rev)
    with ledger.hold(asked) as held:
        held.settle(actual(images), RESULT)


def last_audited(database: Database) -> Any:
    with database.read() as tx:
        return list(audit.walk(tx))[-1][0]


def test_a_meter_says_by_default_what_it_counts(meters: Meters) -> None:
    added = meters.add(ALICE, "acme", BY_DAY, "beta quota")
    assert meters.get(added.id) == added
    assert added == Meter(
        id=added.id, tenant_id="acme", name="image-day", level="feature", feature=GENERATION, unit="image",
        period="day", tz="Asia/Jakarta", cap=3, hard=True, created_at=NOON,
    )  # fmt: skip


def test_without_a_feature_it_watches_all_and_refuses_nothing(meters: Meters) -> None:
    added = meters.add(ALICE, "acme", {"unit": "usd_micro", "period": "month", "cap": 5}, "to watch")
    assert (added.level, added.feature, added.hard, added.name) == ("tenant", None, False, "money-month")


def test_what_is_said_stands(meters: Meters) -> None:
    said = {**BY_DAY, "name": "covers", "tz": "UTC", "hard": False, "level": "tenant"}
    added = meters.add(ALICE, "acme", said, "beta quota")
    assert (added.name, added.tz, added.hard, added.level) == ("covers", "UTC", False, "tenant")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"feature": "image-dreaming"}, "feature"),
        ({"unit": None}, "unit"),
        ({"period": None}, "period"),
        ({"cap": None}, "cap"),
        ({"cap": -1}, "cap"),
        ({"unit": "token"}, "unit"),
        ({"period": "week"}, "period"),
        ({"level": "galaxy"}, "level"),
        ({"feature": None, "hard": True}, "hard"),
    ],
)
def test_a_wrong_meter_is_refused_by_field_and_leaves_nothing(
    meters: Meters, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        meters.add(ALICE, "acme", {**BY_DAY, **fields}, "beta quota")
    assert refused.value.members["param"] == param
    assert meters.page(tenant="acme", after=None, limit=10) == []


def test_a_meter_needs_a_tenant_a_name_of_its_own_and_a_reason(meters: Meters) -> None:
    with pytest.raises(NotFound):
        meters.add(ALICE, "nobody", BY_DAY, "beta quota")
    with pytest.raises(InvalidRequest, match="reason"):
        meters.add(ALICE, "acme", BY_DAY, " ")
    meters.add(ALICE, "acme", BY_DAY, "beta quota")
    with pytest.raises(Conflict) as refused:
        meters.add(ALICE, "acme", {**BY_DAY, "feature": ANALYSIS}, "another")
    assert refused.value.members["param"] == "name"
    assert meters.add(ALICE, "globex", BY_DAY, "their own").name == "image-day"


def test_a_change_is_true_for_the_next_hold_of_a_caller_who_has_not_heard(
    services: SimpleNamespace, meters: Meters, ledger: Ledger
) -> None:
    added = meters.add(ALICE, "acme", BY_DAY, "beta quota")
    known = facts(services)
    generate(ledger, known, 3)
    with pytest.raises(InsufficientQuota):
        generate(ledger, known)
    meters.change(ALICE, added.id, {"cap": 5}, "they asked for two more")
    generate(ledger, facts(services), 2)
    with pytest.raises(InsufficientQuota):
        generate(ledger, known)
    meters.change(ALICE, added.id, {"hard": False}, "let them")
    generate(ledger, facts(services))
    (limit,) = ledger.limits(facts(services))
    assert (limit.cap, limit.used, limit.remaining) == (5, 6, 0)
    assert ledger.verify() == []


def test_a_new_meter_and_an_archived_one_count_from_the_next_hold_on(
    services: SimpleNamespace, meters: Meters, ledger: Ledger
) -> None:
    unlimited = facts(services)
    generate(ledger, unlimited, 100)
    added = meters.add(ALICE, "acme", BY_DAY, "enough")
    with pytest.raises(InsufficientQuota):
        generate(ledger, unlimited, 4)
    limited = facts(services)
    meters.archive(ALICE, added.id, "no longer needed")
    generate(ledger, limited, 4)
    assert ledger.limits(facts(services)) == []


def test_an_archived_meter_is_gone_and_its_name_is_free(meters: Meters) -> None:
    added = meters.add(ALICE, "acme", BY_DAY, "beta quota")
    assert meters.archive(ALICE, added.id, "done") == added
    for again in (lambda: meters.get(added.id), lambda: meters.archive(ALICE, added.id, "done")):
        with pytest.raises(NotFound):
            again()
    assert meters.add(ALICE, "acme", BY_DAY, "once more").name == added.name


def test_every_change_is_in_the_audit_with_before_and_after(meters: Meters, database: Database) -> None:
    added = meters.add(ALICE, "acme", BY_DAY, "beta quota")
    entry = last_audited(database)
    assert (entry.action, entry.subject, entry.tenant_id) == ("meter.added", added.id, "acme")
    assert (entry.actor, entry.reason, entry.request_id) == ("token:alice", "beta quota", "req_alice")
    assert (entry.before, entry.after["cap"]) == (None, 3)

    meters.change(ALICE, added.id, {"cap": 9}, "more")
    entry = last_audited(database)
    assert (entry.action, entry.before["cap"], entry.after["cap"]) == ("meter.changed", 3, 9)
    assert (entry.before["version"], entry.after["version"]) == (1, 2)

    meters.archive(ALICE, added.id, "done")
    entry = last_audited(database)
    assert (entry.action, entry.before["cap"], entry.after) == ("meter.archived", 9, None)


def test_a_change_of_nothing_leaves_no_trace(meters: Meters, database: Database) -> None:
    added = meters.add(ALICE, "acme", BY_DAY, "beta quota")
    before = last_audited(database)
    assert meters.change(ALICE, added.id, {"cap": 3}, "the same") == added
    assert last_audited(database) == before


def test_a_dry_run_checks_and_keeps_nothing(meters: Meters, database: Database) -> None:
    before = last_audited(database)
    assert meters.add(ALICE, "acme", BY_DAY, "would it fit?", dry_run=True).cap == 3
    assert meters.page(tenant="acme", after=None, limit=10) == []
    assert last_audited(database) == before


def test_who_changes_what_he_has_not_seen_is_told_what_it_is_now(meters: Meters) -> None:
    added = meters.add(ALICE, "acme", BY_DAY, "beta quota")
    meters.change(ALICE, added.id, {"cap": 5}, "more", based_on=1)
    for late in (
        lambda: meters.change(ALICE, added.id, {"cap": 4}, "less", based_on=1),
        lambda: meters.archive(ALICE, added.id, "away", based_on=1),
    ):
        with pytest.raises(StaleVersion) as refused:
            late()
        assert refused.value.members["current"]["cap"] == 5
    assert meters.get(added.id).cap == 5


def test_what_the_books_rest_on_cannot_be_changed(meters: Meters) -> None:
    added = meters.add(ALICE, "acme", BY_DAY, "beta quota")
    with pytest.raises(InvalidRequest, match="is fixed") as refused:
        meters.change(ALICE, added.id, {"period": "month"}, "longer")
    assert refused.value.members["param"] == "period"


def test_meters_are_listed_and_found_by_name(meters: Meters) -> None:
    ours = meters.add(ALICE, "acme", BY_DAY, "beta quota")
    theirs = meters.add(ALICE, "globex", BY_DAY, "beta quota")
    assert meters.page(tenant=None, after=None, limit=10) == [ours, theirs]
    assert meters.page(tenant="acme", after=None, limit=10) == [ours]
    assert meters.page(tenant=None, after=ours.id, limit=10) == [theirs]
    assert meters.named("globex", "image-day") == theirs
    with pytest.raises(NotFound, match="it has: image-day"):
        meters.named("acme", "image-month")
    with pytest.raises(NotFound):
        meters.named("nobody", "image-day")


# -- how they stand ----------------------------------------------------------------------------------------------


def standing(meters: Meters, **filters: Any) -> dict[tuple[str, str], tuple[int, int, int]]:
    limits = meters.limits(**{"limit": 50, **filters})
    return {(it.meter.tenant_id, it.meter.name): (it.used, it.held, it.remaining) for it in limits}


def test_the_limits_of_all_tenants_are_those_that_the_ledger_tells(
    meters: Meters, services: SimpleNamespace, ledger: Ledger
) -> None:
    meters.add(ALICE, "acme", BY_DAY, "beta quota")
    meters.add(ALICE, "acme", {**BY_DAY, "unit": "usd_micro", "cap": 100_000}, "beta quota")
    meters.add(ALICE, "globex", BY_DAY, "beta quota")
    generate(ledger, facts(services), images=2)
    assert standing(meters) == {
        ("acme", "image-day"): (2, 0, 1),
        ("acme", "money-day"): (40_000, 0, 60_000),
        ("globex", "image-day"): (0, 0, 3),
    }
    of_acme = meters.limits(tenant="acme", limit=50)
    assert sorted(of_acme, key=lambda it: it.meter.id) == ledger.limits(facts(services))


def test_a_window_that_is_over_counts_nothing(
    meters: Meters, services: SimpleNamespace, ledger: Ledger, clock: Any
) -> None:
    added = meters.add(ALICE, "acme", BY_DAY, "beta quota")
    generate(ledger, facts(services))
    clock.advance(86_400)
    assert standing(meters) == {("acme", "image-day"): (0, 0, 3)}
    assert standing(meters, above=1) == {}
    assert meters.standing(added.id)[1] == []


def test_limits_are_found_by_what_they_count_and_how_full_they_are(
    meters: Meters, services: SimpleNamespace, ledger: Ledger
) -> None:
    meters.add(ALICE, "acme", BY_DAY, "beta quota")
    meters.add(ALICE, "acme", {**BY_DAY, "period": "month", "cap": 100}, "beta quota")
    meters.add(ALICE, "globex", {"unit": "usd_micro", "period": "life", "cap": 0}, "to watch")
    generate(ledger, facts(services), images=3)
    assert list(standing(meters, above=80)) == [("acme", "image-day")]
    assert list(standing(meters, unit="usd_micro")) == [("globex", "money-life")]
    assert set(standing(meters, feature=GENERATION)) == {("acme", "image-day"), ("acme", "image-month")}
    assert standing(meters, tenant="initech") == {}


def test_limits_come_in_pages_that_miss_and_repeat_none(meters: Meters) -> None:
    for tenant in ("globex", "acme"):
        for period in ("day", "month", "life"):
            meters.add(ALICE, tenant, {**BY_DAY, "period": period}, "beta quota")
    found: list[tuple[str, str]] = []
    while page := meters.limits(after=found[-1] if found else ("", ""), limit=2):
        found += [(limit.meter.tenant_id, limit.meter.id) for limit in page]
    assert len(found) == len(set(found)) == 6
    assert found == sorted(found)


def test_what_counted_lately_adds_up_to_what_is_used(
    meters: Meters, services: SimpleNamespace, ledger: Ledger
) -> None:
    added = meters.add(ALICE, "acme", {**BY_DAY, "cap": 20}, "beta quota")
    for images in (1, 3):
        generate(ledger, facts(services), images=images)
    known = facts(services)
    with ledger.hold(request(*known.meters, images=2, meter_rev=known.meter_rev)) as held:
        limit, booked = meters.standing(added.id)
        held.void("for the test")
    assert (limit.used, limit.held) == (4, 2)
    assert [(row.d_used, row.d_held, row.used) for row in booked] == [(0, 2, 4), (3, 0, 4), (1, 0, 1)]
    _, booked = meters.standing(added.id)
    assert [(row.d_used, row.d_held, row.used) for row in booked] == [(0, 0, 4), (3, 0, 4), (1, 0, 1)]
