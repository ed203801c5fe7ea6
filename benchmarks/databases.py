"""Databases to throw away, which flush to the disk at every commit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rollout.db import migrate
from tests import postgres

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")

Make = Callable[[str], str]
"""Makes a migrated, empty database of that name and gives its address."""


@contextmanager
def made_of(kind: Kind) -> Iterator[Make]:
    """Makes databases on the disk of the temporary folder; all are gone when the block ends."""
    if kind == "postgresql":
        with server() as run:
            yield run.server().create
        return
    with tempfile.TemporaryDirectory() as folder:

        def make(name: str) -> str:
            url = f"sqlite:///{Path(folder) / name}.db"
            migrate.upgrade(url)
            return url

        yield make


@contextmanager
def server() -> Iterator[postgres.Run]:
    """A PostgreSQL of our own. Raises `postgres.Unavailable`."""
    run = postgres.Run.begin(durable=True)
    try:
        yield run
    finally:
        run.end()
