"""GET /api/v1/statements/{month}, and what admins see of it: /admin/api/v1/statements."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pytest
from adjusted import adjust
from clocks import Clock
from ratings import admin, client, key, partner, wire_ratings
from uses import Uses, analysis, generation

from rollout.db.engine import Database


@pytest.fixture
def services(database: Database, clock: Clock) -> SimpleNamespace:
    """Acme and globex were added on 2026-11-22, when acme used something and got some of it back."""
    wired = wire_ratings(database, clock)
    uses = Uses(database)
    uses.settled(generation("gen_1"), 40_000, images=1, usage={"output": 1_056})
    uses.unknown(generation("gen_2"), 500)
    uses.settled(analysis("anl_1"), 1_500, usage={"input": 100, "output": 20}, source="estimate")
    uses.settled(generation("gen_3", tenant_id="globex"), 7, images=1)
    adjust(database, -9_000, int(clock()), reason="=SUM(1), it was blank")
    return wired


def test_a_partner_reads_what_a_month_came_to(services: SimpleNamespace) -> None:
    status, body, _ = partner(services).get("/statements/2026-11")
    assert status == 200
    (adjustment,) = body.pop("adjustments")
    assert (adjustment["amount"], adjustment["unit"], adjustment["reason"]) == (
        -9_000,
        "usd_micro",
        "=SUM(1), it was blank",
    )
    assert body == {
        "tenant": "acme",
        "month": "2026-11",
        "from": "2026-10-31T17:00:00Z",
        "to": "2026-11-30T17:00:00Z",
        "tz": "Asia/Jakarta",
        "final": False,
        "lines": [
            {
                "feature": "image-analysis",
                "model": "claude-haiku-5-5",
                "requests": 1,
                "images": 0,
                "input_tokens": 100,
                "output_tokens": 20,
                "cost_usd_micro": 1_500,
                "pending_usd_micro": 0,
                "usage_usd_micro": 0,
                "price_list_usd_micro": 0,
                "estimate_usd_micro": 1_500,
            },
            {
                "feature": "image-generation",
                "model": "gpt-image-2",
                "requests": 2,
                "images": 1,
                "input_tokens": 0,
                "output_tokens": 1_056,
                "cost_usd_micro": 40_000,
                "pending_usd_micro": 500,
                "usage_usd_micro": 40_000,
                "price_list_usd_micro": 0,
                "estimate_usd_micro": 0,
            },
        ],
        "requests": 3,
        "images": 1,
        "input_tokens": 100,
        "output_tokens": 1_076,
        "total_usd_micro": 32_500,
        "pending_usd_micro": 500,
    }


@pytest.mark.parametrize("query", ["?format=csv", ""])
def test_as_a_sheet_its_column_of_costs_adds_up_to_the_total(services: SimpleNamespace, query: str) -> None:
    sent = {"x-api-key": key(services)} | ({} if query else {"Accept": "text/csv"})
    answer = client(services).get(f"/api/v1/statements/2026-11{query}", headers=sent)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="statement-2026-11.csv"'
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert sum(int(row["cost_usd_micro"]) for row in rows) == 32_500
    assert [row["kind"] for row in rows] == ["use", "use", "adjustment"]
    assert rows[2]["reason"] == "'=SUM(1), it was blank", "no spreadsheet takes it for a formula"


@pytest.mark.parametrize(
    ("month", "status", "says"),
    [
        ("2026-13", 400, "such as 2026-11"),
        ("november", 400, "such as 2026-11"),
        ("2026-12", 404, "2026-12 has not begun in Asia/Jakarta."),
        ("2026-10", 404, "2026-10 was over before the tenant was added"),
    ],
)
def test_a_month_without_a_statement_is_named(
    services: SimpleNamespace, month: str, status: int, says: str
) -> None:
    for found, problem, _ in (
        partner(services).get(f"/statements/{month}"),
        admin(services, "viewer").get(f"/statements/acme?month={month}"),
    ):
        assert (found, problem["param"]) == (status, "month")
        assert says in problem["detail"]


def test_a_statement_needs_the_scope_read_and_is_ones_own(services: SimpleNamespace) -> None:
    assert partner(services, scopes=("generate",)).get("/statements/2026-11")[0] == 403
    assert client(services).get("/api/v1/statements/2026-11").status_code == 401
    assert partner(services, "globex").get("/statements/2026-11")[1]["total_usd_micro"] == 7
    assert partner(services).get("/statements/2026-11?tenant=globex")[1]["param"] == "tenant"


def test_an_admin_reads_all_of_a_month_page_by_page_and_as_a_sheet(services: SimpleNamespace) -> None:
    viewer = admin(services, "viewer")
    first = viewer.get("/statements?month=2026-11&limit=1")[1]
    rest = viewer.get(f"/statements?month=2026-11&cursor={first['next_cursor']}")[1]
    found = [
        (row["tenant"], row["cost_usd_micro"], row["pending_usd_micro"])
        for row in (*first["data"], *rest["data"])
    ]
    assert found == [("acme", 32_500, 500), ("globex", 7, 0)]
    assert rest["next_cursor"] is None
    assert viewer.get("/statements")[1]["data"][0]["month"] == "2026-11"
    sheet = client(services).get("/admin/api/v1/statements?format=csv", headers=viewer._authorization)
    assert [row["cost_usd_micro"] for row in csv.DictReader(sheet.text.splitlines())] == ["32500", "7"]
    assert viewer.get("/statements?month=2026-12")[0] == 404
    assert viewer.get("/statements?month=12")[1]["param"] == "month"


def test_an_admin_reads_one_beside_its_meters(services: SimpleNamespace) -> None:
    viewer = admin(services, "viewer")
    status, body, _ = viewer.get("/statements/acme")
    assert (status, body["total_usd_micro"], body["checks"]) == (200, 32_500, [])
    assert viewer.get("/statements/nobody")[0] == 404
    sheet = client(services).get("/admin/api/v1/statements/acme?format=csv", headers=viewer._authorization)
    assert sheet.headers["Content-Disposition"] == 'attachment; filename="statement-acme-2026-11.csv"'
    assert client(services).get("/admin/api/v1/statements").status_code == 401
