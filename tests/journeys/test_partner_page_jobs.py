"""The part of the partners' page on jobs, run as it stands against the demo."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from processes import REPOSITORY, Starter, base_environ, call

PAGE = (REPOSITORY / "docs" / "partner.md").read_text(encoding="utf-8")
JOBS = PAGE[PAGE.index("\n## Jobs\n") : PAGE.index("\n## Claude in the loop\n")]
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_what_a_partner_pastes_orders_follows_fetches_and_cancels(tmp_path: Path, starter: Starter) -> None:
    running = starter.demo(tmp_path / ".rollout")
    demo = json.loads((tmp_path / ".rollout" / "demo.json").read_text())
    done = subprocess.run(
        ["bash", "-c", "\necho; echo '--- next'\n".join(["set -e", *BLOCK.findall(JOBS)])],
        cwd=tmp_path,
        env=base_environ() | {"URL": running.url, "KEY": demo["tenants"]["acme"]["key"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, ordered, fetched, cancelled = done.stdout.split("--- next\n")
    assert json.loads(ordered)["status"] == "queued"
    assert '"status":"cancelled"' in cancelled

    names = re.findall(r"^event: (\S+)$", fetched, re.MULTILINE)
    assert names[0] == "generation.progress"
    assert names[-1] == "generation.succeeded"
    (picture,) = json.loads(re.findall(r"^data: (.+)$", fetched, re.MULTILINE)[-1])["images"]
    status, headers, data = call("GET", picture["url"])
    assert (status, headers["content-type"], data[:4]) == (200, "image/png", b"\x89PNG")
    shown, listed = re.findall(r"^\{.+\}", fetched, re.MULTILINE)[-1].replace("}{", "}\n{").splitlines()
    assert json.loads(shown)["status"] == "succeeded"
    assert json.loads(shown)["id"] in [one["id"] for one in json.loads(listed)["data"]]
