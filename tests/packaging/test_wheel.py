"""The wheel carries all it needs, and works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_every_file_of_both_packages_and_the_migrations(wheel: Path) -> None:
    carried = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {*files("rollout"), *files("admin")}
    expected |= {name.replace("alembic", "rollout/_alembic", 1) for name in files("alembic")}
    assert carried == expected


def test_the_wheel_carries_its_licence(wheel: Path) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_the_installed_wheel_migrates_a_database_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Its own packages come from the wheel alone; what it depends on is lent by this environment."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    bin_folder, home = tmp_path / "venv/bin", tmp_path / "home"
    install = [bin_folder / "python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel]
    subprocess.run(install, capture_output=True, check=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "ROLLOUT_HOME": str(home),
    }

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = run(bin_folder / "python", "-c", "import rollout, admin; print(rollout.__file__, admin.__file__)")
    assert all(str(tmp_path / "venv") in place for place in where.split())
    run(bin_folder / "rollout", "migrate")
    ask = "import sys; from rollout.db import migrate; print(migrate.current(sys.argv[1]) == migrate.head())"
    assert run(bin_folder / "python", "-c", ask, f"sqlite:///{home / 'rollout.db'}") == "True\n"


def files(folder: str) -> set[str]:
    found = (
        path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {path.relative_to(ROOT).as_posix() for path in found}
