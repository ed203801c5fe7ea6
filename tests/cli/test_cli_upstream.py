"""`rollout flags upstream` and `rollout flags push`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout.cli.main import main
from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION
from rollout.settings import Settings
from rollout.wiring import build

pytestmark = pytest.mark.usefixtures("logs_go_nowhere")

UNLEASH = {
    "ROLLOUT_FLAGS": "unleash",
    "ROLLOUT_UNLEASH_URL": "http://unleash.test/api",
    "ROLLOUT_UNLEASH_TOKEN": "*:production.hidden",
    "ROLLOUT_UNLEASH_ADMIN_TOKEN": "*:*.hidden",
}


@pytest.fixture
def rollout(new_database: Callable[..., str], tmp_path: Path) -> Callable[..., Result]:
    environ = {
        "ROLLOUT_HOME": str(tmp_path),
        "ROLLOUT_DATABASE_URL": new_database("sqlite"),
        "ROLLOUT_SECRET_KEY": "s" * 40,
    }
    services = build(Settings.from_env(environ))
    with services.changes.begin(Actor("system:seed"), "seed") as change:
        services.plans.ensure_plan(change)
    services.close()

    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(main, arguments, env=environ | more)

    return run


def test_without_a_server_our_own_flags_decide(rollout: Callable[..., Result]) -> None:
    assert rollout("flags", "upstream").stdout.split() == ["mode", "embedded"]
    refused = rollout("flags", "push", GENERATION, "--reason", "try")
    assert refused.exit_code == 3
    assert "no Unleash server" in refused.stderr


def test_a_push_is_left_for_the_background_jobs_and_shown_as_waiting(
    rollout: Callable[..., Result],
) -> None:
    tried = rollout("flags", "push", GENERATION, "--reason", "try", "--dry-run", **UNLEASH)
    assert tried.exit_code == 0, tried.output
    shown = json.loads(rollout("flags", "upstream", "--json", **UNLEASH).stdout)
    assert (shown["mode"], shown["feed"]["fresh"], shown["pushes"]) == ("unleash", False, [])
    done = rollout("flags", "push", GENERATION, "--reason", "a new server", **UNLEASH)
    assert "is written to Unleash by the background jobs" in done.stderr
    text = rollout("flags", "upstream", **UNLEASH).stdout
    assert "waiting" in text
    assert "hidden" not in text
