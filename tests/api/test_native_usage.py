"""GET /api/v1/usage as JSON and CSV; /admin/api/v1/usage."""

from __future__ import annotations

import csv
from types import SimpleNamespace
from typing import Any

import pytest
from ratings import admin, client, key, partner, wire_ratings
from uses import Uses, analysis, generation

from rollout.db.engine import Database


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    wired = wire_ratings(database, clock)
    uses = Uses(database)
    uses.settled(generation("gen_1", end_user='Ana, "the" first'), 40_000, images=1, usage={"output": 1_056})
    uses.unknown(generation("gen_2"), 500)
    uses.settled(analysis("anl_1"), 1_500, usage={"input": 100, "output": 20})
    uses.settled(generation("gen_3", tenant_id="globex"), 7, images=1)
    return wired


def test_a_partner_reads_its_own_usage(services: SimpleNamespace) -> None:
    status, body, _ = partner(services).get("/usage?from=2026-11-22&to=2026-11-22&by=day,feature")
    assert status == 200
    assert (body["from"], body["to"]) == ("2026-11-21T17:00:00Z", "2026-11-22T17:00:00Z")
    assert (body["tz"], body["by"]) == ("Asia/Jakarta", ["day", "feature"])
    assert body["data"] == [
        {
            "day": "2026-11-22",
            "feature": "image-analysis",
            "requests": 1,
            "images": 0,
            "input_tokens": 100,
            "output_tokens": 20,
            "cost_usd_micro": 1_500,
            "pending_usd_micro": 0,
        },
        {
            "day": "2026-11-22",
            "feature": "image-generation",
            "requests": 2,
            "images": 1,
            "input_tokens": 0,
            "output_tokens": 1_056,
            "cost_usd_micro": 40_000,
            "pending_usd_micro": 500,
        },
    ]
    assert body["total"]["cost_usd_micro"] == 41_500


@pytest.mark.parametrize(
    ("query", "headers", "is_csv"),
    [
        ("", {}, False),
        ("", {"Accept": "*/*"}, False),
        ("", {"Accept": "text/csv"}, True),
        ("?format=csv", {}, True),
        ("?format=json", {"Accept": "text/csv"}, False),
    ],
)
def test_csv_is_for_those_who_ask_for_it(
    services: SimpleNamespace, query: str, headers: dict[str, str], is_csv: bool
) -> None:
    _, _, sent = partner(services).send("GET", f"/usage{query}", **headers)
    assert sent["Content-Type"].startswith("text/csv" if is_csv else "application/json")


def test_csv_has_a_row_of_names_and_quotes_what_needs_it(services: SimpleNamespace) -> None:
    sent = {"x-api-key": key(services)}
    answer = client(services).get("/api/v1/usage?by=end_user&format=csv", headers=sent)
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [(row["end_user"], row["requests"], row["cost_usd_micro"]) for row in rows] == [
        ('Ana, "the" first', "1", "40000"),
        ("", "2", "1500"),
    ]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("by=vendor", "by"),
        ("from=soon", "from"),
        ("to=2026-13-01", "to"),
        ("from=2026-11-23&to=2026-11-22", "from"),
        ("format=xml", "format"),
        ("since=2026-11-22", "since"),
        ("tenant=globex", "tenant"),
    ],
)
def test_a_wrong_word_is_named(services: SimpleNamespace, query: str, param: str) -> None:
    status, problem, _ = partner(services).get(f"/usage?{query}")
    assert (status, problem["code"], problem["param"]) == (400, "invalid_request", param)


def test_usage_needs_the_scope_read(services: SimpleNamespace) -> None:
    assert partner(services, scopes=("generate",)).get("/usage")[0] == 403
    assert client(services).get("/api/v1/usage").status_code == 401


@pytest.mark.parametrize("word", ["day", "model", "key", "feature", "end_user", "tenant", "phase", "vendor"])
def test_every_word_cuts_the_same_total_at_both_doors_and_in_both_formats(
    services: SimpleNamespace, word: str
) -> None:
    doors = {"/admin/api/v1": admin(services, "viewer")}
    if word not in ("tenant", "phase", "vendor"):
        doors["/api/v1"] = partner(services)
    for prefix, door in doors.items():
        status, body, _ = door.get(f"/usage?by={word}")
        assert status == 200
        assert {next(iter(line)) for line in body["data"]} == {word}
        sheet = client(services).get(f"{prefix}/usage?by={word}&format=csv", headers=door._authorization)
        rows = list(csv.DictReader(sheet.text.splitlines()))
        assert sheet.headers["Content-Disposition"] == 'attachment; filename="usage.csv"'
        assert [row[word] or None for row in rows] == [line[word] for line in body["data"]]
        for figure, total in body["total"].items():
            assert sum(int(row[figure]) for row in rows) == total


def test_an_admin_reads_the_usage_of_all_and_of_one(services: SimpleNamespace) -> None:
    viewer = admin(services, "viewer")
    body = viewer.get("/usage?by=tenant,vendor,phase")[1]
    assert [(line["tenant"], line["vendor"], line["cost_usd_micro"]) for line in body["data"]] == [
        ("acme", "anthropic", 1_500),
        ("acme", "openai", 40_000),
        ("globex", "openai", 7),
    ]
    assert body["total"]["cost_usd_micro"] == 41_507
    assert viewer.get("/usage?tenant=globex")[1]["total"]["cost_usd_micro"] == 7
    assert viewer.get("/usage?tenant=nobody")[0] == 404
