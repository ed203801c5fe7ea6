"""/admin/statements: what a month came to, tenant by tenant, and one of them beside its meters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from adjusted import adjust
from console import SEED, Visitor
from uses import Uses, analysis, generation

from rollout.core.decisions import GENERATION
from rollout.core.tenants import Tenant
from rollout.core.tokens import Role
from rollout.db import tables
from rollout.services.registry import Services

Visit = Callable[[Role], Visitor]
MONEY = {"feature": GENERATION, "unit": "usd_micro", "period": "month", "cap": 10**9}


@pytest.fixture
def month(wired: Services) -> str:
    """That of now in Asia/Jakarta. Acme, which was there long before it, used something; globex did not."""
    meter = wired.meters.add(SEED, "acme", MONEY, "as agreed")
    with wired.database.write() as tx:
        tx.execute(sa.update(tables.tenant).values(created_at=0))
        tx.execute(sa.update(tables.meter).values(created_at=0))
        now = wired.database.now(tx)
    uses = Uses(wired.database)
    uses.settled(generation("gen_1"), 1_040_000, images=2)
    uses.settled(analysis("anl_1"), 1_500, source="estimate")
    uses.unknown(generation("gen_2"), 8_850)
    adjust(wired.database, -40_001, now, reason="half of it was <b>blank</b>")
    assert meter.name == "money-month"
    return wired.statements.get("acme", None).month.name


def test_the_list_has_each_tenants_total_and_leads_to_its_statement(visit: Visit, month: str) -> None:
    page = visit("viewer")
    page.get(f"/admin/statements?month={month}")
    assert f"Statements of {datetime.fromisoformat(f'{month}-01'):%B %Y}" in page.text
    assert "Acme Studios acme US$1.001499 US$0.00885 3 2 Asia/Jakarta" in page.text
    assert "Globex Media globex US$0.00 \u2013 0 0 UTC" in page.text
    assert f'href="/admin/statements/acme?month={month}"' in page.page.text


def test_a_statement_shows_where_its_total_comes_from_and_what_the_meters_say(
    visit: Visit, month: str
) -> None:
    page = visit("viewer")
    page.get(f"/admin/statements/acme?month={month}")
    for said in (
        "not final",
        "the month of Asia/Jakarta . The month goes on.",
        "Total US$1.001499 Still open US$0.00885 Calls 3 Pictures 2",
        "Image generation gpt-image-2 2 2 0 0 US$0.00885 US$1.04 US$1.04 by what the vendor told",
        "Image analysis claude-haiku-5-5 1 0 0 0 \u2013 US$0.0015 US$0.0015 as reserved, because nobody could tell",
        "half of it was &lt;b&gt;blank&lt;/b&gt; -US$0.040001",
        "money-month Image generation US$0.999999 US$0.999999 agrees",
    ):
        assert said in page.text, said
    assert page.get("/admin/statements/acme?lang=id").status_code == 200


def test_a_meter_that_differs_is_seen(wired: Services, visit: Visit, month: str) -> None:
    with wired.database.write() as tx:
        tx.execute(sa.update(tables.bucket).values(used=tables.bucket.c.used + 1))
    page = visit("viewer")
    page.get("/admin/statements/acme")
    assert "money-month Image generation US$1.00 US$0.999999 differs" in page.text


def test_one_walks_from_month_to_month_as_far_as_there_are_some(wired: Services, visit: Visit) -> None:
    now = datetime.now(UTC)
    with wired.database.write() as tx:
        long_ago = int(datetime(now.year - 1, 1, 15, tzinfo=UTC).timestamp())
        tx.execute(sa.update(tables.tenant).values(created_at=long_ago))
    page = visit("viewer")
    page.get(f"/admin/statements/acme?month={now.year - 1}-01")
    assert 'rel="prev"' not in page.page.text
    assert f'rel="next" href="/admin/statements/acme?month={now.year - 1}-02"' in page.page.text
    assert "Nothing was used in this month." in page.text
    assert "No money meter counted all of this month" in page.text
    page.get(f"/admin/statements?month={now.year - 1}-01")
    assert 'rel="prev"' in page.page.text
    page.get("/admin/statements/globex")
    assert 'rel="next"' not in page.page.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/admin/statements?month=2026-13", 400),
        ("/admin/statements?month=2199-01", 404),
        ("/admin/statements?month=" + "1" * 21, 400),
        ("/admin/statements/acme?month=soon", 400),
        ("/admin/statements/acme?month=2199-01", 404),
        ("/admin/statements/acme?month=2001-01", 404),
        ("/admin/statements/nobody", 404),
    ],
)
def test_what_there_is_not_is_told(visit: Visit, path: str, status: int) -> None:
    page = visit("viewer")
    assert page.get(path).status_code == status
    assert "/admin/statements" in page.page.text, "within the frame"


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_both_are_there_to_take_away(visit: Visit, month: str, format_: str) -> None:
    page = visit("viewer")
    whole = page.get(f"/admin/statements?month={month}&format={format_}")
    assert whole.headers["Content-Disposition"] == f'attachment; filename="statements-{month}.{format_}"'
    assert "1001499" in whole.text
    one = page.get(f"/admin/statements/acme?month={month}&format={format_}")
    assert one.headers["Content-Disposition"] == f'attachment; filename="statement-acme-{month}.{format_}"'
    assert "-40001" in one.text


def test_without_a_tenant_the_list_says_how_to_begin(wired: Services, visit: Visit) -> None:
    with wired.database.write() as tx:
        tx.execute(sa.delete(tables.tenant))
    page = visit("viewer")
    page.get("/admin/statements")
    assert "There is no tenant yet" in page.text
    wired.tenants.add(SEED, Tenant("first", "First"), "test")
    page.get("/admin/tenants/first")
    assert 'href="/admin/statements/first"' in page.page.text
