"""`rollout demo` from nothing: what it prints works as pasted, what it writes is private, a second run keeps the keys."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path

from processes import REPOSITORY, Starter, base_environ, rollout

COMMAND = re.compile(r"^  \$ (.+)$", re.MULTILINE)


def test_every_printed_command_works_as_pasted_and_a_second_run_keeps_the_keys(
    tmp_path: Path, starter: Starter
) -> None:
    running = starter.demo(tmp_path / "home")
    file = tmp_path / "home" / "demo.json"
    demo = json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(demo["tenants"]) >= {"acme", "globex", "initech", "umbrella"}
    assert {"id", "name", "key", "test_key"} <= set(demo["tenants"]["acme"])
    assert demo["url"] in running.output()

    commands = COMMAND.findall(running.output())
    answers = [pasted(command) for command in commands]
    for expected, answer in zip(
        (
            "/api/v1/images/img_",
            "end_turn",
            "feature_not_enabled",
            "waiting",
            "globex",
            "active",
            "image-day",
            "clean",
        ),
        answers,
        strict=True,
    ):
        assert expected in answer, answers
    assert "/api/v1/images/img_" in pasted(commands[2]), "globex was let in and still cannot generate"

    assert running.stop(signal.SIGINT) == 0
    again = starter.demo(tmp_path / "home")
    assert again.stop(signal.SIGTERM) == 0
    assert json.loads(file.read_text())["tenants"] == demo["tenants"]


def pasted(command: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=REPOSITORY,
        env=base_environ(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_a_port_in_use_makes_the_demo_take_the_next_and_serve_refuse(
    tmp_path: Path, starter: Starter
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = rollout(
            "serve", environ={"ROLLOUT_HOME": str(tmp_path / "serve"), "ROLLOUT_LISTEN": f"127.0.0.1:{port}"}
        )
        assert refused.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr
        assert "Traceback" not in refused.stderr
        running = starter.demo(tmp_path / "home", port)
        assert not running.url.endswith(f":{port}")
