"""`rollout webhooks` and `rollout jobs`: what they print and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout.cli.main import main
from rollout.core.audit import Actor
from rollout.core.jobs import JobFailed
from rollout.core.tenants import Tenant
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

Run = Callable[..., Result]
WHY = ("--reason", "because")
URL = "https://example.com/hook"


@pytest.fixture
def environ(new_database: Callable[..., str], tmp_path: Path) -> dict[str, str]:
    """Settings for a command."""
    return {
        "ROLLOUT_HOME": str(tmp_path),
        "ROLLOUT_DATABASE_URL": new_database("sqlite"),
        "ROLLOUT_SECRET_KEY": "a secret key of 32 characters or more",
    }


@pytest.fixture
def services(environ: dict[str, str]) -> Iterator[Services]:
    wired = build(Settings.from_env(environ))
    wired.tenants.add(Actor("system:seed"), Tenant("acme", "Acme"), "seed")
    yield wired
    wired.close()


@pytest.fixture
def run(environ: dict[str, str], services: Services) -> Run:
    return lambda *arguments: CliRunner().invoke(main, arguments, env=environ)


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_webhook_from_its_first_to_its_last_day(run: Run, services: Services) -> None:
    added = answer(
        run("webhooks", "add", URL, "--tenant", "acme", "--event", "quota.threshold", *WHY, "--json")
    )
    hook = added["id"]
    assert added["secret"].startswith("whsec_")
    assert "secret" not in answer(run("webhooks", "show", hook, "--json"))
    assert answer(run("webhooks", "set", hook, "--event", "webhook.test", *WHY, "--json"))["types"] == [
        "webhook.test"
    ]
    assert answer(run("webhooks", "rotate", hook, *WHY, "--json"))["secret"] != added["secret"]
    sent = answer(run("webhooks", "test", hook, *WHY, "--json"))
    (job,) = services.jobs.claim({"webhook"}, 1)
    services.jobs.fail(job, JobFailed("the receiver answered 500"))
    (listed,) = answer(run("webhooks", "deliveries", hook, "--json"))
    assert (listed["id"], listed["state"]) == (sent["id"], "dead")
    assert answer(run("webhooks", "resend", hook, sent["id"], *WHY, "--json"))["state"] == "ready"
    assert answer(run("webhooks", "remove", hook, *WHY, "--json"))["id"] == hook
    assert "No webhook yet" in run("webhooks", "list").stdout


def test_the_operators_own_are_listed_apart(run: Run) -> None:
    own = answer(run("webhooks", "add", URL, *WHY, "--json"))["id"]
    answer(run("webhooks", "add", URL, "--tenant", "acme", *WHY, "--json"))
    assert [hook["id"] for hook in answer(run("webhooks", "list", "--own", "--json"))] == [own]
    assert len(answer(run("webhooks", "list", "--json"))) == 2


def test_a_dead_job_is_listed_and_replayed(run: Run, services: Services) -> None:
    hook = answer(run("webhooks", "add", URL, *WHY, "--json"))["id"]
    job_id = answer(run("webhooks", "test", hook, *WHY, "--json"))["id"]
    assert run("jobs", "replay", job_id, *WHY).exit_code == 3
    (job,) = services.jobs.claim({"webhook"}, 1)
    services.jobs.fail(job, JobFailed("no answer in time"))
    assert "no answer in time" in run("jobs", "list", "--state", "dead").stdout
    assert answer(run("jobs", "show", job_id, "--json"))["state"] == "dead"
    assert answer(run("jobs", "replay", job_id, *WHY, "--dry-run", "--json"))["state"] == "ready"
    assert services.jobs.get(job_id).state == "dead"
    assert answer(run("jobs", "replay", job_id, *WHY, "--json"))["state"] == "ready"
    assert "nothing died" in run("jobs", "list", "--state", "dead").stdout


def test_a_refusal_names_what_is_wrong(run: Run) -> None:
    refused = run("webhooks", "add", "nowhere", *WHY)
    assert refused.exit_code == 3
    assert "(url)" in refused.stderr
    assert "There is no job 'job_nobody'" in run("jobs", "show", "job_nobody").stderr
