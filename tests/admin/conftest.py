"""What the tests of the console's pages share: everything wired, on SQLite, and people who visit it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from console import SEED, Visitor
from doors import cheap_hasher
from flask import Flask
from jinja2 import FileSystemBytecodeCache

from rollout.app import create_app
from rollout.core.tenants import Tenant
from rollout.core.tokens import Role
from rollout.services.passwords import Passwords
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build


@pytest.fixture(scope="session", autouse=True)
def templates_are_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Not for each test's application anew: that takes longer than the test."""
    Flask.jinja_options["bytecode_cache"] = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
    yield
    del Flask.jinja_options["bytecode_cache"]


@pytest.fixture
def wired(
    new_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Services]:
    """Acme (counted in Asia/Jakarta) and globex, nobody granted; the plan of image generation at private_beta."""
    monkeypatch.setattr("rollout.wiring.Passwords", lambda: Passwords(cheap_hasher))
    settings = Settings(home=str(tmp_path), database_url=new_database("sqlite"), secret_key="s" * 40)
    services = build(settings)
    with services.changes.begin(SEED, "seed") as change:
        services.plans.ensure_plan(change)
    services.tenants.add(SEED, Tenant("acme", "Acme Studios", "Asia/Jakarta"), "seed")
    services.tenants.add(SEED, Tenant("globex", "Globex Media"), "seed")
    yield services
    services.close()


@pytest.fixture
def visit(wired: Services) -> Callable[[Role], Visitor]:
    """`visit("editor")` is somebody new with that role, signed in."""
    app = create_app(wired)
    return lambda role: Visitor(app, wired).sign_in(role)
