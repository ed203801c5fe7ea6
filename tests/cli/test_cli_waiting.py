"""`rollout schedules` and `rollout change-requests`: data on stdout, one sentence on stderr, exit 3 when a rule refuses."""

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
from structlog.testing import capture_logs

from rollout.cli import change_requests as change_requests_module
from rollout.cli import plans as plans_module
from rollout.cli import schedules as schedules_module
from rollout.cli.context import refusals
from rollout.core.decisions import GENERATION
from rollout.core.steps import Advance, Edit, Restart
from rollout.db.engine import Database

Run = Callable[..., Result]

COMMANDS: dict[str, click.Command] = {
    "change-requests": change_requests_module.change_requests,
    "plans": plans_module.plans,
    "schedules": schedules_module.schedules,
}
WHY = ("--reason", "as agreed")
LATER = "2026-11-22T19:00:00+07:00"
"""Noon at which the test's clock stands, for who reads it in UTC; a second later is ahead."""


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire(database, clock)


@pytest.fixture
def rollout(services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`rollout("schedules", "list", ...)` on the test's database."""

    @contextmanager
    def wired() -> Iterator[SimpleNamespace]:
        with capture_logs(), refusals():
            yield services

    for module in (change_requests_module, plans_module, schedules_module):
        monkeypatch.setattr(module, "wired", wired)
    return lambda noun, *arguments: CliRunner().invoke(COMMANDS[noun], list(arguments))


@pytest.fixture
def filed(services: SimpleNamespace) -> str:
    """An advance that Alice filed under four eyes."""
    services.change_requests.submit(ALICE, GENERATION, Edit({"four_eyes": True}), "two people")
    request = services.change_requests.submit(ALICE, GENERATION, Advance(), "ready").change_request
    return str(request["id"])


def test_a_step_is_scheduled_listed_and_cancelled(rollout: Run) -> None:
    assert "No schedules. Write one: rollout schedules add" in rollout("schedules", "list").stdout
    patch = '{"phases": {"percentage": {"title": "A tenth"}}}'
    added = rollout("schedules", "add", GENERATION, "2026-12-01", "edit", "--patch", patch, *WHY, "--json")
    assert added.exit_code == 0
    written = json.loads(added.stdout)
    assert (written["at"], written["step"]["do"]) == ("2026-12-01T00:00:00Z", "edit")
    assert added.stderr == f"edit of {GENERATION} scheduled for 2026-12-01T00:00:00Z: {written['id']}\n"
    listed = json.loads(rollout("schedules", "list", "--state", "pending", "--json").stdout)
    assert [one["id"] for one in listed] == [written["id"]]
    assert json.loads(rollout("plans", "show", GENERATION, "--json").stdout)["schedules"] == listed
    tried = rollout("schedules", "cancel", written["id"], *WHY, "--dry-run")
    assert tried.stderr == f"would be: schedule {written['id']} cancelled\n"
    assert rollout("schedules", "cancel", written["id"], *WHY).exit_code == 0
    shown = json.loads(rollout("schedules", "show", written["id"], "--json").stdout)
    assert (shown["state"], shown["outcome"]) == ("cancelled", "as agreed")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((LATER, "advance"), 3, "at must lie in the future"),
        (("2026-12-01", "jump"), 3, "needs `to`"),
        (("2026-12-01", "advance", "--to", "nowhere"), 3, "has no phase"),
        (("2026-12-01", "dance"), 2, "dance"),
        (("soon", "advance"), 2, "soon"),
        (("2026-12-01", "edit", "--patch", "{"), 2, "is not JSON"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(
    rollout: Run, services: SimpleNamespace, arguments: tuple[str, ...], code: int, said: str
) -> None:
    refused = rollout("schedules", "add", GENERATION, *arguments, *WHY)
    assert refused.exit_code == code
    assert said in refused.stderr
    assert services.schedules.open_of(GENERATION) == []


def test_what_waits_is_listed_and_approved_by_its_id_or_its_feature(
    rollout: Run, services: SimpleNamespace, filed: str
) -> None:
    assert filed in rollout("change-requests", "list").stdout
    services.change_requests.reject(ALICE, filed, "first another")
    assert "Nothing waits for approval" in rollout("change-requests", "list").stdout
    again = services.change_requests.submit(ALICE, GENERATION, Advance(), "ready").change_request["id"]
    tried = rollout("change-requests", "approve", GENERATION, *WHY, "--dry-run")
    assert tried.stderr == f"would be: {again} approved and done\n"
    saw = ("--content-hash", services.change_requests.get(again)["content_hash"])
    approved = rollout("change-requests", "approve", again, *saw, *WHY, "--json")
    assert json.loads(approved.stdout)["state"] == "applied"
    assert approved.stderr == f"{again} approved and done\n"
    assert services.plans.get(GENERATION)["run"]["phase"] == "wider_beta"
    everything = json.loads(rollout("change-requests", "list", "--state", "all", "--json").stdout)
    assert [one["id"] for one in everything] == [again, filed]


def test_a_plan_says_what_it_waits_for(rollout: Run, services: SimpleNamespace) -> None:
    gate = Restart({"exit": {"requests": 3}})
    services.change_requests.submit(ALICE, GENERATION, gate, "with a gate")
    shown = rollout("plans", "show", GENERATION)
    assert shown.stderr == "no_data: private_beta needs 3 more requests.\n"


def test_a_wrong_hash_and_somebody_elses_withdrawal_are_refused(rollout: Run, filed: str) -> None:
    stale = rollout("change-requests", "approve", filed, "--content-hash", "0" * 64, *WHY)
    assert (stale.exit_code, "not what waits" in stale.stderr) == (3, True)
    assert rollout("change-requests", "withdraw", filed, *WHY).exit_code == 3
    assert rollout("change-requests", "reject", filed, *WHY).stderr == f"{filed} rejected\n"
    assert json.loads(rollout("change-requests", "show", filed, "--json").stdout)["state"] == "rejected"


def test_a_step_by_command_under_four_eyes_says_that_it_waits(
    rollout: Run, services: SimpleNamespace
) -> None:
    services.change_requests.submit(ALICE, GENERATION, Edit({"four_eyes": True}), "two people")
    waits = rollout("plans", "jump", GENERATION, "percentage", *WHY)
    (request,) = services.change_requests.page(feature=None, state="waiting", before=None, limit=9)
    assert waits.exit_code == 0
    assert waits.stderr == f"jump of {GENERATION} waits for approval: {request['id']}\n"
    own = rollout("change-requests", "approve", request["id"], *WHY)
    assert (own.exit_code, "own change" in own.stderr) == (3, True)
    assert rollout("change-requests", "withdraw", request["id"], *WHY).exit_code == 0
