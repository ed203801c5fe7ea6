"""`rollout usage`, `workers`, `audit` as a search and a file, and lists that say when there may be more."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from doors import ACME, ALICE, BOB, GLOBEX
from uses import Uses, analysis, generation

from rollout.cli.main import main
from rollout.core.decisions import GENERATION
from rollout.core.refusals import Refusal
from rollout.core.tokens import NewToken
from rollout.db import migrate
from rollout.services.registry import Services
from rollout.services.workers import Worker
from rollout.settings import Settings
from rollout.wiring import build

Run = Callable[..., Result]


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv("ROLLOUT_HOME", str(tmp_path))
    settings = Settings.from_env({"ROLLOUT_HOME": str(tmp_path)})
    migrate.upgrade(settings.database)
    built = build(settings)
    built.tenants.add(ALICE, ACME, "signed on Monday")
    built.tenants.add(BOB, GLOBEX, "signed on Tuesday")
    yield built
    built.close()


@pytest.fixture
def run(services: Services) -> Run:
    return lambda *arguments: CliRunner().invoke(main, arguments)


@pytest.fixture
def used(services: Services) -> None:
    """acme made a picture for 4 cents and had it looked at; globex made one."""
    uses = Uses(services.database)
    uses.settled(generation("gen_1"), 40_000, images=1)
    uses.settled(analysis("anl_1"), 1_500)
    uses.settled(generation("gen_2", tenant_id="globex"), 70, images=1)


@pytest.mark.usefixtures("used")
def test_usage_is_cut_by_several_words_and_ends_with_the_total(run: Run) -> None:
    table = run("usage", "--by", "tenant", "--by", "feature").stdout.splitlines()
    assert [line.split()[:3] for line in table] == [
        ["TENANT", "FEATURE", "REQUESTS"],
        ["acme", "image-analysis", "1"],
        ["acme", "image-generation", "1"],
        ["globex", "image-generation", "1"],
        ["total", "-", "3"],
    ]
    assert len(run("usage").stdout.splitlines()) == 2, "without a word the only line is the total"


@pytest.mark.usefixtures("used")
def test_usage_is_the_same_for_people_programs_and_spreadsheets(run: Run) -> None:
    asked = ("usage", "--tenant", "acme", "--by", "feature")
    report = json.loads(run(*asked, "--json").stdout)
    assert report["tz"] == "Asia/Jakarta"
    assert report["total"]["cost_usd_micro"] == 41_500
    rows = list(csv.DictReader(io.StringIO(run(*asked, "--csv").stdout)))
    assert [(row["feature"], int(row["cost_usd_micro"])) for row in rows] == [
        (line["feature"], line["cost_usd_micro"]) for line in report["data"]
    ]


def test_usage_of_a_time_without_any_says_so(run: Run) -> None:
    empty = run("usage", "--from", "2026-01-01", "--to", "2026-01-02", "--by", "day")
    assert (empty.exit_code, "Nothing was used" in empty.stdout) == (0, True)
    as_csv = run("usage", "--from", "2026-01-01", "--to", "2026-01-02", "--by", "day", "--csv")
    assert as_csv.stdout.startswith("day,requests,images")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--by", "moon"), 2, "--by"),
        (("--csv", "--json"), 2, "--csv or --json"),
        (("--tenant", "nobody"), 3, "nobody"),
        (("--from", "soon"), 3, "from"),
        (("--from", "2026-02-01", "--to", "2026-01-01"), 3, "from"),
    ],
)
def test_a_wrong_question_about_usage_is_named(
    run: Run, arguments: tuple[str, ...], code: int, word: str
) -> None:
    result = run("usage", *arguments)
    assert (result.exit_code, word in result.stderr, result.stdout) == (code, True, "")


def test_workers_are_listed_with_the_revision_they_decide_on(run: Run, services: Services) -> None:
    assert "rollout serve" in run("workers", "list").stdout
    worker = Worker(services.database, "here:1", "here", 1, lambda: 2)
    worker.register()
    (listed,) = json.loads(run("workers", "list", "--json").stdout)
    assert (listed["id"], listed["state"], listed["revision"]) == ("here:1", "running", 2)
    worker.stop()


def test_a_token_is_shown_without_its_text(run: Run, services: Services) -> None:
    issued = services.tokens.add(ALICE, NewToken("carol", "viewer"), "reads")
    shown = json.loads(run("tokens", "show", issued.token.id, "--json").stdout)
    assert (shown["name"], "secret" in shown) == ("carol", False)
    assert run("tokens", "show", "tok_none").exit_code == 3


def audited(run: Run, *arguments: str) -> list[Any]:
    return [row["subject"] for row in json.loads(run("audit", "list", *arguments, "--json").stdout)]


def test_the_audit_log_is_searched_by_actor_action_and_time(run: Run) -> None:
    assert audited(run, "--actor", BOB.name) == ["globex"]
    assert audited(run, "--action", "tenant.added") == ["globex", "acme"]
    assert audited(run, "--action", "tenant.added", "--tenant", "acme") == ["acme"]
    assert audited(run, "--to", "2020-01-01") == []
    assert audited(run, "--from", "2020-01-01", "--limit", "1") == ["globex"]
    assert run("audit", "list", "--from", "yesterday").exit_code == 2


def test_the_audit_log_is_a_file_of_csv_or_json(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("audit", "export", "--action", "tenant.added").stdout)))
    assert [(row["subject"], json.loads(row["after"])["name"]) for row in rows] == [
        ("globex", "Globex Media"),
        ("acme", "Acme Studios"),
    ]
    assert [row["reason"] for row in json.loads(run("audit", "export", "--format", "json").stdout)] == [
        "signed on Tuesday",
        "signed on Monday",
    ]


def refusal(number: int, **changed: Any) -> Refusal:
    facts = {"tenant_id": "acme", "at": 1_795_348_800, "method": "POST", "route": "/v1/images/generations"}
    told = {"status": 429, "code": "insufficient_quota", "message": "=Full", "members": {}}
    caller = {"request_id": f"req_{number}", "api_key_id": "key_1", "decision_id": None}
    return Refusal(**{**facts, **told, **caller, **changed})


def test_refused_requests_are_a_file_of_csv_or_json(run: Run, services: Services) -> None:
    services.requests.note(refusal(1))
    services.requests.note(refusal(2, code="content_refused", status=400))
    services.requests.flush()
    rows = list(csv.DictReader(io.StringIO(run("requests", "export").stdout)))
    assert [(row["request_id"], row["message"]) for row in rows] == [("req_2", "'=Full"), ("req_1", "'=Full")]
    asked = ("requests", "export", "--format", "json", "--code", "insufficient_quota", "--tenant", "acme")
    assert [row["request_id"] for row in json.loads(run(*asked).stdout)] == ["req_1"]


def test_a_list_as_long_as_its_limit_says_that_there_may_be_more(run: Run) -> None:
    assert run("tenants", "list").stderr == ""
    cut = run("tenants", "list", "--limit", "2")
    assert (len(cut.stdout.splitlines()), cut.stderr) == (
        3,
        "These are 2, and there may be more: --limit 4\n",
    )
    assert run("tenants", "list", "--limit", "99999999999999999999").exit_code == 2


def test_who_is_in_by_a_plan_is_listed_with_why(run: Run, services: Services) -> None:
    with services.changes.begin(ALICE, "seed") as change:
        services.plans.ensure_plan(change)
    assert "rollout grants add" in run("plans", "members", GENERATION).stdout
    services.grants.add(ALICE, "acme", GENERATION, "pilot")
    assert json.loads(run("plans", "members", GENERATION, "--json").stdout) == [
        {"tenant": "acme", "name": ACME.name, "reason": "granted"}
    ]
    assert run("plans", "members", "image-dreaming").exit_code == 3


def test_tenants_are_found_by_id_name_and_state(run: Run, services: Services) -> None:
    services.tenants.set_state(ALICE, "globex", "suspended", "late payment")
    for wanted in (("--search", "glo"), ("--search", "media"), ("--state", "suspended")):
        assert [row["id"] for row in json.loads(run("tenants", "list", *wanted, "--json").stdout)] == [
            "globex"
        ]
    assert "rollout tenants add" in run("tenants", "list", "--search", "nobody").stdout
