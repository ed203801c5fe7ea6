"""A month's statement comes to what the ledger booked, to the micro-dollar, whatever happened around the month's edges."""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from adjusted import adjust
from clocks import Clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import calendar_window
from uses import Uses, analysis, generation

from rollout.core.audit import Actor
from rollout.core.catalogue import Cost
from rollout.core.decisions import ANALYSIS, GENERATION
from rollout.core.exports import lines
from rollout.core.holds import Actual
from rollout.core.statements import STATEMENT_COLUMNS, statement_json, statement_rows
from rollout.core.tenants import Tenant
from rollout.core.usage import Figures
from rollout.db import tables
from rollout.db.engine import Database
from rollout.errors import InvalidRequest, NotFound
from rollout.services import statements as module
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.meters import Meters
from rollout.services.statements import Statements
from rollout.services.tenants import Tenants
from rollout.services.usage import UsageReports

ALICE = Actor("token:alice")
HOUR, DAY = 3600, 86_400
USES = {GENERATION: generation, ANALYSIS: analysis}
LOTS = 10**12


def at(text: str, tz: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp())


@pytest.fixture
def uses(database: Database) -> Uses:
    return Uses(database)


@pytest.fixture
def statements(database: Database) -> Statements:
    return Statements(database)


def add_tenant(database: Database, id_: str, tz: str) -> None:
    """With money meters by the month, for each feature and over all."""
    changes = Changes(database)
    Tenants(database, changes).add(ALICE, Tenant(id_, id_, tz), "seed")
    meters = Meters(database, changes, new_id)
    for feature in (GENERATION, ANALYSIS, None):
        fields = {
            "name": f"money-{feature or 'all'}",
            "feature": feature,
            "unit": "usd_micro",
            "period": "month",
            "cap": LOTS,
        }
        meters.add(ALICE, id_, fields, "seed")


EVENTS = st.tuples(
    st.integers(-3 * DAY, 3 * DAY),  # seconds from the edge of the month
    st.sampled_from(["settled", "late", "void", "unknown", "adjusted"]),
    st.sampled_from([GENERATION, ANALYSIS]),
    st.integers(0, 90_000),
    st.sampled_from(["usage", "price_list", "estimate"]),
    st.booleans(),
)
COUNT = itertools.count()


@pytest.mark.parametrize(
    ("tz", "edge"),
    [
        ("Asia/Jakarta", "2026-12-01"),
        ("America/New_York", "2026-11-01"),  # the clocks go back on that very day
    ],
)
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(events=st.lists(EVENTS, min_size=1, max_size=8))
def test_the_statement_the_ledger_and_the_usage_lines_agree_on_both_sides_of_a_months_edge(
    database: Database, clock: Clock, tz: str, edge: str, events: list[Any]
) -> None:
    tenant, midnight = f"t{next(COUNT)}", at(edge, tz)
    clock.now = midnight - 60 * DAY
    add_tenant(database, tenant, tz)
    uses, spent, pending = Uses(database), defaultdict[int, int](int), defaultdict[int, int](int)
    for number, (offset, kind, feature, amount, source, given_back) in enumerate(sorted(events)):
        clock.now = max(clock.now, midnight + offset)
        month, _ = calendar_window("month", tz, int(clock.now))
        use = USES[feature](f"use_{tenant}_{number}", tenant_id=tenant)
        match kind:
            case "settled":
                uses.settled(use, amount, source=source)
                spent[month] += amount
            case "late":  # begun now, settled after the edge
                with uses.held(use, amount + 7) as held:
                    clock.advance(2 * DAY)
                    held.settle(Actual(Cost(amount, source, "price_1"), 0), None)
                spent[month] += amount
            case "void":
                uses.void(use, amount)
            case "unknown":
                uses.unknown(use, amount)
                pending[month] += amount
            case "adjusted":
                signed = -min(amount, _used(database, tenant, feature, month)) if given_back else amount
                if signed:
                    adjust(database, signed, int(clock.now), tenant=tenant, feature=feature)
                spent[month] += signed
    clock.now = midnight + 20 * DAY

    statements, reports = Statements(database), UsageReports(database)
    for day in (midnight - DAY, midnight + 5 * DAY):
        name = f"{datetime.fromtimestamp(day, ZoneInfo(tz)):%Y-%m}"
        start, ends = calendar_window("month", tz, day)
        done = statements.get(tenant, name)
        assert (done.month.period.since, done.month.period.until) == (start, ends)
        assert done.total.cost_usd_micro == spent[start]
        assert done.total.pending_usd_micro == pending[start]
        assert booked(database, tenant, start) == spent[start]
        assert all(check.agrees for check in done.checks)
        first, last = (f"{datetime.fromtimestamp(when, ZoneInfo(tz)):%Y-%m-%d}" for when in (start, ends - 1))
        report = reports.report(tenant, first, last, "day,model,key,end_user")
        assert sum(line.figures.cost_usd_micro for line in report.lines) == spent[start]
        rows = list(csv.DictReader(lines("csv", STATEMENT_COLUMNS, statement_rows(done))))
        assert sum(int(row["cost_usd_micro"]) for row in rows) == spent[start]
    assert statements.verify() == []


