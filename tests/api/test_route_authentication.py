"""No route without a door-keeper: each asks for a key or a token, or stands in the list of public ones below."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.routing import Rule

from rollout.app import create_app
from rollout.settings import Settings
from rollout.web.operation import Operation
from rollout.wiring import build

PUBLIC = {
    "/",
    "/api/v1/images/<image_id>",
    "/docs",
    "/docs/errors",
    "/docs/errors/<code>",
    "/edge/validate",
    "/f/<handle>",
    "/healthz",
    "/ofrep/v1/events",
    "/openapi.json",
    "/readyz",
}
"""The front door, documentation, health, and what a signed address, a handle or a token in the body is the proof for."""

ENTRANCE = {"/admin/sign-in", "/admin/sign-in/link", "/admin/sign-out", "/admin/static/<name>"}
"""What the console shows to those who are not signed in: the way in, and its styles and scripts."""

BY_HANDLE = {"/api/v1/feedback", "/api/v1/feedback/<feedback_id>"}
"""What an end user may do with a signed feedback handle instead of a key."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    home: Path = tmp_path_factory.mktemp("home")
    services = build(Settings.from_env({"ROLLOUT_HOME": str(home)}))
    yield create_app(services)
    services.database.close()


def operations(app: Flask) -> list[tuple[Rule, Operation | None]]:
    rules = app.url_map.iter_rules()
    return [(rule, getattr(app.view_functions[rule.endpoint], "operation", None)) for rule in rules]


def rules_by_scheme(app: Flask) -> dict[str | None, list[Rule]]:
    found: dict[str | None, list[Rule]] = {}
    for rule, operation in operations(app):
        if operation is not None:
            found.setdefault(operation.auth.scheme, []).append(rule)
    return found


def test_every_route_is_declared(app: Flask) -> None:
    assert [str(rule) for rule, operation in operations(app) if operation is None] == []


def test_no_route_is_public_but_these(app: Flask) -> None:
    assert set(map(str, rules_by_scheme(app)[None])) == PUBLIC, (
        "give the route an auth, or say here what it proves"
    )


def test_a_handle_opens_these_routes_alone(app: Flask) -> None:
    assert set(map(str, rules_by_scheme(app)["apiKeyOrHandle"])) == BY_HANDLE


def test_admin_routes_want_an_admin_token_and_no_other_route_does(app: Flask) -> None:
    wants_token = {str(rule) for rule in rules_by_scheme(app)["adminToken"]}
    assert wants_token == {str(rule) for rule, _ in operations(app) if str(rule).startswith("/admin/api/")}


def test_a_stranger_at_the_console_is_sent_to_sign_in(app: Flask) -> None:
    client, led_elsewhere = app.test_client(), set()
    for rule in rules_by_scheme(app)["session"]:
        for method in (rule.methods or set()) & {"GET", "POST"}:
            values = {name: "advance" if name == "step" else "7" for name in rule.arguments}
            path = app.url_map.bind("localhost").build(rule.endpoint, values, method=method)
            answer = client.open(path, method=method)
            to_entrance = answer.status_code == 303 and (answer.location or "").startswith("/admin/sign-in?")
            if not (to_entrance or (method == "POST" and answer.status_code == 401)):
                led_elsewhere.add(str(rule))
    assert led_elsewhere == ENTRANCE


def test_a_stranger_learns_nothing_from_a_guarded_route(app: Flask) -> None:
    """Whatever the path, the query or the body: 401 comes first."""
    client, schemes = app.test_client(), rules_by_scheme(app)
    for rule in schemes["apiKey"] + schemes["adminToken"] + schemes.get("flagToken", []):
        for method in (rule.methods or set()) - {"OPTIONS"}:
            values = dict.fromkeys(rule.arguments, "7")
            path = app.url_map.bind("localhost").build(rule.endpoint, values, method=method)
            assert client.open(path, method=method).status_code == 401, (method, path)
