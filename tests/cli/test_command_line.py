"""The command line as a whole: what the admin API can do it can do too, with the same options everywhere; completion; a light `--help`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rollout.app import create_app
from rollout.cli.main import COMMANDS, main
from rollout.settings import Settings
from rollout.wiring import build

ROOT = Path(__file__).parents[2]
PREFIX = "/admin/api/v1"

COMMAND_OF = {
    "GET /tenants": "tenants list",
    "GET /tenants/<tenant_id>": "tenants show",
    "POST /tenants": "tenants add",
    "PATCH /tenants/<tenant_id>": "tenants set",
    "POST /tenants/<tenant_id>/suspend": "tenants suspend",
    "POST /tenants/<tenant_id>/activate": "tenants activate",
    "GET /tenants/<tenant_id>/keys": "keys list",
    "GET /tenants/<tenant_id>/keys/<key_id>": "keys show",
    "POST /tenants/<tenant_id>/keys": "keys add",
    "POST /tenants/<tenant_id>/keys/<key_id>/rotate": "keys rotate",
    "POST /tenants/<tenant_id>/keys/<key_id>/revoke": "keys revoke",
    "GET /tokens": "tokens list",
    "GET /tokens/<token_id>": "tokens show",
    "POST /tokens": "tokens add",
    "POST /tokens/<token_id>/revoke": "tokens revoke",
    "GET /flags/upstream": "flags upstream",
    "POST /flags/upstream/push": "flags push",
    "POST /flags/import": "flags import",
    "GET /flags/export": "flags export",
    "GET /flags": "flags list",
    "GET /flags/<path:name>": "flags show",
    "POST /flags": "flags add",
    "PUT /flags/<path:name>": "flags set",
    "POST /flags/<path:name>/archive": "flags archive",
    "POST /flags/<path:name>/revive": "flags revive",
    "GET /segments": "segments list",
    "GET /segments/<int:segment_id>": "segments show",
    "POST /segments": "segments add",
    "PUT /segments/<int:segment_id>": "segments set",
    "DELETE /segments/<int:segment_id>": "segments remove",
    "GET /flag-tokens": "flag-tokens list",
    "GET /flag-tokens/<token_id>": "flag-tokens show",
    "POST /flag-tokens": "flag-tokens add",
    "POST /flag-tokens/<token_id>/revoke": "flag-tokens revoke",
    "GET /flag-clients": "flag-clients list",
    "GET /flag-metrics": "flag-metrics list",
    "GET /users": "users list",
    "GET /users/<user_id>": "users show",
    "POST /users": "users add",
    "PATCH /users/<user_id>": "users set",
    "POST /users/<user_id>/disable": "users disable",
    "POST /users/<user_id>/enable": "users enable",
    "POST /users/<user_id>/password": "users password",
    "POST /users/<user_id>/link": "users link",
    "GET /grants": "grants list",
    "GET /grants/<grant_id>": "grants show",
    "POST /grants": "grants add",
    "PATCH /grants/<grant_id>": "grants set",
    "POST /grants/<grant_id>/revoke": "grants revoke",
    "GET /access-requests": "access-requests list",
    "GET /access-requests/<request_id>": "access-requests show",
    "POST /access-requests/<request_id>/approve": "access-requests approve",
    "POST /access-requests/<request_id>/deny": "access-requests deny",
    "GET /alerts": "alerts list",
    "GET /meters": "meters list",
    "GET /meters/<meter_id>": "meters show",
    "POST /meters": "meters add",
    "PATCH /meters/<meter_id>": "meters set",
    "DELETE /meters/<meter_id>": "meters revoke",
    "GET /topups": "topups list",
    "GET /topups/<topup_id>": "topups show",
    "POST /topups": "topups add",
    "POST /topups/<topup_id>/void": "topups void",
    "GET /adjustments": "adjustments list",
    "GET /adjustments/<adjustment_id>": "adjustments show",
    "POST /adjustments": "adjustments add",
    "GET /holds": "holds list",
    "GET /holds/<hold_id>": "holds show",
    "POST /holds/<hold_id>/settle": "holds settle",
    "POST /holds/<hold_id>/void": "holds void",
    "GET /generations": "generations list",
    "GET /generations/<generation_id>": "generations show",
    "POST /generations/<generation_id>/cancel": "generations cancel",
    "GET /features": "features list",
    "GET /features/<feature>": "features show",
    "POST /features/<feature>/kill": "kill",
    "POST /features/<feature>/revive": "features revive",
    "GET /catalogue/vendors": "catalogue vendors",
    "GET /catalogue/vendors/<name>": "catalogue vendors",
    "POST /catalogue/vendors/<name>/disable": "catalogue disable",
    "POST /catalogue/vendors/<name>/enable": "catalogue enable",
    "POST /catalogue/verify": "catalogue verify",
    "GET /catalogue/proposals": "catalogue proposals",
    "GET /catalogue/proposals/<proposal_id>": "catalogue proposals",
    "POST /catalogue/proposals/<proposal_id>/apply": "catalogue apply",
    "POST /catalogue/proposals/<proposal_id>/dismiss": "catalogue dismiss",
    "GET /catalogue/models": "catalogue models",
    "GET /catalogue/models/<name>": "catalogue show",
    "PUT /catalogue/models/<name>": "catalogue set",
    "POST /catalogue/models/<name>/prices": "catalogue price",
    "POST /catalogue/models/<name>/retire": "catalogue retire",
    "DELETE /catalogue/models/<name>": "catalogue reset",
    "POST /catalogue/models/<name>/move": "catalogue move",
    "POST /catalogue/models/<name>/finish": "catalogue finish",
    "GET /catalogue/aliases": "catalogue aliases",
    "GET /catalogue/aliases/<name>": "catalogue show",
    "PUT /catalogue/aliases/<name>": "catalogue alias",
    "DELETE /catalogue/aliases/<name>": "catalogue unalias",
    "POST /catalogue/aliases/<name>/move": "catalogue move",
    "POST /catalogue/aliases/<name>/finish": "catalogue finish",
    "GET /plans": "plans list",
    "GET /plans/<feature>": "plans show",
    "GET /plans/templates": "plans templates",
    "POST /plans": "plans add",
    "PUT /plans/<feature>": "plans set",
    "PATCH /plans/<feature>": "plans set",
    "POST /plans/<feature>/advance": "plans advance",
    "POST /plans/<feature>/jump": "plans jump",
    "POST /plans/<feature>/restart": "plans restart",
    "POST /plans/<feature>/rollback": "plans rollback",
    "POST /plans/<feature>/pause": "plans pause",
    "POST /plans/<feature>/resume": "plans resume",
    "POST /plans/<feature>/simulate": "simulate",
    "POST /plans/<feature>/schedule": "schedules add",
    "GET /schedules": "schedules list",
    "GET /schedules/<schedule_id>": "schedules show",
    "POST /schedules/<schedule_id>/cancel": "schedules cancel",
    "POST /plans/<feature>/approve": "change-requests approve",
    "GET /change-requests": "change-requests list",
    "GET /change-requests/<request_id>": "change-requests show",
    "POST /change-requests/<request_id>/approve": "change-requests approve",
    "POST /change-requests/<request_id>/reject": "change-requests reject",
    "POST /change-requests/<request_id>/withdraw": "change-requests withdraw",
    "GET /explain": "explain",
    "GET /feedback": "feedback list",
    "GET /feedback/export": "feedback export",
    "GET /feedback/figures": "feedback figures",
    "GET /feedback/<feedback_id>": "feedback show",
    "PATCH /feedback/<feedback_id>": "feedback set",
    "GET /requests": "requests list",
    "GET /requests/export": "requests export",
    "GET /requests/summary": "requests summary",
    "GET /requests/<any_id>": "requests show",
    "GET /guardrail-events": "guardrail-events list",
    "GET /analyses": "analyses list",
    "GET /analyses/<analysis_id>": "analyses show",
    "GET /product-tables": "product-tables list",
    "GET /usage": "usage",
    "GET /statements": "statements list",
    "GET /statements/<tenant_id>": "statements show",
    "GET /ledger": "ledger list",
    "POST /ledger/verify": "ledger verify",
    "GET /audit": "audit list",
    "GET /audit/export": "audit export",
    "GET /audit/verify": "audit verify",
    "GET /webhooks": "webhooks list",
    "GET /webhooks/<webhook_id>": "webhooks show",
    "POST /webhooks": "webhooks add",
    "PATCH /webhooks/<webhook_id>": "webhooks set",
    "DELETE /webhooks/<webhook_id>": "webhooks remove",
    "POST /webhooks/<webhook_id>/rotate": "webhooks rotate",
    "POST /webhooks/<webhook_id>/test": "webhooks test",
    "GET /webhooks/<webhook_id>/deliveries": "webhooks deliveries",
    "POST /webhooks/<webhook_id>/deliveries/<delivery_id>/resend": "webhooks resend",
    "GET /jobs": "jobs list",
    "GET /jobs/<job_id>": "jobs show",
    "POST /jobs/<job_id>/replay": "jobs replay",
    "GET /workers": "workers list",
}  # fmt: skip

CHANGING = sorted(
    {command for route, command in COMMAND_OF.items() if not route.startswith("GET ")}
    - {"catalogue verify", "ledger verify", "simulate"}
)
RUNNING = {"demo", "serve", "worker", "sandbox serve"}
"""Commands that go on until they are stopped."""

FILES = {"flags export", "completion", "audit export", "feedback export", "requests export"}
"""Commands that print a file: a script, or what `--format` says."""


def walked() -> dict[str, click.Command]:
    """Every command by its words: `keys rotate`, `serve`."""
    found = {}
    with click.Context(main) as context:
        for noun in COMMANDS:
            command = main.get_command(context, noun)
            assert command is not None
            verbs = command.commands if isinstance(command, click.Group) else {"": command}
            found |= {f"{noun} {verb}".strip(): one for verb, one in verbs.items()}
    return found


WALKED = walked()


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    services = build(Settings.from_env({"ROLLOUT_HOME": str(tmp_path_factory.mktemp("home"))}))
    yield {
        f"{method} {rule.rule.removeprefix(PREFIX)}"
        for rule in create_app(services).url_map.iter_rules()
        if rule.rule.startswith(PREFIX)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    services.close()


def options(command: str) -> set[str]:
    return {name for parameter in WALKED[command].params for name in parameter.opts}


def test_every_route_of_the_admin_api_has_its_command(routes: set[str]) -> None:
    assert routes == set(COMMAND_OF)
    assert set(COMMAND_OF.values()) <= set(WALKED)


@pytest.mark.parametrize("command", sorted(set(WALKED) - RUNNING - FILES))
def test_every_command_that_answers_speaks_json(command: str) -> None:
    assert "--json" in options(command)


@pytest.mark.parametrize("command", CHANGING)
def test_every_change_takes_a_reason_and_can_be_tried(command: str) -> None:
    assert {"--reason", "--dry-run"} <= options(command)
    assert any(parameter.required and "--reason" in parameter.opts for parameter in WALKED[command].params)


@pytest.mark.parametrize("command", sorted(WALKED))
def test_every_command_says_what_it_is_for(command: str) -> None:
    assert WALKED[command].help


def complete(line: str) -> list[str]:
    """What a shell is offered after `line`; the database cannot be reached, and settings are wrong."""
    words = line.split(" ")
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "ROLLOUT_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none",
        "ROLLOUT_THREADS": "many",
        "_ROLLOUT_COMPLETE": "zsh_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "rollout.cli.main"], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()[1::3]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rollout ten", ["tenants"]),
        ("rollout access-requests ", ["approve", "deny", "list", "show"]),
        ("rollout keys rot", ["rotate"]),
        ("rollout kill image-generation --in", ["--in-flight"]),
        ("rollout kill image-generation --in-flight w", ["withhold"]),
        ("rollout nothing", []),
    ],
)
def test_nouns_verbs_options_and_choices_are_completed_without_a_database(
    line: str, offered: list[str]
) -> None:
    assert complete(line) == offered


def test_without_a_word_every_noun_is_offered() -> None:
    assert complete("rollout ") == list(COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed_for_each_shell(shell: str) -> None:
    printed = rollout("completion", shell)
    assert f"_ROLLOUT_COMPLETE={shell}_complete" in printed


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_with_the_printed_script(tmp_path: Path) -> None:
    program = tmp_path / "rollout"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rollout.cli.main "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(rollout completion bash)"
        COMP_WORDS=(rollout plans roll); COMP_CWORD=2
        "$(complete -p rollout | sed 's/.* -F //; s/ .*//')" rollout
        echo "${COMPREPLY[@]}"
    """
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "rollback\n"


def rollout(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "rollout.cli.main", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