def booked(database: Database, tenant: str, start: int) -> int:
    """The entries on the tenant's meter of all money in the month that begins then."""
    entry, meter = tables.entry.c, tables.meter.c
    query = sa.select(sa.func.coalesce(sa.func.sum(entry.d_used), 0)).where(
        entry.tenant_id == tenant, entry.start == start, meter.id == entry.meter_id, meter.name == "money-all"
    )
    with database.read() as tx:
        return int(tx.execute(query).scalar_one())


def _used(database: Database, tenant: str, feature: str, start: int) -> int:
    bucket, meter = tables.bucket.c, tables.meter.c
    query = sa.select(bucket.used).where(
        bucket.tenant_id == tenant,
        bucket.start == start,
        meter.id == bucket.meter_id,
        meter.name == f"money-{feature}",
    )
    with database.read() as tx:
        return int(tx.execute(query).scalar() or 0)


@pytest.fixture
def acme(database: Database, clock: Clock) -> str:
    """There since the first of September; it is noon of 2026-11-22."""
    clock.now, noon = at("2026-09-01"), clock.now
    add_tenant(database, "acme", "Asia/Jakarta")
    clock.now = noon
    return "acme"


def test_a_statement_has_a_line_for_each_feature_and_model_and_says_what_each_cost_was_taken_from(
    uses: Uses, statements: Statements, acme: str
) -> None:
    uses.settled(generation("gen_1"), 40_000, images=2, usage={"input": 30, "output": 1_000})
    uses.settled(generation("gen_2", model="gpt-image-2.5-flare"), 5, images=1, source="price_list")
    uses.settled(generation("gen_3"), 900, source="estimate")
    uses.settled(analysis("anl_1"), 1_500, usage={"input": 100, "cache_read": 5, "output": 20})
    uses.unknown(generation("gen_4"), 77)
    uses.void(generation("gen_5"), 5_000)
    uses.settled(generation("gen_6", mode="test"), 10)
    shown = statement_json(statements.get(acme, "2026-11"))
    assert (shown["from"], shown["to"]) == ("2026-10-31T17:00:00Z", "2026-11-30T17:00:00Z")
    assert [
        (line["feature"], line["model"], line["requests"], line["images"]) for line in shown["lines"]
    ] == [
        (ANALYSIS, "claude-haiku-5-5", 1, 0),
        (GENERATION, "gpt-image-2", 3, 2),
        (GENERATION, "gpt-image-2.5-flare", 1, 1),
    ]
    dearest = shown["lines"][1]
    assert (dearest["usage_usd_micro"], dearest["price_list_usd_micro"], dearest["estimate_usd_micro"]) == (
        40_000,
        0,
        900,
    )
    assert (dearest["cost_usd_micro"], dearest["pending_usd_micro"]) == (40_900, 77)
    assert (shown["total_usd_micro"], shown["pending_usd_micro"], shown["final"]) == (42_405, 77, False)
    assert (shown["requests"], shown["images"], shown["input_tokens"], shown["output_tokens"]) == (
        5,
        3,
        135,
        1_020,
    )


