"""`rollout holds show | settle | void`: what is known of a doubt, and every way to end it wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from doors import wire
from ledgers import ledger_on, request
from structlog.testing import capture_logs

from rollout.cli import holds as holds_module
from rollout.cli.context import refusals
from rollout.core.meters import MAX_AMOUNT
from rollout.db.engine import Database
from rollout.services.ledger import Ledger

Run = Callable[..., Result]


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return ledger_on(database)


@pytest.fixture
def rollout(ledger: Ledger, database: Database, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    services = wire(database, clock)
    services.ledger = ledger

    @contextmanager
    def wired() -> Iterator[SimpleNamespace]:
        with capture_logs(), refusals():
            yield services

    monkeypatch.setattr(holds_module, "wired", wired)
    return lambda *arguments: CliRunner().invoke(holds_module.holds, [str(one) for one in arguments])


@pytest.fixture
def unknown(ledger: Ledger) -> str:
    with ledger.hold(request()) as held:
        held.unknown("OutcomeUnknown: cut")
    return held.id


def test_a_doubt_is_shown_with_its_evidence_and_what_ends_it(rollout: Run, unknown: str) -> None:
    shown = json.loads(rollout("show", unknown, "--json").stdout)
    assert (shown["on_unknown"], shown["evidence"][0]["found"]) == ("charge", "OutcomeUnknown: cut")
    assert "OutcomeUnknown: cut" in rollout("show", unknown).stdout


def test_more_than_was_reserved_is_charged_and_flagged(rollout: Run, unknown: str) -> None:
    ended = rollout("settle", unknown, "--cost-usd-micro", 90_000, "--reason", "their invoice", "--json")
    assert json.loads(ended.stdout)["evidence"][-1]["flag"] == "estimate_exceeded"


@pytest.mark.parametrize("second", ["settle", "void"])
def test_who_comes_second_sees_what_the_first_did(rollout: Run, unknown: str, second: str) -> None:
    assert rollout("settle", unknown, "--reason", "I was first").exit_code == 0
    refused = rollout(second, unknown, "--reason", "me too")
    assert refused.exit_code == 3
    assert "The hold is settled; only an unknown one is ended by hand." in refused.stderr
    assert "I was first" in refused.stderr


@pytest.mark.parametrize(
    ("cost", "code"), [(-1, 3), (MAX_AMOUNT + 1, 3), (2**70, 3), ("much", 2), ("1.5", 2)]
)
def test_a_cost_that_is_none_ends_nothing(
    rollout: Run, ledger: Ledger, unknown: str, cost: object, code: int
) -> None:
    refused = rollout("settle", unknown, f"--cost-usd-micro={cost}", "--reason", "try")
    assert refused.exit_code == code
    assert "cost" in refused.stderr
    assert ledger.get_hold(unknown).state == "unknown"


def test_a_hold_that_is_not_there_is_not_found(rollout: Run) -> None:
    for verb in (("show",), ("settle", "--reason", "try"), ("void", "--reason", "try")):
        refused = rollout(*verb, "hold_nothing")
        assert refused.exit_code == 3
        assert "There is no hold 'hold_nothing'." in refused.stderr


def test_a_dry_run_ends_nothing(rollout: Run, ledger: Ledger, unknown: str) -> None:
    for verb in ("settle", "void"):
        assert rollout(verb, unknown, "--reason", "try", "--dry-run").exit_code == 0
    hold = ledger.get_hold(unknown)
    assert (hold.state, len(hold.evidence)) == ("unknown", 1)
