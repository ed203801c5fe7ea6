"""`rollout flag-tokens`, `flag-clients`, `flag-metrics`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout.cli.main import main
from rollout.core.audit import Actor
from rollout.core.flag_metrics import Count, FlagClient
from rollout.core.tenants import Tenant
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

WHY = ("--reason", "because")
ADD = ("flag-tokens", "add", "--name", "site", "--type", "frontend")


@pytest.fixture
def environ(new_database: Callable[..., str], tmp_path: Path) -> dict[str, str]:
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
def run(services: Services, environ: dict[str, str]) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, arguments, env=environ)


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_token_is_printed_once_listed_and_revoked(services: Services, run: Callable[..., Result]) -> None:
    made = told(run(*ADD, "--tenant", "acme", "--project", "shop", "--json", *WHY))
    services.state.refresh()
    assert services.flag_tokens.identify(made["secret"], "frontend").id == made["id"]
    listed = run("flag-tokens", "list", "--tenant", "acme", "--json")
    assert [row["prefix"] for row in told(listed)] == [made["prefix"]]
    assert made["secret"] not in listed.stdout
    assert made["prefix"] in run("flag-tokens", "list").stdout
    revoked = told(run("flag-tokens", "revoke", made["id"], "--json", *WHY))
    assert revoked["revoked_at"]
    assert told(run("flag-tokens", "show", made["id"], "--json")) == revoked


def test_a_dry_run_and_a_refusal_make_nothing(services: Services, run: Callable[..., Result]) -> None:
    assert told(run(*ADD, "--dry-run", "--json", *WHY))["secret"] is None
    for wrong in (("--tenant", "nobody"), ("--project", "a/b"), ("--environment", "a.b")):
        refused = run(*ADD, *wrong, *WHY)
        assert refused.exit_code == 3, refused.output
        assert "error: " in refused.stderr
    assert services.flag_tokens.page(after=None, limit=9) == []
    assert "rollout flag-tokens add" in run("flag-tokens", "list").stdout


def test_who_asks_and_what_they_counted_is_listed(services: Services, run: Callable[..., Result]) -> None:
    assert "rollout flag-tokens add" in run("flag-clients", "list").stdout
    assert (
        "Nobody asked for cart in production within 24 hours." in run("flag-metrics", "list", "cart").stdout
    )
    now = int(time.time())
    services.flag_metrics.register(FlagClient("production", "web", "i1", "x:1", (), 1, now, now))
    services.flag_metrics.count("production", "web", [Count("cart", now, 2, 1, {"blue": 2})])
    services.flag_metrics.flush()
    (client,) = told(run("flag-clients", "list", "--environment", "production", "--json"))
    assert (client["app_name"], client["sdk"]) == ("web", "x:1")
    (row,) = told(run("flag-metrics", "list", "cart", "--json"))
    assert (row["app_name"], row["yes"], row["no"], row["variants"]) == ("web", 2, 1, {"blue": 2})
