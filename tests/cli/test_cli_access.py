"""`rollout keys`, `tokens`, `grants`, `access-requests`, `audit`: what they print, refuse, and answer as exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from doors import ALICE, GLOBEX

from rollout.cli.main import main
from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION
from rollout.core.grants import Asking
from rollout.services.registry import Services
from rollout.settings import Settings
from rollout.wiring import build

Run = Callable[..., Result]
WHY = ("--reason", "because")


@pytest.fixture
def environ(database_url: str, tmp_path: Path) -> dict[str, str]:
    """Settings for a command."""
    return {
        "ROLLOUT_HOME": str(tmp_path),
        "ROLLOUT_DATABASE_URL": database_url,
        "ROLLOUT_SECRET_KEY": "a secret key of 32 characters or more",
    }


@pytest.fixture
def services(environ: dict[str, str]) -> Iterator[Services]:
    """What the commands work on: one tenant, outside the beta."""
    wired = build(Settings.from_env(environ))
    wired.tenants.add(ALICE, GLOBEX, "seed")
    with wired.changes.begin(ALICE, "seed") as change:
        wired.plans.ensure_plan(change)
    yield wired
    wired.close()


@pytest.fixture
def run(environ: dict[str, str], services: Services) -> Run:
    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env=environ)

    return call


@pytest.fixture
def done(run: Run) -> Callable[..., Any]:
    """Run with --json, expect success, give the parsed output."""

    def call(*arguments: str) -> Any:
        result = run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return call


@pytest.fixture
def asked(services: Services) -> str:
    """The id of globex's waiting request."""
    services.state.refresh()
    decision = services.features.decide(services.state.facts("globex"), GENERATION)
    standing, _ = services.access.ask(Actor("key:key_1"), decision, Asking("covers"))
    return standing.request.id


def test_a_key_is_made_rotated_and_revoked(done: Callable[..., Any], services: Services) -> None:
    made = done("keys", "add", "globex", "--name", "server", "--scope", "read", "--until", "2099-03-01", *WHY)
    assert (made["scopes"], made["expires_at"]) == (["read"], "2099-03-01T00:00:00Z")
    assert services.state.identify(made["secret"]).key.id == made["id"]
    rotated = done(
        "keys", "rotate", "globex", made["id"], "--overlap", "0", "--until", "2099-03-01T07:00:00+07:00", *WHY
    )
    assert rotated["replaces"]["id"] == made["id"]
    done("keys", "revoke", "globex", rotated["id"], *WHY)
    listed = done("keys", "list", "globex")
    assert [(key["id"], bool(key["revoked_at"])) for key in listed] == [
        (made["id"], False),
        (rotated["id"], True),
    ]
    assert done("keys", "show", "globex", made["id"]) == listed[0]
    assert {row["actor"][:4] for row in done("audit", "list", "--subject", made["id"])} == {"cli:"}


def test_a_key_for_people_is_a_table_and_a_word_of_warning(run: Run) -> None:
    result = run("keys", "add", "globex", "--name", "server", "--mode", "test", *WHY)
    assert "rk_test_" in result.stdout
    assert "not shown again" in result.stderr


def test_a_token_is_made_and_revoked(done: Callable[..., Any], services: Services) -> None:
    made = done("tokens", "add", "carol", "--role", "editor", *WHY)
    assert services.tokens.identify(made["secret"]).name == "carol"
    assert done("tokens", "revoke", made["id"], *WHY)["revoked_at"] is not None
    assert [token["name"] for token in done("tokens", "list")] == ["carol"]


def test_a_grant_is_given_changed_and_revoked(done: Callable[..., Any]) -> None:
    grant = done("grants", "add", "globex", GENERATION, "--until", "2099-03-01", *WHY)
    assert (grant["state"], grant["expires_at"]) == ("active", "2099-03-01T00:00:00Z")
    assert done("grants", "set", grant["id"], "--forever", *WHY)["expires_at"] is None
    assert done("grants", "revoke", grant["id"], *WHY)["state"] == "revoked"
    assert done("grants", "show", grant["id"])["reason"] == "because"
    assert [row["id"] for row in done("grants", "list", "--tenant", "globex", "--feature", GENERATION)] == [
        grant["id"]
    ]


