"""The README's tour, run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from processes import REPOSITORY, Starter, base_environ

TOUR = re.compile(r"```bash\n(.*?)```", re.DOTALL)


def test_the_tour_runs_as_pasted_and_shows_what_it_says(tmp_path: Path, starter: Starter) -> None:
    home = tmp_path / ".rollout"
    program = tmp_path / ".venv" / "bin" / "rollout"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rollout.cli.main "$@"\n')
    program.chmod(0o755)
    starter.demo(home)
    steps = TOUR.findall((REPOSITORY / "README.md").read_text())
    script = "set -e\n" + "\necho '--- step'\n".join(steps)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=base_environ(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    _, picture, access, analysis, quota, rest = done.stdout.split("--- step\n")
    assert "/api/v1/images/img_" in picture
    assert "feature_not_enabled" in access
    assert "waiting" in access
    assert "approved" in access
    assert '"stop_reason":"end_turn"' in analysis.replace(" ", "")
    assert '"cap":5' in quota
    assert "the books are clean" in quota
    assert '"rating":"down"' in rest
    assert "wider_beta" in rest
    assert "feature.killed" in rest
    assert "feature.revived" in rest
