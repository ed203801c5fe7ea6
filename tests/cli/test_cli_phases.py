"""`rollout features`, `kill`, `plans`, `explain`: data on stdout, one sentence on stderr, exit 3 when a rule refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from doors import ALICE
from phases import wire_phases
from structlog.testing import capture_logs

from rollout.cli import explain as explain_module
from rollout.cli import features as features_module
from rollout.cli import plans as plans_module
from rollout.cli.context import refusals
from rollout.core.decisions import GENERATION
from rollout.db.engine import Database
from rollout.db.tables import phase, phase_run, plan
from rollout.services.changes import Changes

Run = Callable[..., Result]

COMMANDS: dict[str, click.Command] = {
    "features": features_module.features,
    "kill": features_module.kill,
    "plans": plans_module.plans,
    "explain": explain_module.explain,
}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


@pytest.fixture
def rollout(services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`rollout("kill", "image-generation", ...)` on the test's database."""

    @contextmanager
    def wired() -> Iterator[SimpleNamespace]:
        with capture_logs(), refusals():
            yield services

    for module in (features_module, plans_module, explain_module):
        monkeypatch.setattr(module, "wired", wired)
    return lambda noun, *arguments: CliRunner().invoke(COMMANDS[noun], list(arguments))


def test_a_kill_says_how_far_it_has_spread_and_a_revival_undoes_it(
    rollout: Run, services: SimpleNamespace
) -> None:
    killed = rollout("kill", GENERATION, "--in-flight", "withhold", "--reason", "bad pictures", "--json")
    assert killed.exit_code == 0
    assert json.loads(killed.stdout)["killed"] is True
    assert killed.stderr == f"{GENERATION} killed for everyone: 0 of 0 workers, 0 holds void, 0 running\n"
    assert services.features.get(GENERATION)["kill"]["in_flight"] == "withhold"
    revived = rollout("features", "revive", GENERATION, "--reason", "fixed")
    assert (revived.exit_code, revived.stderr) == (0, f"{GENERATION} revived for everyone\n")
    assert services.features.get(GENERATION)["killed"] is False


def test_one_tenant_is_stopped_and_shown(rollout: Run) -> None:
    halted = rollout("kill", GENERATION, "--tenant", "acme", "--reason", "abuse", "--remind-at", "2027-03-01")
    assert (halted.exit_code, halted.stderr.split(":")[0]) == (0, f"{GENERATION} killed for acme")
    shown = json.loads(rollout("features", "show", GENERATION, "--json").stdout)
    assert [(row["tenant"], row["remind_at"]) for row in shown["halts"]] == [("acme", "2027-03-01T00:00:00Z")]


def test_a_rehearsed_kill_changes_nothing(rollout: Run, services: SimpleNamespace) -> None:
    rehearsed = rollout("kill", GENERATION, "--reason", "rehearsal", "--dry-run")
    assert rehearsed.stderr.startswith("would be: ")
    assert services.features.get(GENERATION)["killed"] is False


def test_a_rule_that_refuses_exits_with_three_and_says_what_to_do(rollout: Run) -> None:
    refused = rollout("features", "revive", GENERATION, "--reason", "why not")
    assert refused.exit_code == 3
    assert "is not killed for everyone" in refused.stderr
    assert rollout("kill", "image-painting", "--reason", "x").exit_code == 3
    assert rollout("kill", GENERATION).exit_code == 2


def test_features_are_listed(rollout: Run) -> None:
    lines = rollout("features", "list").stdout.splitlines()
    assert lines[0].split() == ["FEATURE", "KILLED", "PHASE", "PHASE_STATE"]
    assert lines[1].split() == [GENERATION, "no", "private_beta", "running"]
    assert len(json.loads(rollout("features", "list", "--json").stdout)) == 2


def test_a_plan_is_moved_by_command(rollout: Run, services: SimpleNamespace) -> None:
    moved = rollout("plans", "advance", GENERATION, "--to", "general_availability", "--reason", "launch")
    assert moved.exit_code == 0
    assert (
        moved.stderr == f"{GENERATION} in general_availability: 2 tenants gain access, 0 lose it (of all)\n"
    )
    assert (
        json.loads(rollout("plans", "rollback", GENERATION, "--reason", "no", "--json").stdout)["version"]
        == 3
    )
    assert rollout("plans", "pause", GENERATION, "--reason", "wait").exit_code == 0
    assert rollout("plans", "advance", GENERATION, "--reason", "go").exit_code == 3
    assert rollout("plans", "resume", GENERATION, "--reason", "go on").exit_code == 0
    assert services.plans.get(GENERATION)["run"]["phase"] == "percentage_50"


