"""`rollout users`: what it prints, refuses, and answers as exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout.cli.main import main
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

Run = Callable[..., Result]
WHY = ("--reason", "because")
ANA = ("users", "add", "ana@example.com", "--name", "Ana", "--role", "admin", *WHY)
PASSWORD = "correct horse battery"


@pytest.fixture
def environ(new_database: Callable[..., str], tmp_path: Path) -> dict[str, str]:
    """Settings for a command."""
    return {
        "ROLLOUT_HOME": str(tmp_path),
        "ROLLOUT_DATABASE_URL": new_database("sqlite"),
        "ROLLOUT_SECRET_KEY": "a secret key of 32 characters or more",
        "ROLLOUT_PUBLIC_URL": "https://gate.example",
    }


@pytest.fixture
def services(environ: dict[str, str]) -> Iterator[Services]:
    wired = build(Settings.from_env(environ))
    yield wired
    wired.close()


@pytest.fixture
def run(environ: dict[str, str], services: Services) -> Run:
    def call(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(main, arguments, env=environ, input=stdin)

    return call


@pytest.fixture
def done(run: Run) -> Callable[..., Any]:
    """Run with --json, expect success, give the parsed output."""

    def call(*arguments: str, stdin: str = "") -> Any:
        result = run(*arguments, "--json", stdin=stdin)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return call


def test_the_first_admin_comes_about_by_a_command_and_its_link(
    done: Callable[..., Any], services: Services
) -> None:
    ana = done(*ANA)
    address, _, secret = ana["link"].partition("?secret=")
    assert address == "https://gate.example/admin/sign-in/link"
    assert services.sessions.sign_in_by_link(secret, "").user.role == "admin"
    (linked, added) = services.audit.page(subject=ana["id"], limit=9)
    assert (linked["action"], added["action"]) == ("user.link_made", "user.added")
    assert added["actor"].startswith("cli:")


def test_a_password_comes_from_standard_input_and_then_there_is_no_link(
    done: Callable[..., Any], run: Run, services: Services
) -> None:
    assert done(*ANA, "--password-stdin", stdin=f"{PASSWORD}\r\nmore")["link"] is None
    assert services.sessions.sign_in("ana@example.com", PASSWORD, "").user.name == "Ana"
    asked = run("users", "password", "ana@example.com", *WHY, stdin="another long one\nanother long one\n")
    assert asked.exit_code == 0, asked.output
    assert "another" not in asked.output
    services.sessions.sign_in("ana@example.com", "another long one", "")
    refused = run("users", "password", "ana@example.com", "--password-stdin", *WHY, stdin="short\n")
    assert (refused.exit_code, "(password)" in refused.stderr) == (3, True)


def test_a_user_is_changed_disabled_and_enabled_by_id_or_email(done: Callable[..., Any], run: Run) -> None:
    ana = done(*ANA)
    done("users", "add", "Ben@example.com", "--name", "Ben", "--role", "viewer", *WHY)
    assert done("users", "set", "BEN@example.com", "--role", "editor", *WHY)["role"] == "editor"
    assert done("users", "show", ana["id"])["email"] == "ana@example.com"
    assert done("users", "disable", "ben@example.com", *WHY)["disabled_at"]
    assert done("users", "enable", "ben@example.com", *WHY)["disabled_at"] is None
    assert [user["name"] for user in done("users", "list")] == ["Ana", "Ben"]
    assert "ana@example.com" in run("users", "list").stdout
    last = run("users", "disable", "ana@example.com", *WHY)
    assert (last.exit_code, "last admin" in last.stderr) == (3, True)


def test_a_new_link_is_printed_and_a_dry_run_makes_none(done: Callable[..., Any], services: Services) -> None:
    assert done(*ANA, "--dry-run")["link"] is None
    assert services.users.page(after=None, limit=9) == []
    done(*ANA)
    assert done("users", "link", "ana@example.com", "--dry-run", *WHY)["link"] is None
    _, _, secret = done("users", "link", "ana@example.com", *WHY)["link"].partition("?secret=")
    assert services.sessions.link_owner(secret).email == "ana@example.com"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("users", "show", "nobody@example.com"), 3),
        (("users", "show", "usr_none"), 3),
        (("users", "add", "no-email", "--name", "X", "--role", "viewer", *WHY), 3),
        (("users", "add", "x@example.com", "--name", "X", "--role", "root", *WHY), 2),
        (("users", "add", "x@example.com", "--name", "X", "--role", "viewer"), 2),
    ],
)
def test_what_cannot_be_is_refused_with_an_exit_code(run: Run, arguments: tuple[str, ...], code: int) -> None:
    assert run(*arguments).exit_code == code


def test_an_empty_list_says_how_to_add_the_first(run: Run) -> None:
    assert "rollout users add" in run("users", "list").stdout


def test_a_command_imports_neither_flask_nor_what_hashes_passwords() -> None:
    code = "import sys; import rollout.wiring, rollout.cli.users; sys.exit(bool({'argon2', 'flask'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
