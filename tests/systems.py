"""A vendor's whole way: an official SDK, real sockets, our service, the vendor's adapter, real sockets, the vendor's wire as the sandbox
speaks it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai
from clocks import Clock
from gateway import Gateway
from sandboxes import Served, seed, serve, serve_sandbox

from rollout.core.catalogue import Catalogue
from rollout.core.holds import Hold
from rollout.db.engine import Database
from rollout.services.providers import connect
from rollout.settings import Settings


@dataclass
class System:
    """`gateway` answers at `url` and asks `vendor`."""

    gateway: Gateway
    vendor: Served
    url: str

    def client(self, retries: int = 2) -> openai.OpenAI:
        """The SDK as a partner has it, of acme, which is in the beta."""
        secret = self.gateway.door().secret
        return openai.OpenAI(api_key=secret, base_url=f"{self.url}/v1", max_retries=retries)

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.vendor.sandbox.requests]

    def the_hold(self) -> Hold:
        """That of the only work, once the books add up."""
        assert self.gateway.ledger.verify() == []
        return self.gateway.the_hold()

    def reserved(self) -> int:
        """Micro-dollars that were held for it."""
        (line,) = self.the_hold().lines
        return line.amount


@contextmanager
def system(
    database: Database, clock: Clock, folder: Path, catalogue: Catalogue | None = None, **settings: Any
) -> Iterator[System]:
    """`settings` with `{url}` where the vendor's address belongs. A vendor that is told to hang does so until the end."""
    catalogue, released = catalogue or seed(), threading.Event()
    with serve_sandbox(catalogue, sleep=released.wait) as vendor:
        told = {name: _at(value, vendor.url) for name, value in settings.items()}
        providers = connect(Settings(**{"sandbox": "off", "upstream_read_seconds": 1, **told}))
        gateway = Gateway(database, clock, folder, providers, lambda: catalogue)
        gateway.limit("usd_micro", "day", 10**9, feature=None)
        with serve(gateway.app) as url:
            try:
                yield System(gateway, vendor, url)
            finally:
                released.set()


def awake(name: str) -> Catalogue:
    """The seed, in which a model that has been retired answers again."""
    rows = [replace(row, lifecycle="active") if row.name == name else row for row in seed().models]
    return Catalogue(rows, seed().aliases)


def _at(value: Any, url: str) -> Any:
    return value.replace("{url}", url) if isinstance(value, str) else value
