"""`rollout meters` and `rollout holds`: data on stdout, one sentence on stderr, exit 3 when a rule refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from doors import wire
from ledgers import ledger_on, request
from structlog.testing import capture_logs

from rollout.cli import holds as holds_module
from rollout.cli import meters as meters_module
from rollout.cli.context import refusals
from rollout.core.decisions import GENERATION
from rollout.db.engine import Database
from rollout.providers.base import OutcomeUnknown
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.meters import Meters

Run = Callable[..., Result]

COMMANDS: dict[str, click.Command] = {"meters": meters_module.meters, "holds": holds_module.holds}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    made = wire(database, clock)
    made.meters = Meters(database, Changes(database), new_id)
    made.ledger = ledger_on(database)
    return made


@pytest.fixture
def rollout(services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`rollout("meters", "list", ...)` on the test's database."""

    @contextmanager
    def wired() -> Iterator[SimpleNamespace]:
        with capture_logs(), refusals():
            yield services

    for module in (meters_module, holds_module):
        monkeypatch.setattr(module, "wired", wired)
    return lambda noun, *arguments: CliRunner().invoke(COMMANDS[noun], [str(one) for one in arguments])


def test_a_meter_is_added_changed_and_revoked_by_name(rollout: Run) -> None:
    assert "nothing is limited" in rollout("meters", "list").stdout
    added = rollout(
        "meters", "add", "acme", GENERATION, "image", "day", 3, "--reason", "beta quota", "--json"
    )
    assert (added.exit_code, added.stderr) == (0, "meter image-day of acme added\n")
    assert json.loads(added.stdout)["cap"] == 3

    changed = rollout(
        "meters", "set", "acme", "image-day", "--cap", 5, "--soft", "--reason", "more", "--json"
    )
    assert (json.loads(changed.stdout)["cap"], json.loads(changed.stdout)["hard"]) == (5, False)
    assert json.loads(rollout("meters", "show", "acme", "image-day", "--json").stdout)["cap"] == 5
    assert [
        row["name"] for row in json.loads(rollout("meters", "list", "--tenant", "acme", "--json").stdout)
    ] == ["image-day"]

    revoked = rollout("meters", "revoke", "acme", "image-day", "--reason", "done")
    assert revoked.stderr == "meter image-day of acme archived\n"
    assert rollout("meters", "show", "acme", "image-day").exit_code == 3


def test_a_meter_over_all_features_only_watches(rollout: Run) -> None:
    added = rollout("meters", "add", "acme", "all", "usd_micro", "month", 9, "--reason", "to watch", "--json")
    made = json.loads(added.stdout)
    assert (made["feature"], made["level"], made["hard"]) == (None, "tenant", False)


def test_a_dry_run_of_a_meter_keeps_nothing(rollout: Run, services: SimpleNamespace) -> None:
    tried = rollout("meters", "add", "acme", GENERATION, "image", "day", 3, "--reason", "try", "--dry-run")
    assert tried.stderr == "would be: meter image-day of acme added\n"
    assert services.meters.page(tenant=None, after=None, limit=9) == []


def test_what_a_rule_refuses_names_the_field(rollout: Run) -> None:
    refused = rollout("meters", "add", "acme", "image-dreaming", "image", "day", 3, "--reason", "try")
    assert refused.exit_code == 3
    assert "(feature)" in refused.stderr
    assert rollout("meters", "add", "acme", GENERATION, "image", "week", 3, "--reason", "try").exit_code == 2


def test_an_unknown_hold_is_found_shown_and_ended(rollout: Run, services: SimpleNamespace) -> None:
    assert (
        rollout("holds", "list").stdout
        == "No hold is open. Other states: --state unknown, --state settled, --state void.\n"
    )
    ids = []
    for _ in range(2):
        with pytest.raises(OutcomeUnknown), services.ledger.hold(request()) as held:
            raise OutcomeUnknown("time-out")
        ids.append(held.id)
    listed = rollout("holds", "list", "--tenant", "acme")
    assert all(hold_id in listed.stdout for hold_id in ids)
    assert [hold["id"] for hold in json.loads(rollout("holds", "list", "--json").stdout)] == ids[::-1]
    assert json.loads(rollout("holds", "show", ids[0], "--json").stdout)["state"] == "unknown"

    settled = rollout("holds", "settle", ids[0], "--cost-usd-micro", 9, "--reason", "invoice", "--json")
    assert json.loads(settled.stdout)["cost_usd_micro"] == 9
    voided = rollout("holds", "void", ids[1], "--reason", "it never ran")
    assert (voided.exit_code, voided.stderr) == (0, f"hold {ids[1]} void\n")
    assert rollout("holds", "void", ids[1], "--reason", "again").exit_code == 3
    assert rollout("holds", "list", "--state", "lost").exit_code == 3
