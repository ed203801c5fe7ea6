"""`rollout check`: who answers which feature."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from rollout.cli.main import main
from rollout.db import migrate
from rollout.settings import Settings


@pytest.mark.parametrize(
    ("configured", "said"),
    [
        ({}, "warning  configured: none; nobody answers image-generation, image-analysis"),
        ({"GEMINI_API_KEY": "k"}, "warning  configured: gemini; nobody answers image-analysis"),
        ({"GEMINI_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://x"}, "good     configured: anthropic, gemini"),
        ({"SANDBOX": "auto", "XAI_API_KEY": "k"}, "good     configured: xai; the sandbox answers for the others"),
        ({"SANDBOX": "on", "XAI_API_KEY": "k"}, "good     configured: none; the sandbox answers for the others"),
    ],
)  # fmt: skip
def test_a_feature_that_no_configured_vendor_answers_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: dict[str, str], said: str
) -> None:
    for name, value in {"HOME": str(tmp_path), **configured}.items():
        monkeypatch.setenv(f"ROLLOUT_{name}", value)
    migrate.upgrade(Settings(home=str(tmp_path)).database)
    checked = CliRunner().invoke(main, ["check"])
    assert checked.exit_code == 0, checked.output
    state, _, detail = said.partition("  ")
    last = checked.stdout.splitlines()[-1]
    assert last.split(maxsplit=2) == ["vendors", state, detail.strip()]
