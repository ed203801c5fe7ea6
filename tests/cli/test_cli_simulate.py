"""`rollout simulate`: what would change, on stdout, and nothing changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from doors import ALICE
from phases import wire_phases
from structlog.testing import capture_logs

from rollout.cli import simulate as module
from rollout.cli.context import refusals
from rollout.core.decisions import GENERATION
from rollout.db.engine import Database

Run = Callable[..., Result]


@pytest.fixture
def services(database: Database, clock: Any) -> SimpleNamespace:
    return wire_phases(database, clock)


@pytest.fixture
def simulate(services: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Run:
    @contextmanager
    def wired() -> Iterator[SimpleNamespace]:
        with capture_logs(), refusals():
            yield services

    monkeypatch.setattr(module, "wired", wired)
    return lambda *arguments: CliRunner().invoke(module.simulate, [GENERATION, *arguments])


def test_a_step_is_told_in_sentences_and_names(simulate: Run, services: SimpleNamespace) -> None:
    services.tenants.change(ALICE, "acme", {"attributes": {"program": "beta"}}, "joined")
    services.meters.add(
        ALICE, None, {"unit": "image", "period": "day", "cap": 50, "feature": GENERATION}, "for all"
    )
    told = simulate("--do", "advance")
    assert told.exit_code == 0
    assert told.stdout.splitlines()[:3] == [
        "image-generation in wider_beta: 1 tenants gain access, 0 lose it (of all)",
        "in 14 days: 0 requests, 0 images, $0.00 now, 0 requests, 0 images, $0.00 then",
        "image-generation-image-day: 0 of 50 image a day, fits",
    ]
    assert "acme" in told.stdout
    assert services.plans.get(GENERATION)["run"]["phase"] == "private_beta"


def test_what_if_phases_said_something_else(simulate: Run) -> None:
    everyone = json.dumps({"private_beta": {"audience": {"kind": "percentage", "basis_points": 10_000}}})
    late = json.dumps({"percentage": None, "percentage_50": None})
    assert "A share only grows" in simulate("--phases", everyone).stderr
    both = json.dumps({**json.loads(everyone), **json.loads(late)})
    found = json.loads(simulate("--phases", both, "--json").stdout)
    assert [one["tenant"] for one in found["changes"]] == ["acme", "globex"]
    assert "--limit 2" in simulate("--phases", both, "--limit", "1").stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 3),
        (("--do", "fly"), 2),
        (("--do", "jump"), 3),
        (("--do", "advance", "--days", "0"), 3),
        (("--phases", "[]"), 2),
        (("--do", "rollback", "--to", "percentage"), 3),
    ],
)
def test_what_cannot_be_ends_with_a_word_about_it(
    simulate: Run, arguments: tuple[str, ...], code: int
) -> None:
    told = simulate(*arguments)
    assert told.exit_code == code
    assert told.stderr
