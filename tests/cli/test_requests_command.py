"""`rollout requests`: list, summary, show."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout.cli.main import main
from rollout.core.refusals import Refusal
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
    yield built
    built.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["requests", *arguments])


def printed(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(services: Services, request_id: str, tenant: str = "acme") -> None:
    services.requests.note(
        Refusal(
            tenant_id=tenant,
            request_id=request_id,
            at=int(time.time()),
            method="POST",
            route="/v1/images/generations",
            status=429,
            code="insufficient_quota",
            message="image-day is full",
            members={"remedy": "Ask the operator."},
            api_key_id="key_1",
            decision_id=None,
        )
    )
    services.requests.flush()


def test_refused_requests_are_listed_counted_and_told(services: Services) -> None:
    refused(services, "req_1")
    refused(services, "req_2", "globex")
    assert [row["request_id"] for row in printed("list", "--tenant", "acme")] == ["req_1"]
    assert printed("list", "--code", "conflict") == []
    (group,) = printed("summary")["data"]
    assert (group["code"], group["count"]) == ("insufficient_quota", 2)
    assert [event["kind"] for event in printed("show", "req_1")["events"]] == ["called", "refused"]


def test_people_read_tables_and_a_time_line(services: Services) -> None:
    assert "No refused request" in run("list").stdout
    assert "No request was refused since" in run("summary").stdout
    refused(services, "req_1")
    assert "image-day is full" in run("list").stdout
    assert "insufficient_quota" in run("summary").stdout
    told = run("show", "req_1").stdout
    assert told.index("called") < told.rindex("refused") < told.index("Ask the operator.")


def test_an_id_without_a_story_is_refused_with_a_remedy(services: Services) -> None:
    result = run("show", "dec_1")
    assert result.exit_code == 3
    assert "hold_" in result.stderr
