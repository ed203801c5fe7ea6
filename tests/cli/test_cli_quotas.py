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
from ledgers import RESULT, actual, ledger_on, request
from structlog.testing import capture_logs

from rollout.cli import alerts as alerts_module
from rollout.cli import holds as holds_module
from rollout.cli import meters as meters_module
from rollout.cli.context import refusals
from rollout.core.decisions import GENERATION
from rollout.core.meters import end_user_subject
from rollout.db.engine import Database
from rollout.providers.base import OutcomeUnknown
from rollout.services.alerts import Alerts
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.meters import Meters

Run = Callable[..., Result]

COMMANDS: dict[str, click.Command] = {
    "meters": meters_module.meters,
    "alerts": alerts_module.alerts,
    "holds": holds_module.holds,
}


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    made = wire(database, clock)
    made.meters = Meters(database, Changes(database), new_id)
    made.alerts = Alerts(database)
    made.ledger = ledger_on(database)
    return made


@pytest.fixture
def rollout(services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`rollout("meters", "list", ...)` on the test's database."""

    @contextmanager
    def wired() -> Iterator[SimpleNamespace]:
        with capture_logs(), refusals():
            yield services

    for module in (meters_module, alerts_module, holds_module):
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


def test_a_cap_is_planned_and_dropped_and_the_time_zone_changes_by_command(rollout: Run) -> None:
    rollout("meters", "add", "acme", GENERATION, "image", "day", 3, "--reason", "beta quota")
    planned = rollout(
        "meters", "set", "acme", "image-day", "--cap", 9, "--at", "2026-12-01", "--until", "2026-12-02",
        "--tz", "UTC", "--threshold", 90, "--reason", "launch", "--json",
    )  # fmt: skip
    shown = json.loads(planned.stdout)
    assert shown["scheduled"] == [
        {"at": "2026-12-01T00:00:00Z", "cap": 9}, {"at": "2026-12-02T00:00:00Z", "cap": 3},
    ]  # fmt: skip
    assert (shown["zones"], shown["thresholds"]) == ([{"since": "2026-11-22T17:00:00Z", "tz": "UTC"}], [90])
    dropped = rollout("meters", "set", "acme", "image-day", "--unplan", "--reason", "no launch", "--json")
    assert json.loads(dropped.stdout)["scheduled"] == []
    late = rollout("meters", "set", "acme", "image-day", "--cap", 9, "--at", "2026-01-01", "--reason", "late")
    assert (late.exit_code, "(effective_at)" in late.stderr) == (3, True)


def test_a_cap_below_what_is_used_says_what_follows(rollout: Run, services: SimpleNamespace) -> None:
    rollout("meters", "add", "acme", GENERATION, "image", "day", 3, "--reason", "beta quota")
    known = services.state.fresh_facts("acme")
    with services.ledger.hold(request(*known.meters, images=3, meter_rev=known.meter_rev)) as held:
        said = rollout("meters", "set", "acme", "image-day", "--cap", 2, "--reason", "less")
        held.void("for the test")
    assert said.exit_code == 0
    assert "3 of 2 are used or held: nothing is cancelled" in said.stderr


def test_what_all_tenants_share_has_a_hyphen_for_a_tenant(rollout: Run) -> None:
    added = rollout(
        "meters", "add", "-", GENERATION, "usd_micro", "month", 5_000_000, "--reason", "our budget"
    )
    assert "meter image-generation-money-month of all tenants added" in added.stderr
    assert "image-generation-money-month" in rollout("meters", "list", "--tenant", "-").stdout
    shown = json.loads(rollout("meters", "show", "-", "image-generation-money-month", "--json").stdout)
    assert (shown["tenant"], shown["windows"][0]["cap"]) == (None, 5_000_000)
    assert rollout("meters", "revoke", "-", "money", "--reason", "?").exit_code == 3


def test_a_meter_of_each_end_user_shows_who_uses_most(rollout: Run, services: SimpleNamespace) -> None:
    of_each = ("--level", "end_user", "--name", "user-day", "--reason", "fair shares")
    rollout("meters", "add", "acme", GENERATION, "image", "day", 3, *of_each)
    assert "Nobody has used it" in rollout("meters", "show", "acme", "user-day").stdout
    known = services.state.fresh_facts("acme")
    asked = request(*known.meters, images=3, meter_rev=known.meter_rev, end_user="ana")
    with services.ledger.hold(asked) as held:
        held.settle(actual(3), RESULT)
    assert end_user_subject("acme", "ana") in rollout("meters", "show", "acme", "user-day").stdout
    told = json.loads(rollout("alerts", "list", "--tenant", "acme", "--json").stdout)
    assert [(one["name"], one["threshold"]) for one in told] == [
        ("user-day", 100), ("user-day", 80), ("user-day", 50),
    ]  # fmt: skip
    assert "No window was nearly full." in rollout("alerts", "list", "--since", "2027-01-01").stdout