def test_an_adjustment_is_a_line_with_its_reason_and_is_in_the_total_and_in_every_report(
    uses: Uses, statements: Statements, database: Database, clock: Clock, acme: str
) -> None:
    uses.settled(generation("gen_1", end_user="ana"), 40_000, images=2)
    uses.settled(analysis("anl_1"), 500)
    back = adjust(database, -15_000, int(clock.now), reason="=half of it was blank")
    adjust(database, -1, int(clock.now), unit="image")
    adjust(database, 9, at("2026-10-31T16:59:59"), reason="in October there")
    done = statements.get(acme, "2026-11")
    assert next((one.id, one.amount, one.reason) for one in done.corrections) == (
        back,
        -15_000,
        "=half of it was blank",
    )
    assert done.total == Figures(requests=2, images=1, cost_usd_micro=25_500)
    assert [row["kind"] for row in statement_rows(done)] == ["use", "use", "adjustment", "adjustment"]
    assert statements.get(acme, "2026-10").total.cost_usd_micro == 9

    reports = UsageReports(database)
    by_model = reports.report(acme, "2026-11-01", "2026-11-30", "feature,model,end_user,key").lines
    assert [
        (*line.names.values(), line.figures.images, line.figures.cost_usd_micro) for line in by_model
    ] == [
        (ANALYSIS, "claude-haiku-5-5", None, "key_1", 0, 500),
        (GENERATION, "gpt-image-2", "ana", "key_1", 2, 40_000),
        (GENERATION, None, None, None, -1, -15_000),
    ]
    by_day = reports.overview(None, "2026-10-01", "2026-11-30", "tenant,day,phase,vendor")
    assert [
        (line.names["day"], line.names["vendor"], line.figures.cost_usd_micro) for line in by_day.lines
    ] == [
        ("2026-10-31", None, 9),
        ("2026-11-22", "anthropic", 500),
        ("2026-11-22", "openai", 40_000),
        ("2026-11-22", None, -15_000),
    ]
    assert reports.report(acme, None, None, None).total.images == 1


def test_a_month_is_final_once_it_is_over_and_nothing_of_it_is_open(
    uses: Uses, statements: Statements, clock: Clock, acme: str
) -> None:
    uses.unknown(generation("gen_1"), 10)
    assert not statements.get(acme, None).is_over
    clock.now = at("2026-12-01", "Asia/Jakarta") - 1
    assert not statements.get(acme, "2026-11").is_over
    clock.advance(1)
    done = statements.get(acme, "2026-11")
    assert (done.is_over, done.is_final) == (True, False)
    assert statements.get(acme, "2026-10").is_final
    assert statements.get(acme, None).month.name == "2026-12"


def test_a_month_in_which_the_clocks_change_has_its_own_length(
    uses: Uses, statements: Statements, database: Database, clock: Clock
) -> None:
    clock.now = at("2026-08-01")
    add_tenant(database, "berlin", "Europe/Berlin")
    for moment in ("2026-10-01T00:00", "2026-10-25T02:30", "2026-10-31T23:59"):
        clock.now = at(moment, "Europe/Berlin")
        uses.settled(generation(f"gen_{moment}", tenant_id="berlin"), 100)
    clock.now = at("2026-11-01", "Europe/Berlin")
    uses.settled(generation("gen_after", tenant_id="berlin"), 1)
    done = statements.get("berlin", "2026-10")
    assert done.month.period.until - done.month.period.since == 31 * DAY + HOUR
    assert done.total.cost_usd_micro == 300
    assert [check.meter.used for check in done.checks] == [300, 300]
    assert all(check.agrees for check in done.checks)


def test_only_meters_that_counted_all_of_the_month_are_compared(
    uses: Uses, statements: Statements, database: Database, clock: Clock
) -> None:
    clock.now = at("2026-11-10")
    add_tenant(database, "acme", "UTC")
    uses.settled(generation("gen_1"), 10)
    clock.now = at("2026-12-02")
    uses.settled(generation("gen_2"), 20)
    assert statements.get("acme", "2026-11").checks == ()
    december = statements.get("acme", "2026-12")
    assert [(check.meter.name, check.meter.used, check.stated_usd_micro) for check in december.checks] == [
        ("money-all", 20, 20),
        (f"money-{GENERATION}", 20, 20),
    ]
    archived = Meters(database, Changes(database), new_id)
    archived.archive(ALICE, december.checks[0].meter.meter_id, "no longer")
    assert [check.meter.name for check in statements.get("acme", "2026-12").checks] == [f"money-{GENERATION}"]


