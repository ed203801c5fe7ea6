"""`rollout topups` and `rollout adjustments`: data on stdout, one sentence on stderr, exit 3 when a rule refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from doors import ALICE, wire
from ledgers import ledger_on
from structlog.testing import capture_logs

from rollout.cli import adjustments as adjustments_module
from rollout.cli import topups as topups_module
from rollout.cli.context import refusals
from rollout.core.decisions import GENERATION
from rollout.db.engine import Database
from rollout.services.adjustments import Adjustments
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.meters import Meters
from rollout.services.topups import TopUps

Run = Callable[..., Result]
COMMANDS: dict[str, click.Command] = {
    "topups": topups_module.topups,
    "adjustments": adjustments_module.adjustments,
}


@pytest.fixture
def rollout(database: Database, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`rollout("topups", "list", ...)` on the test's database, where acme has image-day."""
    services: SimpleNamespace = wire(database, clock)
    changes, ledger = Changes(database), ledger_on(database)
    services.meters = Meters(database, changes, new_id)
    services.topups = TopUps(database, changes, ledger, new_id)
    services.adjustments = Adjustments(database, changes, ledger, new_id)
    by_day = {"feature": GENERATION, "unit": "image", "period": "day", "cap": 3}
    services.meters.add(ALICE, "acme", by_day, "beta quota")

    @contextmanager
    def wired() -> Iterator[SimpleNamespace]:
        with capture_logs(), refusals():
            yield services

    for module in (topups_module, adjustments_module):
        monkeypatch.setattr(module, "wired", wired)
    return lambda noun, *arguments: CliRunner().invoke(COMMANDS[noun], [str(one) for one in arguments])


def test_a_top_up_is_given_by_the_meters_name_and_taken_back(rollout: Run) -> None:
    assert "No top-ups" in rollout("topups", "list").stdout
    words = ("topups", "add", "acme", "image-day", 50, "--id", "top_launch", "--reason", "launch week")
    tried = rollout(*words, "--dry-run")
    assert tried.stderr == "would be: top-up top_launch added\n"
    added = rollout(*words, "--expires", "2026-11-22T15:00:00Z", "--json")
    assert (added.exit_code, added.stderr) == (0, "top-up top_launch added\n")
    assert json.loads(added.stdout)["ends_at"] == "2026-11-22T15:00:00Z"
    again = rollout(*words, "--expires", "2026-11-22T15:00:00Z")
    assert (again.exit_code, again.stderr) == (0, "top-up top_launch was there already\n")
    other = rollout(*words)
    assert (other.exit_code, "(id)" in other.stderr) == (3, True)
    assert json.loads(rollout("topups", "list", "--tenant", "acme", "--json").stdout)[0]["amount"] == 50
    void = rollout("topups", "void", "top_launch", "--reason", "moved to April")
    assert (void.exit_code, void.stderr) == (0, "top-up top_launch void\n")
    assert json.loads(rollout("topups", "show", "top_launch", "--json").stdout)["voided_at"]


def test_use_is_adjusted_and_given_back(rollout: Run) -> None:
    assert "No adjustments" in rollout("adjustments", "list").stdout
    charged = rollout(
        "adjustments", "add", "acme", GENERATION, "image", 2, "--reason", "found", "--id", "adj_1"
    )
    assert (charged.exit_code, charged.stderr) == (0, "adjustment adj_1 added\n")
    back = rollout("adjustments", "add", "acme", GENERATION, "image", -1, "--reason", "blurred", "--json")
    assert (back.exit_code, json.loads(back.stdout)["amount"]) == (0, -1)
    refused = rollout("adjustments", "add", "acme", GENERATION, "image", -2, "--reason", "too much")
    assert refused.exit_code == 3
    assert "image-day" in refused.stderr
    assert json.loads(rollout("adjustments", "show", "adj_1", "--json").stdout)["reason"] == "found"
    assert len(json.loads(rollout("adjustments", "list", "--json").stdout)) == 2


@pytest.mark.parametrize("words", [("topups", "show", "top_x"), ("adjustments", "show", "adj_x")])
def test_what_is_not_there_is_refused(rollout: Run, words: tuple[str, ...]) -> None:
    assert rollout(*words).exit_code == 3
