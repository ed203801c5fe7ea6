"""The nouns of access wired on one database, and the doors in front of them: the partner's API and the admin's."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient

import admin
from rollout.api.native import access_requests, me
from rollout.core.audit import Actor
from rollout.core.decisions import GENERATION
from rollout.core.tenants import SCOPES, NewKey, Scope, Tenant
from rollout.core.tokens import NewToken, Role
from rollout.db.engine import Clock, Database, Tx
from rollout.services.access import Access
from rollout.services.audit import AuditLog
from rollout.services.catalogue import load_seed
from rollout.services.change_requests import ChangeRequests
from rollout.services.changes import Changes
from rollout.services.controller import Controller
from rollout.services.events import Events
from rollout.services.features import Features
from rollout.services.grants import Grants
from rollout.services.ids import new_id as random_id
from rollout.services.keys import Keys
from rollout.services.passwords import Passwords
from rollout.services.plans import Plans
from rollout.services.requests import Requests
from rollout.services.schedules import Schedules
from rollout.services.sessions import Sessions
from rollout.services.state import State
from rollout.services.switches import Holds, Switches
from rollout.services.tenants import Tenants
from rollout.services.tokens import Tokens
from rollout.services.users import Users
from rollout.services.vendors import Vendors
from rollout.services.workers import Workers
from rollout.settings import Settings
from rollout.web import pages, problems, requests

SECRET = b"a secret of at least 32 characters"
ALICE = Actor("token:alice", "admin", "req_alice")
BOB = Actor("token:bob", "editor", "req_bob")
ACME = Tenant("acme", "Acme Studios", "Asia/Jakarta")
GLOBEX = Tenant("globex", "Globex Media")


class NoHolds:
    """A ledger in which nothing runs."""

    def void_held(self, _tx: Tx, _feature: str, _tenant_id: str | None, _now: int) -> int:
        return 0

    def running(self, _tx: Tx, _feature: str, _tenant_id: str | None) -> int:
        return 0


def switches_of(database: Database, changes: Changes, holds: Holds, workers: Workers) -> Switches:
    return Switches(database, changes, Events(random_id), holds, workers, load_seed)


def wire(database: Database, clock: Clock) -> SimpleNamespace:
    """Services with the tenants acme and globex, and the plan of image generation at private_beta."""
    changes, new_id = Changes(database), counting_ids()
    state = State(database, SECRET, clock=clock, monotonic=clock)
    passwords = Passwords(cheap_hasher)
    plans = Plans(database, changes, state.catalogue, new_id)
    change_requests = ChangeRequests(database, changes, plans, new_id)
    switches = switches_of(database, changes, NoHolds(), Workers(database))
    services = SimpleNamespace(
        settings=Settings(),
        database=database,
        state=state,
        tenants=Tenants(database, changes),
        keys=Keys(database, changes, SECRET, new_id),
        tokens=Tokens(database, changes, SECRET, new_id, clock),
        users=Users(database, changes, SECRET, new_id, passwords),
        sessions=Sessions(database, SECRET, clock, passwords),
        new_id=new_id,
        grants=Grants(database, changes, new_id),
        access=Access(database, changes, new_id),
        audit=AuditLog(database),
        requests=Requests(database, clock, state.catalogue, retention_days=30),
        plans=plans,
        change_requests=change_requests,
        schedules=Schedules(database, changes, plans, new_id),
        controller=Controller(database, changes, change_requests),
        switches=switches,
        features=Features(database, state, switches, clock=clock),
        vendors=Vendors(database, switches, state.catalogue),
    )
    for tenant in (ACME, GLOBEX):
        services.tenants.add(ALICE, tenant, "seed")
    with changes.begin(ALICE, "seed") as change:
        services.plans.ensure_plan(change, GENERATION, "private_beta")
    state.refresh()
    return services


def cheap_hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def counting_ids() -> Callable[[str], str]:
    """Ids in the order of their making, even within a millisecond."""
    count = itertools.count(1)
    return lambda prefix: f"{prefix}_{next(count):06}"


class Door:
    """A client with a key or token; answers are `(status, body, headers)`."""

    def __init__(self, client: FlaskClient, prefix: str, secret: str) -> None:
        self._client, self._prefix = client, prefix
        self._authorization = {"Authorization": f"Bearer {secret}"}

    def get(self, path: str) -> tuple[int, Any, Any]:
        return self.send("GET", path)

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        return self.send("POST", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> tuple[int, Any, Any]:
        return self.send("PATCH", path, body, **headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        """Header names with `_` for `-`; a body of None is none."""
        sent = {**self._authorization, **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self._client.open(self._prefix + path, method=method, json=body, headers=sent)
        return answer.status_code, answer.get_json(), answer.headers


def application(services: SimpleNamespace) -> Flask:
    app = Flask("doors", static_folder=None)
    app.extensions["rollout"] = services
    requests.install(app)
    problems.install(app)
    pages.install(app)
    for routes in (me, access_requests):
        app.register_blueprint(routes.routes)
    app.register_blueprint(admin.create_blueprint())
    return app


def admin_door(services: SimpleNamespace, name: str = "alice", role: Role = "admin") -> Door:
    issued = services.tokens.add(ALICE, NewToken(name, role), "test")
    return Door(application(services).test_client(), "/admin/api/v1", issued.secret)


def partner_door(services: SimpleNamespace, tenant_id: str, scopes: tuple[Scope, ...] = SCOPES) -> Door:
    issued = services.keys.add(ALICE, tenant_id, NewKey("test", scopes=scopes), "test")
    return Door(application(services).test_client(), "/api/v1", issued.secret)
