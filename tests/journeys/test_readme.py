"""The README's tour, run as it stands: every block that a reader pastes, in order, and what each of them promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import REPOSITORY, Starter, base_environ, call

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STEP = re.compile(r"^\*\*\d+\. (.+?)\*\*", re.MULTILINE)

PROMISED: dict[str, tuple[str, ...]] = {
    "A partner outside the beta is refused, told why, and asks.": ('"code":"feature_not_enabled"',),
    "You let it in.": ("magazine covers", "image-generation granted to globex"),
    "It generates a picture.": ("/api/v1/images/img_",),
    "The person who sees it says what they think.": ("/f/", '"rating":"down"', '"tenant":"globex"'),
    "You look into it.": ("wrong-text", "resolved"),
    "You open the beta wider.": (
        "tenants gain access",
        "image-generation in wider_beta",
    ),
    "You stop it everywhere, and analysis goes on.": (
        "1 of 1 workers",
        '"code":"feature_killed"',
        '"stop_reason":"end_turn"',
        "image-generation revived for everyone",
    ),
    "You change a quota, and read what happened.": (
        "meter image-day of initech changed",
        "feature_not_enabled",
        "feature.revived",
        "feature.killed",
        "plan.advanced",
        "the books are clean",
    ),
    "Whoever speaks Unleash or OpenFeature asks, too.": (
        '"key":"image-generation","value":true',
        '"name":"image-generation"',
    ),
}


@pytest.mark.timeout(300)  # a score of commands, each a process, beside other tests
def test_the_tour_runs_as_pasted_and_every_step_shows_what_it_promises(
    tmp_path: Path, starter: Starter
) -> None:
    program = tmp_path / ".venv" / "bin" / "rollout"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rollout.cli.main "$@"\n')
    program.chmod(0o755)
    running = starter.demo(tmp_path / ".rollout")
    assert running.output().lstrip().startswith("Console "), "the way in is what is said first"

    assert STEP.findall(README) == list(PROMISED)
    preparation, *steps = BLOCK.findall(README)
    assert len(steps) == len(PROMISED)
    done = subprocess.run(
        ["bash", "-c", "\necho '--- step'\n".join(["set -e; exec 2>&1", preparation, *steps])],
        cwd=tmp_path,
        env=base_environ(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    shown = done.stdout.split("--- step\n")[2:]
    for (step, promises), output in zip(PROMISED.items(), shown, strict=True):
        for promise in promises:
            assert promise in output.replace('": ', '":'), (step, promise, output)
    page = re.search(rf"{running.url}/f/\S+", done.stdout)
    assert page, done.stdout
    status, _, html = call("GET", page[0])
    assert (status, b"received your rating" in html) == (200, True)


def test_what_the_readme_points_to_is_there() -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)", README) if "://" not in target]
    assert targets
    for target in targets:
        assert (REPOSITORY / target).exists(), target
