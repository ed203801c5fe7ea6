"""The composition root: what a process does with a strange `admin`, without a database, and with its secret."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from rollout import app, wiring
from rollout.services.health import readiness
from rollout.settings import Settings

ROOT = Path(__file__).parents[1]


def test_a_foreign_package_named_admin_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "admin").mkdir()
    (tmp_path / "admin" / "__init__.py").write_text("")
    environ = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "ROLLOUT_HOME": str(tmp_path)}
    refused = subprocess.run(
        [sys.executable, "-P", "-m", "rollout.cli.main", "check"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: the package `admin` at {tmp_path / 'admin'} is not Phasegate's")
    assert "Traceback" not in refused.stderr


def test_a_worker_that_finds_no_database_waits_for_one(tmp_path: Path) -> None:
    away = Settings(
        home=str(tmp_path), database_url="postgresql+psycopg://nobody@127.0.0.1:1/none", secret_key="s" * 40
    )
    services = wiring.build(away)
    running = app.start(services)
    try:
        now = readiness(services.database, services.state, services.breakers, draining=False)
        assert (now.status, now.takes_requests) == ("starting", False)
        assert app.create_app(services).test_client().get("/healthz").status_code == 200
    finally:
        running.stop()


def test_the_embedded_secret_is_made_once_and_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = wiring.embedded_secret(home)
    assert wiring.embedded_secret(home) == made
    assert len(made) == 64
    assert stat.S_IMODE((home / "secret.key").stat().st_mode) == 0o600
