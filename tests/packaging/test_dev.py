"""`dev.py` as its user sees it, in a copy of the checkout whose tools are stand-ins."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("ruff", "lint-imports", "mypy", "pytest", "coverage")
LOCKS = ("requirements.txt", "requirements-dev.txt")
NODE_FILES = ("requirements-node.txt", "package.json", "package-lock.json", ".npmrc")
OLD_SDKS_LOCK = "requirements-old-sdks.txt"
REPORT = '<testsuites><testsuite tests="5" failures="{failures}" errors="0" skipped="1"/></testsuites>'
REPORTING = f"for word; do case $word in --junit-xml=*) echo '{REPORT}' > \"${{{{word#*=}}}}\";; esac; done"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """dev.py with locks and a .venv that vouches for them, holding one stand-in for each tool."""
    for name in ("dev.py", "pyproject.toml", *LOCKS, *NODE_FILES, OLD_SDKS_LOCK):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("tools", "old-sdks"):
        (tmp_path / ".cache" / folder).mkdir(parents=True)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    names = runpy.run_path(str(tmp_path / "dev.py"))
    for lock in LOCKS:
        names["stamp"](lock).touch()
    names["tools_stamp"]().touch()
    names["old_sdks_stamp"]().touch()
    for name in TOOLS:
        tool(tmp_path, name, "exit 0")
    tool(tmp_path, "pytest", REPORTING.format(failures=0))
    return tmp_path


def tool(checkout: Path, name: str, body: str) -> None:
    file = checkout / ".venv/bin" / name
    file.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >> calls\n{body}\n')
    file.chmod(0o755)


def dev(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, checkout / "dev.py", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def calls(checkout: Path) -> list[str]:
    return (checkout / "calls").read_text().splitlines()


def test_all_checks_run_and_the_last_line_counts(checkout: Path) -> None:
    done = dev(checkout, "test")
    last = done.stdout.splitlines()[-1]
    assert last == "14 passed, 0 failed, 2 skipped"  # 4 tests twice, 4 checks, 2 coverage floors
    assert done.returncode == 0
    assert [call.split()[0] for call in calls(checkout)] == [
        *("ruff", "ruff", "lint-imports", "mypy"),
        *["pytest"] * 2,
        *["coverage"] * 2,
    ]


def test_a_failing_check_fails_the_run_and_the_rest_still_runs(checkout: Path) -> None:
    tool(checkout, "mypy", "exit 1")
    done = dev(checkout, "test")
    assert done.stdout.splitlines()[-2:] == ["Failed: types of the checks.", "13 passed, 1 failed, 2 skipped"]
    assert done.returncode == 1


def test_failing_tests_are_counted_one_by_one(checkout: Path) -> None:
    tool(checkout, "pytest", f"{REPORTING.format(failures=2)}; exit 1")
    done = dev(checkout, "test", "--fast")
    assert done.stdout.splitlines()[-1] == "6 passed, 2 failed, 1 skipped"
    assert done.returncode == 1


def test_tests_that_die_without_a_report_are_a_failure(checkout: Path) -> None:
    tool(checkout, "pytest", "exit 3")
    done = dev(checkout, "test", "--fast")
    assert done.stdout.splitlines()[-1] == "4 passed, 1 failed, 0 skipped"
    assert done.returncode == 1


def test_fast_leaves_out_postgresql_node_browser_and_coverage(checkout: Path) -> None:
    shutil.rmtree(checkout / ".cache/tools")
    dev(checkout, "test", "--fast", "-k", "holds and not slow")
    assert calls(checkout)[-1].endswith("-m not (postgres or node or browser) -k holds and not slow")
    assert not any("cov" in call for call in calls(checkout))
    assert not (checkout / ".cache/tools").exists()


def test_nodes_packages_are_fetched_once_and_a_chromium_only_where_there_is_none(checkout: Path) -> None:
    shutil.rmtree(checkout / ".cache/tools")
    (checkout / "machine").mkdir()
    tool(checkout, "../../machine/node", "echo v24.1.0")
    tool(checkout, "../../machine/npm", "exit 0")
    tool(checkout, "../../machine/chromium", "exit 0")
    path = f"{checkout / 'machine'}:{os.environ['PATH']}"
    for _ in range(2):
        assert dev(checkout, "test", PATH=path).returncode == 0
    assert [call for call in calls(checkout) if call.startswith("npm")] == [
        f"npm ci --prefix={checkout / '.cache/tools'} --omit=optional"
    ]


def test_the_sdks_of_former_generations_are_fetched_once_into_a_folder_of_their_own(checkout: Path) -> None:
    shutil.rmtree(checkout / ".cache/old-sdks")
    (checkout / "machine").mkdir()
    tool(checkout, "../../machine/uv", 'mkdir -p "$PWD/.cache/old-sdks"')
    for _ in range(2):
        assert dev(checkout, "test", PATH=f"{checkout / 'machine'}:{os.environ['PATH']}").returncode == 0
    (fetched,) = [call for call in calls(checkout) if call.startswith("uv")]
    assert f"--target={checkout / '.cache/old-sdks'}" in fetched
    assert fetched.endswith(f"-r {OLD_SDKS_LOCK}")


def test_without_a_network_the_tests_run_and_decide_what_is_missing(checkout: Path) -> None:
    shutil.rmtree(checkout / ".cache/tools")
    (checkout / "machine").mkdir()
    tool(checkout, "../../machine/node", "echo v18.1.0")
    tool(checkout, "../../machine/npm", "exit 1")
    tool(checkout, "../../machine/uv", "exit 1")
    done = dev(checkout, "test", PATH=f"{checkout / 'machine'}:/usr/bin:/bin")
    assert "could not be fetched" in done.stderr
    assert any(call.startswith("uv pip install") and "requirements-node" in call for call in calls(checkout))
    assert any(call.startswith("pytest") for call in calls(checkout))
    assert not list((checkout / ".cache/tools").glob("*.stamp"))


def test_run_starts_the_demo_in_its_own_place_with_the_arguments_given(checkout: Path) -> None:
    tool(checkout, "rollout", "exit 7")
    assert dev(checkout, "run", "--listen", "127.0.0.1:0").returncode == 7
    assert calls(checkout) == ["rollout demo --listen 127.0.0.1:0"]


def test_screenshots_go_into_the_folder_named(checkout: Path) -> None:
    done = dev(checkout, "screenshots", "shots")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "The pictures are in shots."
    assert calls(checkout)[-1].endswith("tests/browser/screenshots.py --screenshots=shots")


def _hear_ctrl_c() -> None:
    """Whatever a shell starts behind itself would ignore it, and so would these tests' own children then."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ending_it_ends_every_child(checkout: Path, sent: signal.Signals) -> None:
    """Also one that ignores Ctrl-C, as what a shell starts behind does; it holds a pipe while it lives."""
    os.mkfifo(checkout / "alive")
    tool(checkout, "ruff", "(echo started; exec sleep 1000) > alive & wait")
    with (
        subprocess.Popen(
            [sys.executable, checkout / "dev.py", "test"],
            stdout=subprocess.DEVNULL,
            preexec_fn=_hear_ctrl_c,
        ) as running,
        (checkout / "alive").open() as alive,
    ):
        assert alive.readline() == "started\n"
        running.send_signal(sent)
        assert alive.read() == ""
    assert running.returncode == 130


def test_a_lock_that_cannot_be_installed_is_not_vouched_for(checkout: Path) -> None:
    with (checkout / "requirements.txt").open("a") as lock:
        lock.write("no-such-package==1.0 --hash=sha256:00\n")
    (checkout / "tools").mkdir()
    tool(checkout, "../../tools/uv", "exit 1")
    done = dev(checkout, "run", PATH=f"{checkout / 'tools'}:{os.environ['PATH']}", PIP_NO_INDEX="1")
    assert calls(checkout)[0].startswith("uv pip install")
    assert "Is there a network?" in done.stderr
    assert done.returncode == 1
    assert not list((checkout / ".venv").glob("*.stamp"))
