"""`rollout demo` from nothing: what it prints works as pasted, what it writes is private, a second run keeps the keys."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

from processes import REPOSITORY, base_environ, free_port, is_up, rollout, wait_until


def started(home: Path, port: int) -> tuple[subprocess.Popen[bytes], Path]:
    log = home.with_suffix(".log")
    environ = base_environ() | {
        "ROLLOUT_HOME": str(home),
        "ROLLOUT_LISTEN": f"127.0.0.1:{port}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with log.open("wb") as out:
        popen = subprocess.Popen(
            [sys.executable, "-m", "rollout.cli.main", "demo"],
            cwd=REPOSITORY,
            env=environ,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    wait_until(
        lambda: popen.poll() is not None or ("Ctrl-C" in log.read_text() and is_up(url_of(home) + "/healthz")),
        "the demo to print its commands and to answer", log,
    )  # fmt: skip
    return popen, log


def url_of(home: Path) -> str:
    return str(json.loads((home / "demo.json").read_text())["url"])


def test_every_printed_command_works_as_pasted_and_a_second_run_keeps_the_keys(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    popen, log = started(home, port)
    try:
        text = log.read_text()
        file = home / "demo.json"
        demo = json.loads(file.read_text())
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert set(demo["tenants"]) >= {"acme", "globex", "initech", "umbrella"}
        assert {"id", "name", "key", "test_key"} <= set(demo["tenants"]["acme"])
        assert demo["url"] in text
        commands = re.findall(r"^  \$ (.+(?:\\\n.+)*)", text, re.MULTILINE)
        assert len(commands) >= 4
        for command in commands:
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
            assert "internal_error" not in done.stdout
    finally:
        popen.send_signal(signal.SIGINT)
        assert popen.wait(20) == 0
    again, _ = started(home, port)
    again.send_signal(signal.SIGTERM)
    assert again.wait(20) == 0
    assert json.loads(file.read_text())["tenants"] == demo["tenants"]


def test_a_port_in_use_makes_the_demo_take_the_next_and_serve_refuse(tmp_path: Path) -> None:
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
        popen, _ = started(tmp_path / "home", port)
        try:
            url = url_of(tmp_path / "home")
            assert url.startswith("http://127.0.0.1:")
            assert not url.endswith(f":{port}")
        finally:
            popen.terminate()
            popen.wait(20)
