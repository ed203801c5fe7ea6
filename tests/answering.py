"""The doors by which frontends and OpenFeature's clients ask, in front of the nouns of `doors`; and flags to be asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from doors import ALICE, SECRET, wire
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from rollout.api import ofrep
from rollout.api.unleash import frontend
from rollout.core.flag_tokens import ALL_PROJECTS, NewFlagToken
from rollout.core.flags import PRODUCTION
from rollout.core.tenants import SCOPES, NewKey, Scope
from rollout.db.engine import Clock, Database
from rollout.db.tables import flag, segment
from rollout.services.admission import Admission
from rollout.services.changes import Changes
from rollout.services.flag_answers import FlagAnswers
from rollout.services.flag_metrics import FlagMetrics
from rollout.services.flag_tokens import FlagTokens
from rollout.web import admission, pages, polls, problems, requests

STREAMS = 2


def wire_answers(database: Database, clock: Clock) -> SimpleNamespace:
    services = wire(database, clock)
    state = services.state
    services.flag_tokens = FlagTokens(database, Changes(database), state, SECRET, services.new_id, clock)
    services.flag_metrics = FlagMetrics(database, state, clock)
    services.flag_answers = FlagAnswers(state, services.features, SECRET, clock)
    services.draining, services.clock = (lambda: False), clock
    return services


def application(services: SimpleNamespace) -> Flask:
    app = Flask("answering", static_folder=None)
    app.extensions["rollout"] = services
    for part in (requests, problems, pages):
        part.install(app)
    admission.install(app, Admission({"stream": STREAMS}))
    for routes in (frontend, ofrep):
        app.register_blueprint(routes.routes)
    polls.install(app, services)
    return app


def strategy(name: str = "default", **members: Any) -> dict[str, Any]:
    return {"name": name, "parameters": {}, "constraints": [], "segments": [], "variants": [], **members}


def rollout(percent: int, stickiness: str, **members: Any) -> dict[str, Any]:
    parameters = {"rollout": str(percent), "stickiness": stickiness, "groupId": "g"}
    return strategy("flexibleRollout", parameters=parameters, **members)


def constraint(field: str, operator: str, *values: str, **members: Any) -> dict[str, Any]:
    return {"contextName": field, "operator": operator, "values": list(values), **members}


def feature(name: str, *strategies: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A flag's document, on for everybody unless `strategies` say otherwise."""
    return {
        "name": name,
        "type": "release",
        "enabled": True,
        "project": "default",
        "stale": False,
        "impressionData": False,
        "strategies": list(strategies) or [strategy()],
        "variants": [],
        **members,
    }


def variant(name: str, weight: int = 1000, *, payload: tuple[str, str] | None = None, **members: Any) -> Any:
    carried = {"payload": {"type": payload[0], "value": payload[1]}} if payload else {}
    return {
        "name": name, "weight": weight, "weightType": "variable", "stickiness": "default", **carried, **members,
    }  # fmt: skip


def keep(
    services: SimpleNamespace, *features: dict[str, Any], environment: str = PRODUCTION, **segments: list[Any]
) -> None:
    """Flags as an import leaves them, whatever they are like, and segments by name, numbered from 1."""
    times = {"version": 1, "created_at": 0, "updated_at": 0}
    with Changes(services.database).begin(ALICE, "test") as change:
        for document in features:
            where = {"environment": environment, "name": document["name"], "project": document["project"]}
            change.tx.execute(sa.insert(flag).values(**where, document=document, **times))
        for number, (name, constraints) in enumerate(segments.items(), 1):
            document = {"id": number, "name": name, "constraints": constraints}
            change.tx.execute(sa.insert(segment).values(id=number, name=name, document=document, **times))
        change.record("flag.added", subject="flags", tenant=None, before=None, after={})
    services.state.refresh()


class OpenFeature:
    """A client that asks by OFREP, with a tenant's key."""

    def __init__(
        self, services: SimpleNamespace, tenant: str = "acme", scopes: tuple[Scope, ...] = SCOPES
    ) -> None:
        secret = services.keys.add(ALICE, tenant, NewKey("test", scopes=scopes), "test").secret
        services.state.refresh()
        self.client: FlaskClient = application(services).test_client()
        self.headers = {"Authorization": f"Bearer {secret}"}

    def one(self, name: str, **context: Any) -> TestResponse:
        return self.post(f"/{name}", {"context": context})

    def value(self, name: str, **context: Any) -> Any:
        answer = self.one(name, **context)
        assert answer.status_code == 200, answer.get_json()
        return answer.get_json().get("value")

    def all(self, query: str = "", headers: dict[str, str] | None = None, **context: Any) -> TestResponse:
        return self.post(query, {"context": context}, **(headers or {}))

    def values(self, **context: Any) -> dict[str, Any]:
        return {one["key"]: one.get("value") for one in self.all(**context).get_json()["flags"]}

    def post(self, path: str, body: Any, **headers: str) -> TestResponse:
        sent = {**self.headers, **headers}
        return self.client.post(f"/ofrep/v1/evaluate/flags{path}", json=body, headers=sent)


class Frontend:
    """A page that asks by Unleash's frontend API, with a frontend token."""

    def __init__(
        self,
        services: SimpleNamespace,
        tenant: str | None = "acme",
        *,
        environment: str = PRODUCTION,
        projects: tuple[str, ...] = ALL_PROJECTS,
        **wishes: Any,
    ) -> None:
        new = NewFlagToken("test", "frontend", environment, projects, tenant, **wishes)
        issued = services.flag_tokens.add(ALICE, new, "test")
        services.state.refresh()
        self.client: FlaskClient = application(services).test_client()
        self.token, self.headers = issued.token, {"Authorization": issued.secret}

    def get(self, query: str = "", **headers: str) -> TestResponse:
        return self.client.get(f"/api/frontend{query}", headers={**self.headers, **headers})

    def post(self, context: Any, **headers: str) -> TestResponse:
        return self.client.post(
            "/api/frontend", json={"context": context}, headers={**self.headers, **headers}
        )

    def on(self, **context: Any) -> dict[str, Any]:
        """The toggles that are on, by name."""
        answer = self.post(context)
        assert answer.status_code == 200, answer.get_json()
        return {toggle["name"]: toggle for toggle in answer.get_json()["toggles"]}
