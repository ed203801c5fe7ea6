"""A real Unleash server, run by Node on an empty PostgreSQL database. It is AGPL: spoken to over HTTP, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import base_environ, call, free_port, give_up, is_up, wait_until
from UnleashClient.constants import CLIENT_SPEC_VERSION

import dev

SERVER = dev.NODE_MODULES / "unleash-server" / "dist" / "server.js"
ADMIN_TOKEN, CLIENT_TOKEN = "*:*.secret-of-admins", "*:production.secret-of-sdks"
"""Made when the server starts for the first time, and then only."""


@dataclass
class Unleash:
    """`url` ends with /api; `pid` is the server's process."""

    url: str
    pid: int

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """What somebody does there by hand."""
        headers = {"authorization": ADMIN_TOKEN}
        status, _, answer = call(method, f"{self.url}/admin{path}", body, headers=headers)
        assert status < 300, answer
        return answer

    def features(self) -> dict[str, Any]:
        """By name, as the Python SDK gets them: the server remembers, for a second, what it told each version of the specification."""
        headers = {"authorization": CLIENT_TOKEN, "unleash-client-spec": CLIENT_SPEC_VERSION}
        _, _, answer = call("GET", f"{self.url}/client/features", headers=headers)
        return {feature["name"]: feature for feature in answer["features"]}

    @property
    def settings(self) -> dict[str, str]:
        """For a service that it decides with."""
        return {
            "flags": "unleash",
            "unleash_url": self.url,
            "unleash_token": CLIENT_TOKEN,
            "unleash_admin_token": ADMIN_TOKEN,
        }


@contextmanager
def unleash_server(folder: Path, database_url: str) -> Iterator[Unleash]:
    """Up and healthy; `database_url` names a database without a table."""
    node = dev.find_node()
    if node is None or not SERVER.exists():
        give_up("NOT TESTED WITH UNLEASH: `python3 dev.py test` fetches Node and unleash-server")
    port, log = free_port(), folder / "unleash.log"
    environ = base_environ() | {
        "DATABASE_URL": database_url.replace("postgresql+psycopg:", "postgresql:"),
        "DATABASE_SSL": "false",
        "HTTP_HOST": "127.0.0.1",
        "PORT": str(port),
        "INIT_ADMIN_API_TOKENS": ADMIN_TOKEN,
        "INIT_BACKEND_API_TOKENS": CLIENT_TOKEN,
        "CHECK_VERSION": "false",
        "SEND_TELEMETRY": "false",
        "SDK_API_RATE_LIMIT_PER_MINUTE": "10000000",
        "TOKEN_AUTHENTICATION_RATE_LIMIT_PER_MINUTE": "10000000",
        "LOG_LEVEL": "warn",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [node, SERVER], cwd=dev.NODE_MODULES.parent, env=environ, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: process.poll() is not None or is_up(f"{url}/health"), "Unleash to answer", log)
        assert process.poll() is None, log.read_text(errors="replace")
        yield Unleash(f"{url}/api", process.pid)
    finally:
        process.kill()
        process.wait(20)
