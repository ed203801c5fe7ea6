"""Real processes, real sockets: the service and the sandbox vendor as an operator starts them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from rollout.cli import demonstration
from rollout.db import migrate
from rollout.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[1]
SECRET = "a secret for tests, forty characters long"
START_SECONDS = 60


def give_up(why: str) -> NoReturn:
    """Skip, loudly, what this machine lacks a program for; CI must have them all."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@dataclass
class Process:
    """A child process that listens on `url`; its output is in `log`."""

    popen: subprocess.Popen[bytes]
    url: str
    log: Path

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        return self.popen.wait(20)

    def output(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class Service(Process):
    """A running service with the demo's tenants: `keys["acme"]`, `token`."""

    demo: dict[str, Any]
    environ: dict[str, str]

    def key(self, tenant: str) -> str:
        return str(self.demo["tenants"][tenant]["key"])

    @property
    def token(self) -> str:
        return str(self.demo["admin"]["token"])

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON) of a call to this service; without `key` it is the admin's."""
        return call(method, self.url + path, body, key=key or self.token, headers=headers)

    def admin(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        status, _, answer = self.call(method, f"/admin/api/v1{path}", body, headers=headers)
        assert status < 300, answer
        return answer

    def rollout(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line on this service's database."""
        return rollout(*arguments, environ=self.environ)


def call(
    method: str, url: str, body: Any = None, *, key: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {
        "content-type": "application/json",
        **({"authorization": f"Bearer {key}"} if key else {}),
        **(headers or {}),
    }
    request = urllib.request.Request(url, data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, _decoded(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, _decoded(error.read())


def clear_journal(vendor: Process) -> None:
    call("DELETE", f"{vendor.url}/sandbox/journal")


def upstream_calls(vendor: Process) -> int:
    """Those that may cost something: a service also looks at its vendors' lists of models."""
    arrived = call("GET", f"{vendor.url}/sandbox/journal")[2]["data"]
    return sum(row["method"] == "POST" for row in arrived)


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


def rollout(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rollout.cli.main", *arguments],
        cwd=REPOSITORY, env=base_environ() | environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def base_environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROLLOUT_")}
    return kept | {"PYTHONPATH": str(REPOSITORY)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spawn(
    folder: Path, arguments: list[str], environ: dict[str, str], url: str, ready: str
) -> tuple[subprocess.Popen[bytes], Path]:
    """Start `rollout ARGUMENTS` and wait until `url + ready` answers 200."""
    log = folder / f"{arguments[0]}-{url.rpartition(':')[2]}.log"
    with log.open("wb") as out:
        popen = subprocess.Popen(
            [sys.executable, "-m", "rollout.cli.main", *arguments],
            cwd=REPOSITORY, env=base_environ() | environ, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    wait_until(lambda: popen.poll() is not None or is_up(url + ready), f"{arguments} to answer", log)
    assert popen.poll() is None, log.read_text(errors="replace")
    return popen, log


def wait_until(
    condition: Callable[[], object], what: str, log: Path | None = None, seconds: float = START_SECONDS
) -> None:
    """Poll `condition`; fails, with the log, when it does not come true in time."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(
                f"waited {seconds} s for {what}\n" + (log.read_text(errors="replace")[-5000:] if log else "")
            )
        time.sleep(pause)  # between two looks at another process; nothing is ever assumed to be done by then
        pause = min(pause * 1.5, 0.2)


def is_up(url: str) -> bool:
    try:
        return call("GET", url, key="any")[0] == 200
    except OSError:
        return False


class Starter:
    """Starts services and vendors, and stops them all at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._running = folder, list[Process]()

    def vendor(self) -> Process:
        """The sandbox over HTTP, with its journal."""
        url = f"http://127.0.0.1:{free_port()}"
        popen, log = spawn(
            self._folder,
            ["sandbox", "serve", "--listen", url.removeprefix("http://")],
            {},
            url,
            "/sandbox/journal",
        )
        return self._kept(Process(popen, url, log))

    def service(
        self,
        database_url: str,
        *,
        vendor: Process | None = None,
        seeded: Service | None = None,
        **settings: object,
    ) -> Service:
        """A service on a migrated database, seeded unless `seeded` names the service that did it."""
        url = f"http://127.0.0.1:{free_port()}"
        home = (
            Path(seeded.environ["ROLLOUT_HOME"])
            if seeded
            else self._folder / f"home-{url.rpartition(':')[2]}"
        )
        environ = {
            "ROLLOUT_HOME": str(home),
            "ROLLOUT_LISTEN": url.removeprefix("http://"),
            "ROLLOUT_DATABASE_URL": database_url,
            "ROLLOUT_SECRET_KEY": SECRET,
            "ROLLOUT_SANDBOX": "auto",
            "ROLLOUT_LOG_FORMAT": "json",
            "ROLLOUT_BREAKER_FAILURES": "0",  # tests that make the vendor fail share a service
            **{f"ROLLOUT_{name.upper()}": str(value) for name, value in settings.items()},
        }
        if vendor:
            environ |= {
                "ROLLOUT_OPENAI_BASE_URL": f"{vendor.url}/v1",
                "ROLLOUT_ANTHROPIC_BASE_URL": vendor.url,
                "ROLLOUT_LLAMA_BASE_URL": f"{vendor.url}/v1",
                "ROLLOUT_XAI_BASE_URL": f"{vendor.url}/xai/v1",
            }
        demo = seeded.demo if seeded else seed(environ)
        popen, log = spawn(self._folder, ["serve"], environ, url, "/readyz")
        return self._kept(Service(popen, url, log, demo, environ))

    def demo(self, home: Path, port: int | None = None) -> Process:
        """`rollout demo` with its data in `home`, printed and answering."""
        file, log = home / "demo.json", self._folder / f"demo-{len(self._running)}.log"
        environ = base_environ() | {
            "ROLLOUT_HOME": str(home),
            "ROLLOUT_LISTEN": f"127.0.0.1:{port or free_port()}",
        }
        with log.open("wb") as out:
            popen = subprocess.Popen(
                [sys.executable, "-m", "rollout.cli.main", "demo"],
                cwd=REPOSITORY, env=environ, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

        def ready() -> bool:
            return "Ctrl-C" in log.read_text() and is_up(json.loads(file.read_text())["url"] + "/healthz")

        wait_until(
            lambda: popen.poll() is not None or ready(), "the demo to print its commands and to answer", log
        )
        assert popen.poll() is None, log.read_text(errors="replace")
        kept: Process = self._kept(Process(popen, json.loads(file.read_text())["url"], log))
        return kept

    def stop(self) -> None:
        for process in reversed(self._running):
            if process.popen.poll() is None:
                os.killpg(process.popen.pid, signal.SIGKILL)
                process.popen.wait(10)

    def _kept(self, process: Any) -> Any:
        self._running.append(process)
        return process


def seed(environ: dict[str, str]) -> dict[str, Any]:
    """The demo's tenants on the database that `environ` names."""
    settings = Settings.from_env(environ)
    migrate.upgrade(settings.database)
    return demonstration.seed(settings)