def test_a_charge_that_a_meter_missed_is_found(
    uses: Uses, statements: Statements, database: Database, acme: str
) -> None:
    uses.settled(generation("gen_1"), 40_000)
    assert statements.verify() == []
    with database.write() as tx:
        money = tables.meter.c.name == f"money-{GENERATION}"
        (id_,) = tx.execute(sa.select(tables.meter.c.id).where(money)).one()
        tx.execute(sa.update(tables.bucket).where(tables.bucket.c.meter_id == id_).values(used=39_999))
    (check,) = (check for check in statements.get(acme, "2026-11").checks if not check.agrees)
    assert (check.meter.used, check.stated_usd_micro) == (39_999, 40_000)
    (sentence,) = statements.verify()
    assert sentence == (
        f"meter {id_} of acme booked 39999 in the month from 2026-10-31T17:00:00Z; "
        "the calls and adjustments of that month cost 40000"
    )


def test_all_tenants_of_a_month_are_listed_each_in_its_own_time_zone(
    uses: Uses,
    statements: Statements,
    database: Database,
    clock: Clock,
    acme: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_tenant(database, "honolulu", "Pacific/Honolulu")
    add_tenant(database, "idle", "UTC")
    clock.now = at("2026-12-01T02:00")  # still November in Honolulu
    uses.settled(generation("gen_1"), 5)
    uses.settled(generation("gen_2", tenant_id="honolulu"), 7)
    adjust(database, -2, int(clock.now), tenant="honolulu")
    november, december = (
        {tenant.id: total.cost_usd_micro for tenant, total in statements.page(month, after=None, limit=10)}
        for month in ("2026-11", "2026-12")
    )
    assert november == {"acme": 0, "honolulu": 5, "idle": 0}
    assert december == {"acme": 5, "honolulu": 0, "idle": 0}
    assert [tenant.id for tenant, _ in statements.page("2026-12", after="acme", limit=1)] == ["honolulu"]
    monkeypatch.setattr(module, "METERS_A_QUERY", 1)
    assert statements.verify() == []


@pytest.mark.parametrize(
    "month",
    [
        "2026-13",
        "2026-00",
        "2026-1",
        "November",
        "",
        "2026-11-01",
        "\uff12\uff10\uff12\uff16-11",
        "1999-12",
        "2201-01",
    ],
)
def test_a_month_that_does_not_exist_is_named(statements: Statements, acme: str, month: str) -> None:
    if month:
        with pytest.raises(InvalidRequest, match="such as 2026-11") as refused:
            statements.get(acme, month)
        assert refused.value.members["param"] == "month"
    with pytest.raises(InvalidRequest, match="such as 2026-11"):
        statements.page(month, after=None, limit=5)


@pytest.mark.parametrize(
    ("month", "why"),
    [
        ("2026-12", "2026-12 has not begun in Asia/Jakarta."),
        ("2199-01", "has not begun"),
        ("2026-08", "2026-08 was over before the tenant was added, on 2026-09-01T00:00:00Z."),
    ],
)
def test_a_month_without_a_statement_is_not_found(
    statements: Statements, acme: str, month: str, why: str
) -> None:
    with pytest.raises(NotFound, match=why) as refused:
        statements.get(acme, month)
    assert refused.value.members["param"] == "month"


def test_nobody_has_no_statement(statements: Statements) -> None:
    with pytest.raises(NotFound) as refused:
        statements.get("nobody", None)
    assert refused.value.members["param"] == "tenant"


def test_months_lead_to_those_that_there_are(statements: Statements, acme: str) -> None:
    names = [
        (done.before, done.name, done.after)
        for done in (statements.get(acme, month).month for month in (None, "2026-10", "2026-09"))
    ]
    assert names == [
        ("2026-10", "2026-11", None),
        ("2026-09", "2026-10", "2026-11"),
        (None, "2026-09", "2026-10"),
    ]