def test_a_request_is_approved_with_quota(done: Callable[..., Any], asked: str) -> None:
    assert [row["position"] for row in done("access-requests", "list")] == [1]
    approved = done(
        "access-requests", "approve", asked, "--meter", "image/day=3", "--until", "2099-03-01", *WHY
    )
    assert (approved["state"], approved["grant"]["expires_at"]) == ("approved", "2099-03-01T00:00:00Z")
    assert [(meter["name"], meter["cap"]) for meter in approved["meters"]] == [("image-day", 3)]
    assert done("access-requests", "show", asked)["state"] == "approved"
    assert done("access-requests", "list") == []
    assert [row["id"] for row in done("access-requests", "list", "--state", "all", "--tenant", "globex")] == [
        asked
    ]


def test_a_request_is_denied_once(run: Run, done: Callable[..., Any], asked: str) -> None:
    assert done("access-requests", "deny", asked, "--reason", "not now")["decision_reason"] == "not now"
    again = run("access-requests", "approve", asked, *WHY)
    assert again.exit_code == 3
    assert "denied at" in again.stderr


def test_the_audit_log_is_listed_and_verified(run: Run, done: Callable[..., Any], services: Services) -> None:
    newest = done("audit", "list", "--limit", "1", "--tenant", "globex")[0]
    assert (newest["action"], newest["after"]["id"]) == ("tenant.added", "globex")
    assert "tenant.added" in run("audit", "list").stdout
    assert done("audit", "verify") == {"intact": True, "problem": None}
    with services.database.write() as tx:
        tx.execute(sa.text("update audit set actor = 'nobody' where seq = 1"))
    broken = run("audit", "verify")
    assert (broken.exit_code, broken.stderr.strip()) == (1, "error: audit row 1 was changed")
    assert run("audit", "verify", "--json").exit_code == 1


@pytest.mark.parametrize(
    "command", ["keys list globex", "tokens list", "grants list", "access-requests list"]
)
def test_an_empty_list_says_what_to_do(run: Run, command: str) -> None:
    result = run(*command.split())
    assert result.exit_code == 0
    assert "rollout " in result.stdout or "POST /api/v1/access-requests" in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        "keys add globex --name server",
        "tokens add carol --role viewer",
        f"grants add globex {GENERATION}",
    ],
)
def test_a_dry_run_changes_nothing(run: Run, services: Services, command: str) -> None:
    before = services.audit.page(limit=99)
    result = run(*command.split(), *WHY, "--dry-run", "--json")
    assert result.exit_code == 0
    assert "would be: " in result.stderr
    assert json.loads(result.stdout).get("secret") is None
    assert "not shown again" not in result.stderr
    assert services.audit.page(limit=99) == before


@pytest.mark.parametrize(
    ("command", "code", "word"),
    [
        ("keys add globex --name server", 2, "--reason"),
        ("keys add globex --name server --until soon --reason r", 2, "2027-03-01"),
        ("keys add globex --name server --until 2027-03-01T10:00 --reason r", 2, "--until"),
        ("keys add globex --name server --until 0001-01-01 --reason r", 2, "2000"),
        ("keys add globex --name server --scope root --reason r", 2, "--scope"),
        ("keys rotate globex key_none --overlap x --reason r", 2, "--overlap"),
        ("access-requests approve acc_none --meter images=3 --reason r", 2, "image/day=100"),
        ("grants set grt_none --reason r", 2, "--forever"),
        ("keys add globex --name server --until 2020-01-01 --reason r", 3, "expires_at"),
        ("keys add nobody --name server --reason r", 3, "nobody"),
        ("keys list nobody", 3, "nobody"),
        ("keys revoke globex key_none --reason r", 3, "key_none"),
        ("tokens add Carol --role viewer --reason r", 3, "name"),
        ("tokens revoke tok_none --reason r", 3, "tok_none"),
        ("grants add globex image-analysis --reason r", 3, "without a grant"),
        ("grants add globex video --reason r", 3, "image-generation"),
        ("grants show grt_none", 3, "grt_none"),
        ("access-requests show acc_none", 3, "acc_none"),
        ("access-requests deny acc_none --reason r", 3, "acc_none"),
    ],
)
def test_bad_input_is_named_and_has_its_exit_code(run: Run, command: str, code: int, word: str) -> None:
    result = run(*command.split())
    assert result.exit_code == code, result.output
    assert word in result.stderr
    assert result.stdout == ""
