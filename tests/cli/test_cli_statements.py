"""`rollout statements` and `rollout ledger`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from doors import ACME, ALICE, GLOBEX
from uses import Uses, analysis, generation

from rollout.cli.main import main
from rollout.core.decisions import GENERATION
from rollout.db import migrate, tables
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

Run = Callable[..., Result]


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Acme has a money meter since long ago, and used 41,500 micro-dollars; globex nothing."""
    monkeypatch.setenv("ROLLOUT_HOME", str(tmp_path))
    settings = Settings.from_env({"ROLLOUT_HOME": str(tmp_path)})
    migrate.upgrade(settings.database)
    built = build(settings)
    for tenant in (ACME, GLOBEX):
        built.tenants.add(ALICE, tenant, "signed")
    built.meters.add(
        ALICE, "acme", {"feature": GENERATION, "unit": "usd_micro", "period": "month", "cap": 10**9}, "agreed"
    )
    with built.database.write() as tx:
        tx.execute(sa.update(tables.meter).values(created_at=0))
    uses = Uses(built.database)
    uses.settled(generation("gen_1"), 40_000, images=1)
    uses.settled(analysis("anl_1"), 1_500)
    yield built
    built.close()


@pytest.fixture
def run(services: Services) -> Run:
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_a_statement_ends_with_the_total_and_what_the_meters_say(run: Run) -> None:
    shown = run("statements", "show", "acme")
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert rows[1][:5] == ["use", "image-analysis", "claude-haiku-5-5", "1", "0"]
    assert rows[-1] == ["total", "-", "-", "2", "1", "0", "0", "41500", "0", "-"]
    assert shown.stderr == "meter money-month booked 40000: agrees\n"


def test_a_meter_that_differs_is_said(run: Run, services: Services) -> None:
    with services.database.write() as tx:
        tx.execute(sa.update(tables.bucket).values(used=7))
    assert (
        "meter money-month booked 7: DIFFERS: the statement says 40000"
        in run("statements", "show", "acme").stderr
    )


def test_statements_are_the_same_for_programs_and_spreadsheets(run: Run) -> None:
    body = json.loads(run("statements", "show", "acme", "--json").stdout)
    assert (body["total_usd_micro"], body["checks"][0]["agrees"]) == (41_500, True)
    rows = list(csv.DictReader(io.StringIO(run("statements", "show", "acme", "--csv").stdout)))
    assert sum(int(row["cost_usd_micro"]) for row in rows) == 41_500
    listed = json.loads(run("statements", "list", "--json").stdout)
    assert [(row["tenant"], row["cost_usd_micro"]) for row in listed] == [("acme", 41_500), ("globex", 0)]
    sheet = list(csv.DictReader(io.StringIO(run("statements", "list", "--csv").stdout)))
    assert [(row["tenant"], row["cost_usd_micro"]) for row in sheet] == [("acme", "41500"), ("globex", "0")]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "acme", "--month", "2026-13"), 3, "such as 2026-11. (month)"),
        (("show", "acme", "--month", "2199-01"), 3, "has not begun"),
        (("show", "acme", "--month", "2001-01"), 3, "was over before the tenant was added"),
        (("show", "nobody"), 3, "There is no tenant 'nobody'. (tenant)"),
        (("list", "--month", "2199-01"), 3, "has not begun"),
        (("show", "acme", "--csv", "--json"), 2, "either --csv or --json"),
    ],
)
def test_a_wrong_question_is_named(run: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    result = run("statements", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in result.stderr


def test_who_looks_at_the_books_and_what_was_found_is_kept(run: Run, services: Services) -> None:
    assert "rollout ledger verify" in run("ledger", "list").stdout
    clean = run("ledger", "verify")
    assert (clean.exit_code, clean.stdout) == (0, "the books are clean\n")
    with services.database.write() as tx:
        tx.execute(sa.update(tables.bucket).values(used=7))
    wrong = run("ledger", "verify")
    assert wrong.exit_code == 1
    assert "has used 7" in wrong.stdout
    as_json = run("ledger", "verify", "--json")
    assert as_json.exit_code == 1
    listed = json.loads(run("ledger", "list", "--json").stdout)
    assert listed[0] == json.loads(as_json.stdout)
    assert [one["clean"] for one in listed] == [False, False, True]
    assert listed[0]["actor"].startswith("cli:")
    assert "wrong" in run("check").stdout
