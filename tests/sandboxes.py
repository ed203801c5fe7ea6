"""A sandbox on a real socket, pictures, and catalogue rows, for tests of providers."""

from __future__ import annotations

import io
import logging
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from zlib import crc32

from flask import Flask
from PIL import Image
from werkzeug.serving import make_server

from rollout.api.sandbox.mount import create_sandbox_blueprint
from rollout.core.catalogue import Catalogue, Model
from rollout.services.catalogue import load_seed
from rollout.services.sandbox.bench import Bench

NOW = 1_795_000_000


class Recording(Bench):
    """Keeps what arrived whole: (path, headers, body)."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    def arrived(
        self, request_id: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        self.requests.append((path, {name.lower(): value for name, value in headers.items()}, body))
        super().arrived(request_id, method, path, headers, body)


@dataclass
class Served:
    sandbox: Recording
    url: str

    def journal(self) -> list[dict]:
        return self.sandbox.journal.read()["data"]


@contextmanager
def serve_sandbox(
    catalogue: Catalogue | None = None, sleep: Callable[[float], object] = lambda seconds: None
) -> Iterator[Served]:
    """The sandbox in threads of this process; it never really sleeps, unless by `sleep`."""
    sandbox = Recording(clock=lambda: NOW, sleep=sleep, catalogue=catalogue)
    app = Flask("sandbox_under_test")
    app.register_blueprint(create_sandbox_blueprint(sandbox))
    with serve(app) as url:
        yield Served(sandbox, url)


@contextmanager
def serve(app: Flask) -> Iterator[str]:
    """The application's address, while threads of this process answer there."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@cache
def seed() -> Catalogue:
    return load_seed()


def model(name: str) -> Model:
    return seed().get(name)


@cache
def picture(
    kind: str = "PNG", width: int = 64, height: int = 48, mode: str = "RGB", colour: str = "red"
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), colour).save(out, kind)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is as large as that, and ends after saying so."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", crc32(header))
