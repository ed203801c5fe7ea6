"""`rollout feedback`: list, show, set."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from uses import add_generation

from rollout.cli.main import main
from rollout.core.audit import Actor
from rollout.core.feedback import Opinion
from rollout.core.tenants import Tenant
from rollout.db import migrate
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv("ROLLOUT_HOME", str(tmp_path))
    settings = Settings.from_env({"ROLLOUT_HOME": str(tmp_path)})
    migrate.upgrade(settings.database)
    built = build(settings)
    built.tenants.add(Actor("test"), Tenant("acme", "Acme"), "seed")
    add_generation(built.database)
    yield built
    built.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["feedback", *arguments])


def printed(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_feedback_is_listed_shown_and_triaged(services: Services) -> None:
    item, _ = services.feedback.submit("acme", "gen_1", "ana", Opinion("down", ("blurry",)))
    assert [one["id"] for one in printed("list", "--tenant", "acme", "--rating", "down")] == [item.id]
    assert printed("list", "--state", "spam") == []
    assert printed("show", item.id)["reasons"] == ["blurry"]
    assert (
        printed("set", item.id, "--state", "resolved", "--reason", "told", "--dry-run")["state"] == "resolved"
    )
    assert services.feedback.get(item.id).state == "open"
    assert printed("set", item.id, "--state", "resolved", "--reason", "told")["state"] == "resolved"
    assert services.feedback.get(item.id).state == "resolved"


def test_an_empty_list_says_where_feedback_comes_from(services: Services) -> None:
    result = run("list")
    assert (result.exit_code, "POST /api/v1/feedback" in result.stdout) == (0, True)


def test_a_refusal_ends_with_3_and_a_usage_error_with_2(services: Services) -> None:
    unknown = run("show", "fb_x")
    assert (unknown.exit_code, "There is no feedback 'fb_x'." in unknown.stderr) == (3, True)
    assert run("set", "fb_x", "--state", "gone", "--reason", "why").exit_code == 2
    assert run("set", "fb_x", "--state", "spam").exit_code == 2


def test_everything_is_exported_to_stdout(services: Services) -> None:
    item, _ = services.feedback.submit("acme", "gen_1", "ana", Opinion("down", ("blurry",), "@all, look"))
    services.feedback.submit("acme", "gen_1", "bob", Opinion("up"))
    rows = list(csv.DictReader(run("export", "--rating", "down").stdout.splitlines()))
    assert [(row["id"], row["reasons"], row["comment"]) for row in rows] == [
        (item.id, "blurry", "'@all, look")
    ]
    exported = json.loads(run("export", "--format", "json", "--vendor", "openai").stdout)
    assert [one["end_user"] for one in exported] == ["bob", "ana"]
    assert json.loads(run("export", "--format", "json", "--tenant", "globex").stdout) == []


def test_ratings_are_counted(services: Services) -> None:
    services.feedback.submit("acme", "gen_1", "ana", Opinion("down"))
    services.feedback.submit("acme", "gen_1", "bob", Opinion("up"))
    counted = printed("figures", "--by", "tenant", "--by", "model")
    half = {"up": 1, "down": 1, "bad_share": 0.5}
    assert counted["data"] == [{"tenant": "acme", "model": "gpt-image-2", **half}]
    assert counted["total"] == half
    table = run("figures")
    assert [line.split() for line in table.stdout.splitlines()] == [
        ["PHASE", "VENDOR", "UP", "DOWN", "BAD_SHARE"],
        ["private_beta", "openai", "1", "1", "0.5"],
    ]
    assert run("figures", "--tenant", "nobody").exit_code == 3
    assert run("figures", "--from", "soon").exit_code == 3
    assert "Nobody rated" in run("figures", "--from", "2026-01-01", "--to", "2026-01-02").stdout
