"""What all tests share: databases of both kinds, a clock that stands still, and who starts processes.

A test that asks for `database` or `database_url` runs twice, on SQLite and on PostgreSQL; the second run
carries the marker `postgres`, so `-m "not postgres"` is the fast half.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
import structlog
from clocks import Clock, ClockedDatabase
from processes import Starter, give_up
from werkzeug.routing import Rule

from rollout import log
from rollout.db import migrate
from rollout.db.engine import Database

SHARED = "PHASEGATE_TEST_RUN"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "postgres: needs a PostgreSQL server; `dev.py test --fast` leaves it out"
    )
    config.addinivalue_line("markers", "node: needs Node; `dev.py test --fast` leaves it out")
    config.addinivalue_line("markers", "browser: needs a Chromium; `dev.py test --fast` leaves it out")
    plain_logs()
    compile_routes_once()
    if not hasattr(config, "workerinput"):
        run = postgres.Run.begin()
        config.add_cleanup(run.end)
        os.environ[SHARED] = str(run.folder)


@pytest.fixture
def logs_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests that run commands in this process: they leave no logger behind that remembers their streams."""
    sink = structlog.ReturnLoggerFactory()
    monkeypatch.setattr(log, "configure", lambda *_: structlog.configure(logger_factory=sink))
    yield
    plain_logs()


def plain_logs() -> None:
    """As structlog has it by default, but for tracebacks: with source and variables each takes a fifth of a second."""
    structlog.reset_defaults()
    *others, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, plain])


def compile_routes_once() -> None:
    """Nearly every test has an application of its own, and werkzeug compiles a function for each of its 300 routes: a third of a second."""
    compiled: dict[Any, Any] = {}
    compile_builder = Rule._compile_builder

    def known(rule: Rule, append_unknown: bool = True) -> Any:
        key = rule.rule, tuple(rule._trace), str(rule.defaults), append_unknown
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    Rule._compile_builder = known  # type: ignore[method-assign]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a migrated, empty database."""
    if request.param == "postgresql":
        server: postgres.Server = request.getfixturevalue("postgres_server")
        url: str = request.getfixturevalue("postgres_database")
        server.empty(url)
        return url
    shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "rollout.db")
    return f"sqlite:///{tmp_path / 'rollout.db'}"


@pytest.fixture
def database(database_url: str, clock: Clock) -> Iterator[Database]:
    """A migrated, empty database on the test's clock."""
    opened = ClockedDatabase(database_url, clock)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def new_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """`new_database("postgresql")` makes a migrated database that nobody else has, and gives its address.

    With `migrated=False` it has no table. For tests that change the schema, and servers that outlive a test.
    """
    count = iter(range(1_000_000))

    def make(kind: str, *, migrated: bool = True) -> str:
        if kind == "postgresql":
            server: postgres.Server = request.getfixturevalue("postgres_server")
            return server.create(f"{_worker()}_{next(count)}", template=None if migrated else "template0")
        path = tmp_path_factory.mktemp("database") / "rollout.db"
        if migrated:
            shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "rollout.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    try:
        server = postgres.Run(Path(os.environ[SHARED])).server()
    except postgres.Unavailable as reason:
        give_up(f"NOT TESTED ON POSTGRESQL: {reason}")
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_database(postgres_server: postgres.Server) -> str:
    """This process's own database, handed from test to test."""
    return postgres_server.create(_worker())


@pytest.fixture(scope="module")
def shared_starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    starter = Starter(tmp_path_factory.mktemp("processes"))
    yield starter
    starter.stop()


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    """For a test that kills, breaks or configures its processes."""
    own = Starter(tmp_path)
    yield own
    own.stop()


def _worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")