def test_plans_are_listed_and_shown(rollout: Run) -> None:
    assert rollout("plans", "list").stdout.splitlines()[1].split()[:3] == [
        GENERATION,
        "private_beta",
        "running",
    ]
    assert "wider_beta" in rollout("plans", "show", GENERATION).stdout
    assert json.loads(rollout("plans", "show", GENERATION, "--json").stdout)["run"]["run"] == 1


def test_a_plan_is_written_by_command(rollout: Run, services: SimpleNamespace, tmp_path: Path) -> None:
    patch = {"phases": {"percentage": {"audience": {"basis_points": 1250}}}}
    edited = rollout("plans", "set", GENERATION, "--patch", json.dumps(patch), "--reason", "slower", "--json")
    assert json.loads(edited.stdout)["phases"][3]["audience"]["basis_points"] == 1250
    content = tmp_path / "plan.json"
    shown = json.loads(rollout("plans", "show", GENERATION, "--json").stdout)
    content.write_text(json.dumps({**shown, "phases": shown["phases"][:-1]}))
    assert (
        rollout("plans", "set", GENERATION, "--file", str(content), "--reason", "no end yet").exit_code == 0
    )
    assert services.plans.get(GENERATION)["phases"][-1]["key"] == "percentage_50"
    locked = rollout("plans", "set", GENERATION, "--patch", '{"phases": {"internal": null}}', "--reason", "x")
    assert locked.exit_code == 3
    assert "internal is open: it cannot be removed. (phases.internal)" in locked.stderr
    for wrong in (["--patch", "{"], ["--patch", "[]"], [], ["--patch", "{}", "--file", str(content)]):
        assert rollout("plans", "set", GENERATION, *wrong, "--reason", "x").exit_code == 2


def test_a_plan_jumps_and_begins_anew_by_command(rollout: Run, services: SimpleNamespace) -> None:
    jumped = rollout("plans", "jump", GENERATION, "general_availability", "--reason", "launch")
    assert (
        jumped.stderr == f"{GENERATION} in general_availability: 2 tenants gain access, 0 lose it (of all)\n"
    )
    restarted = rollout("plans", "restart", GENERATION, "--patch", '{"title": "For all"}', "--reason", "anew")
    assert restarted.exit_code == 0
    assert services.plans.get(GENERATION)["phases"][-1]["title"] == "For all"


def test_with_four_eyes_a_command_says_that_its_step_waits(rollout: Run) -> None:
    rollout("plans", "set", GENERATION, "--patch", '{"four_eyes": true}', "--reason", "we are more now")
    waits = rollout("plans", "advance", GENERATION, "--reason", "ready", "--json")
    assert waits.stderr == f"advance of {GENERATION} waits for approval: {json.loads(waits.stdout)['id']}\n"


def test_plans_begin_from_templates(rollout: Run, services: SimpleNamespace) -> None:
    assert "partner_beta" in rollout("plans", "templates").stdout
    told = json.loads(rollout("plans", "templates", "--json").stdout)
    assert told[1]["phases"][0]["audience"] == {"kind": "percentage", "basis_points": 100}
    again = rollout("plans", "add", GENERATION, "--template", "percentage", "--reason", "again")
    assert (again.exit_code, "has a plan already" in again.stderr) == (3, True)
    with Changes(services.database).begin(ALICE, "make room") as change:
        for table in (plan, phase, phase_run):
            change.tx.execute(table.delete())
    begun = rollout(
        "plans", "add", GENERATION, "--template", "internal_first", "--four-eyes", "--reason", "begin"
    )
    assert begun.stderr == f"plan of {GENERATION} added\n"
    assert services.plans.get(GENERATION)["four_eyes"] is True


def test_why_a_tenant_is_out(rollout: Run, services: SimpleNamespace) -> None:
    told = rollout("explain", "globex").stdout
    assert told.startswith("Off: private_beta lets in tenants with a grant")
    assert "On with a grant." in told
    services.grants.add(ALICE, "globex", GENERATION, "partner")
    assert (
        json.loads(rollout("explain", "globex", GENERATION, "--json").stdout)["decision"]["allowed"] is True
    )
    assert "No plan" in rollout("explain", "globex", "image-analysis").stdout
    assert rollout("explain", "nobody").exit_code == 3


def test_why_a_tenant_was_out_at_a_time_past(rollout: Run, services: SimpleNamespace, clock: Any) -> None:
    clock.advance(86_400)
    services.grants.add(ALICE, "globex", GENERATION, "partner")
    assert rollout("explain", "globex").stdout.startswith("On: granted")
    then = rollout("explain", "globex", "--at", "2026-11-22T23:00:00+07:00")
    assert then.stdout.startswith("Off: private_beta lets in tenants with a grant")
    assert rollout("explain", "globex", "--at", "2026-11-22").exit_code == 3
    assert rollout("explain", "globex", "--at", "2027-11-22").exit_code == 3
