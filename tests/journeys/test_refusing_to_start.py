"""What keeps the service from starting is told in sentences, all at once, with the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from processes import SECRET, rollout


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    wrong = {
        "ROLLOUT_HOME": str(tmp_path),
        "ROLLOUT_WORKERS": "4",
        "ROLLOUT_LISTEN": "nowhere",
        "ROLLOUT_SANDBOX": "maybe",
    }
    refused = rollout("serve", environ=wrong)
    assert refused.returncode == 1
    for variable in ("ROLLOUT_WORKERS", "ROLLOUT_LISTEN", "ROLLOUT_SANDBOX"):
        assert f"error: {variable}" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.postgres
def test_a_schema_that_is_behind_names_the_command_that_mends_it(
    tmp_path: Path, new_database: Callable[..., str]
) -> None:
    environ = {
        "ROLLOUT_HOME": str(tmp_path),
        "ROLLOUT_DATABASE_URL": new_database("postgresql", migrated=False),
        "ROLLOUT_SECRET_KEY": SECRET,
    }
    refused = rollout("serve", environ=environ)
    assert (refused.returncode, "rollout migrate" in refused.stderr) == (1, True)
    assert "wrong" in rollout("check", environ=environ).stdout
    assert rollout("migrate", environ=environ).returncode == 0
    checked = rollout("check", environ=environ)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("command", [["serve"], ["migrate"], ["tenants", "list"]], ids=" ".join)
def test_a_database_that_is_away_is_one_sentence(tmp_path: Path, command: list[str]) -> None:
    away = {
        "ROLLOUT_HOME": str(tmp_path),
        "ROLLOUT_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none",
        "ROLLOUT_SECRET_KEY": SECRET,
    }
    refused = rollout(*command, environ=away)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr
