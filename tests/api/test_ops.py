"""Probes and the front door."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from doors import SECRET
from flask import Flask
from flask.testing import FlaskClient

from rollout.api import ops
from rollout.db.engine import Database
from rollout.errors import LedgerUnavailable
from rollout.providers.base import BadCredential, NotSent
from rollout.services.breakers import Breakers
from rollout.services.state import MAX_AGE, State
from rollout.web import pages, problems, requests


class Probed:
    """An app of probes over one database; `draining` and `away` say what happens to it."""

    def __init__(self, database: Database, clock: Any) -> None:
        self.draining = self.away = False
        self.state = State(database, SECRET, clock=clock, monotonic=clock)
        self.breakers = Breakers(clock, failures=1)
        self._database = database
        app = Flask("probed", static_folder=None)
        app.extensions["rollout"] = SimpleNamespace(
            database=self, state=self.state, breakers=self.breakers, draining=lambda: self.draining
        )
        requests.install(app)
        problems.install(app)
        pages.install(app)
        app.register_blueprint(ops.routes)
        self.client: FlaskClient = app.test_client()

    def read(self) -> Any:
        if self.away:
            raise LedgerUnavailable()
        return self._database.read()

    def now(self, tx: Any) -> int:
        return self._database.now(tx)

    def ready(self) -> tuple[int, Any]:
        answer = self.client.get("/readyz")
        return answer.status_code, answer.get_json()


@pytest.fixture
def probed(database: Database, clock: Any) -> Probed:
    return Probed(database, clock)


def test_alive_asks_nobody(probed: Probed) -> None:
    probed.away = True
    answer = probed.client.get("/healthz")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "alive"})


def test_a_worker_is_not_ready_before_its_flags_are_loaded(probed: Probed) -> None:
    status, body = probed.ready()
    assert (status, body["status"], body["flags_age_seconds"]) == (503, "starting", None)
    probed.state.refresh()
    assert probed.ready() == (
        200,
        {
            "status": "ready",
            "degraded": [],
            "flags_age_seconds": 0.0,
            "revision": 1,
            "workers": {"running": 0, "behind": 0, "gone": 0},
            "vendors": {},
        },
    )


def test_without_database_and_with_old_flags_a_worker_is_degraded_but_ready(
    probed: Probed, clock: Any
) -> None:
    probed.state.refresh()
    clock.advance(MAX_AGE + 1)
    assert probed.ready()[1]["degraded"] == ["flags"]
    probed.away = True
    status, body = probed.ready()
    assert (status, body["status"], body["degraded"]) == (200, "degraded", ["database", "flags"])
    assert (body["flags_age_seconds"], body["workers"]) == (MAX_AGE + 1, None)


def test_a_draining_worker_takes_no_more(probed: Probed) -> None:
    probed.state.refresh()
    probed.draining = True
    status, body = probed.ready()
    assert (status, body["status"]) == (503, "draining")
    assert probed.client.get("/healthz").status_code == 200


def test_the_front_door_leads_to_the_documentation(probed: Probed) -> None:
    answer = probed.client.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/docs")


def test_vendors_in_trouble_are_named_and_the_worker_goes_on(probed: Probed) -> None:
    probed.state.refresh()
    for vendor, error in (("openai", NotSent("refused")), ("gemini", BadCredential("no"))):
        with suppress(NotSent, BadCredential), probed.breakers.watching(vendor):
            raise error
    status, body = probed.ready()
    assert (status, body["status"], body["degraded"]) == (200, "degraded", ["vendors"])
    assert body["vendors"] == {"gemini": "account_refused", "openai": "open"}
