"""Usage reports add up to the books."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from uses import Uses, analysis, generation

from rollout.core.audit import Actor
from rollout.core.tenants import Tenant
from rollout.core.usage import Figures, Report
from rollout.db import tables
from rollout.db.engine import Database
from rollout.errors import InvalidRequest, NotFound
from rollout.services import usage
from rollout.services.changes import Changes
from rollout.services.tenants import Tenants
from rollout.services.usage import UsageReports

ALICE = Actor("token:alice")
TOKENS = {"input": 100, "output": 20, "cache_write": 7, "cache_write_1h": 3, "cache_read": 5}


@pytest.fixture
def uses(database: Database) -> Uses:
    tenants = Tenants(database, Changes(database))
    tenants.add(ALICE, Tenant("acme", "Acme", "Asia/Jakarta"), "seed")
    tenants.add(ALICE, Tenant("globex", "Globex"), "seed")
    return Uses(database)


@pytest.fixture
def reports(database: Database) -> UsageReports:
    return UsageReports(database)


def lines(done: Report) -> list[dict[str, Any]]:
    names = ("requests", "images", "cost_usd_micro", "pending_usd_micro")
    return [{**line.names, **{name: getattr(line.figures, name) for name in names}} for line in done.lines]


def test_the_sum_is_what_the_settled_holds_cost_and_the_rest_is_pending(
    uses: Uses, reports: UsageReports, database: Database
) -> None:
    uses.settled(generation("gen_1"), 40_000, images=2, usage={"input": 30, "output": 1_000})
    uses.settled(analysis("anl_1"), 1_500, usage=TOKENS)
    uses.settled(generation("gen_2"), 7, usage=None)
    uses.unknown(generation("gen_3"), 900)
    uses.void(generation("gen_4"), 5_000)
    total = reports.report("acme", None, None, None).total
    assert total == Figures(
        requests=4,
        images=2,
        input_tokens=30 + 112,
        output_tokens=1_020,
        cost_usd_micro=41_507,
        pending_usd_micro=900,
    )
    with database.read() as tx:
        settled = tables.hold.c.state == "settled"
        spent = tx.execute(sa.select(sa.func.sum(tables.hold.c.cost_usd_micro)).where(settled)).scalar_one()
    assert spent == total.cost_usd_micro


def test_an_empty_report_is_one_line_of_nothing_or_no_line_by_day(uses: Uses, reports: UsageReports) -> None:
    assert reports.report("acme", None, None, None).total == Figures()
    assert reports.report("acme", None, None, "day").lines == ()


def test_days_are_those_of_the_tenant(uses: Uses, reports: UsageReports, clock: Any) -> None:
    clock.now = datetime(2026, 11, 22, 16, 59, 59, tzinfo=UTC).timestamp()
    uses.settled(generation("gen_1"), 10)
    clock.advance(1)
    uses.settled(generation("gen_2"), 20)
    done = reports.report("acme", "2026-11-22", "2026-11-23", "day")
    assert [(line["day"], line["cost_usd_micro"]) for line in lines(done)] == [
        ("2026-11-22", 10),
        ("2026-11-23", 20),
    ]
    assert reports.report("acme", "2026-11-23", "2026-11-23", None).total.cost_usd_micro == 20
    until = reports.report("acme", "2026-11-22T16:59:59Z", "2026-11-22T17:00:00Z", None)
    assert until.total.cost_usd_micro == 10


def test_a_report_is_cut_by_every_word_a_tenant_has(uses: Uses, reports: UsageReports) -> None:
    uses.settled(generation("gen_1", end_user="ana"), 10, images=1)
    uses.settled(generation("gen_2", end_user="ana", api_key_id="key_2"), 20, images=1)
    uses.settled(analysis("anl_1"), 5)
    by_model = reports.report("acme", None, None, "model,feature")
    assert [(line["model"], line["feature"], line["cost_usd_micro"]) for line in lines(by_model)] == [
        ("claude-haiku-5-5", "image-analysis", 5),
        ("gpt-image-2", "image-generation", 30),
    ]
    by_user = reports.report("acme", None, None, "end_user,key")
    assert [(line["end_user"], line["key"], line["requests"]) for line in lines(by_user)] == [
        ("ana", "key_1", 1),
        ("ana", "key_2", 1),
        (None, "key_1", 1),
    ]


def test_test_keys_and_other_tenants_do_not_count(uses: Uses, reports: UsageReports) -> None:
    uses.settled(generation("gen_1", mode="test"), 10)
    uses.settled(generation("gen_2", tenant_id="globex"), 20)
    assert reports.report("acme", None, None, None).total == Figures()


def test_an_admin_sees_all_tenants_in_utc_by_phase_and_vendor(uses: Uses, reports: UsageReports) -> None:
    uses.settled(generation("gen_1"), 10)
    uses.settled(generation("gen_2", tenant_id="globex", phase="wider_beta"), 20)
    uses.settled(analysis("anl_1", phase=None), 5)
    done = reports.overview(None, None, None, "tenant,phase,vendor")
    assert done.period.tz == "UTC"
    assert [(*line.names.values(), line.figures.cost_usd_micro) for line in done.lines] == [
        ("acme", "private_beta", "openai", 10),
        ("acme", None, "anthropic", 5),
        ("globex", "wider_beta", "openai", 20),
    ]
    assert reports.overview("acme", None, None, None).total.cost_usd_micro == 15
    assert reports.overview("acme", None, None, None).period.tz == "Asia/Jakarta"


def test_a_tenant_does_not_learn_of_phases_and_vendors(uses: Uses, reports: UsageReports) -> None:
    with pytest.raises(InvalidRequest, match="not by 'phase'"):
        reports.report("acme", None, None, "phase")


def test_a_report_of_nobody_is_not_found(reports: UsageReports) -> None:
    with pytest.raises(NotFound):
        reports.overview("nobody", None, None, None)


def test_a_report_that_is_too_long_is_refused_with_a_remedy(
    uses: Uses, reports: UsageReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MAX_GROUPS", 2)
    for name in ("ana", "bob", "eve"):
        uses.settled(generation(f"gen_{name}", end_user=name), 1)
    assert reports.report("acme", None, None, None).total.requests == 3
    with pytest.raises(InvalidRequest, match="too long") as refused:
        reports.report("acme", None, None, "end_user")
    assert refused.value.members["param"] == "by"
