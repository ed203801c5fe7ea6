"""`rollout catalogue`: vendors are shown, switched off, and on again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sandboxes import seed

from rollout.cli.main import main
from rollout.db import migrate
from rollout.settings import Settings

Run = Callable[..., Result]
SHOW = ("catalogue", "vendors", "openai", "--json")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ROLLOUT_HOME", str(tmp_path))
    migrate.upgrade(Settings.from_env({"ROLLOUT_HOME": str(tmp_path)}).database)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_a_vendor_is_switched_off_and_on(run: Run) -> None:
    assert json.loads(run(*SHOW).stdout)["enabled"] is True
    tried = run("catalogue", "disable", "openai", "--reason", "drill", "--dry-run")
    assert "openai switched off" in tried.stderr
    assert json.loads(run(*SHOW).stdout)["enabled"] is True
    off = run("catalogue", "disable", "openai", "--in-flight", "withhold", "--reason", "wrong pictures")
    assert off.stderr == "openai switched off: 0 of 0 workers, 0 holds void, 0 running\n"
    shown = json.loads(run(*SHOW).stdout)
    assert (shown["enabled"], shown["kill"]["in_flight"]) == (False, "withhold")
    assert "gpt-image-2.5-flare" in shown["models"]
    listed = json.loads(run("catalogue", "vendors", "--json").stdout)
    assert {one["vendor"] for one in listed if not one["enabled"]} == {"openai"}
    assert [one["vendor"] for one in listed] == list(seed().vendors)
    run("catalogue", "enable", "openai", "--reason", "mended")
    assert json.loads(run(*SHOW).stdout)["enabled"] is True


def test_what_is_no_vendor_is_refused(run: Run) -> None:
    refused = run("catalogue", "disable", "acme", "--reason", "drill")
    assert refused.exit_code == 3
    assert (
        f"There is no vendor 'acme' in the catalogue; there are {', '.join(seed().vendors)}."
        in refused.stderr
    )
