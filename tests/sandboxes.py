"""A sandbox on a real socket, pictures, and catalogue rows, for tests of providers."""

from __future__ import annotations

import io
import logging
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from zlib import crc32

from flask import Flask
from PIL import Image
from werkzeug.serving import make_server

from rollout.api.sandbox.mount import create_sandbox_blueprint
from rollout.core.catalogue import Catalogue, Model
from rollout.services.catalogue import load_seed
from rollout.services.sandbox.bench import Bench

NOW = 1_795_000_000


@dataclass
class Served:
    sandbox: Bench
    url: str

    def journal(self) -> list[dict]:
        return self.sandbox.journal.read()["data"]


@contextmanager
def serve_sandbox() -> Iterator[Served]:
    """The sandbox in threads of this process; it never really sleeps."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    sandbox = Bench(clock=lambda: NOW, sleep=lambda seconds: None)
    app = Flask("sandbox_under_test")
    app.register_blueprint(create_sandbox_blueprint(sandbox))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Served(sandbox, f"http://127.0.0.1:{server.port}")
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
