"""Whatever an import may hold, every door goes on: for the flag itself, and for all others beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from console import Visitor
from doors import ALICE, Door
from flask import Flask

from rollout.app import create_app
from rollout.core.flag_tokens import ALL_PROJECTS, Kind, NewFlagToken
from rollout.core.flags import PRODUCTION
from rollout.core.tenants import NewKey
from rollout.core.tokens import NewToken, Role
from rollout.services.registry import Services

ON: dict[str, Any] = {"enabled": True, "strategies": [{"name": "default"}]}
HOSTILE = ("../../admin", " lead/../x?y#z", "<b>\N{SNOWMAN}", "%2e%2e", "\u043a\u043b\u044e\u0447", "a\nb")


def shown(variant: dict[str, Any]) -> dict[str, Any]:
    return {**ON, "variants": [{"name": "a", "weight": 1000, **variant}]}


def narrowed(**members: Any) -> dict[str, Any]:
    return {"enabled": True, "strategies": [{"name": "default", **members}]}


ODD = {
    "strategies none": {"enabled": True},
    "strategies null": {"enabled": True, "strategies": None},
    "parts null": narrowed(parameters=None, constraints=None, segments=None, variants=None),
    "values none": narrowed(constraints=[{"contextName": "userId", "operator": "IN"}]),
    "lists null": {**ON, "variants": None, "dependencies": None, "project": None},
    "tags texts": {**ON, "tags": ["a", 5]},
    "tags text": {**ON, "tags": "a"},
    "payload broken": shown({"payload": {"type": "json", "value": "{"}}),
    "payload endless": shown({"payload": {"type": "number", "value": "1e999"}}),
    "payload strange": shown({"payload": {"type": "strange", "value": "x", "more": 1}}),
    "payload null": shown({"payload": None, "overrides": None, "stickiness": None}),
    **dict.fromkeys(HOSTILE, ON),
}
DOCUMENT = {"features": [{"name": name, **flag} for name, flag in ODD.items()]}


@pytest.fixture
def app(wired: Services) -> Flask:
    assert len(wired.imports.run(ALICE, DOCUMENT, "test").flags) == len(ODD)
    wired.state.refresh()
    return create_app(wired)


def token(services: Services, type_: Kind) -> dict[str, str]:
    new = NewFlagToken(type_, type_, PRODUCTION, ALL_PROJECTS, None)
    secret = services.flag_tokens.add(ALICE, new, "test").secret
    services.state.refresh()
    return {"Authorization": secret}


def test_sdks_get_all_of_it(app: Flask, wired: Services) -> None:
    sdk = {**token(wired, "client"), "Unleash-Client-Spec": "5.2.0"}
    client = app.test_client()
    features = client.get("/api/client/features", headers=sdk).get_json()["features"]
    known = {one["name"]: one for one in DOCUMENT["features"]}
    assert {one["name"]: one for one in features if one["name"] in known} == known
    for query in ("features?tag=a:b", "features?project=default", "delta", "features/tags%20text"):
        assert client.get(f"/api/client/{query}", headers=sdk).status_code == 200
    inline = client.get("/api/client/features", headers=token(wired, "client"))
    assert inline.status_code == 200


def test_frontends_and_openfeature_get_answers(app: Flask, wired: Services) -> None:
    client = app.test_client()
    toggles = client.get("/api/frontend", headers=token(wired, "frontend")).get_json()["toggles"]
    assert {*HOSTILE, "tags texts", "payload strange"} <= {one["name"] for one in toggles}
    key = wired.keys.add(ALICE, "acme", NewKey("test"), "test").secret
    wired.state.refresh()
    headers = {"Authorization": f"Bearer {key}"}
    every = client.post("/ofrep/v1/evaluate/flags", json={"context": {}}, headers=headers)
    assert every.status_code == 200
    for name in HOSTILE:
        path = f"/ofrep/v1/evaluate/flags/{quote(name, safe='')}"
        assert client.post(path, json={"context": {}}, headers=headers).status_code == 404
    assert not set(HOSTILE) & {one["key"] for one in every.get_json()["flags"]}


def test_operators_list_show_and_export_them(
    app: Flask, wired: Services, visit: Callable[[Role], Visitor]
) -> None:
    viewer = wired.tokens.add(ALICE, NewToken("viewer", "viewer"), "test").secret
    admin = Door(app.test_client(), "/admin/api/v1", str(viewer))
    for path in ("/flags", "/flags/export", "/flags/export?format=flagd"):
        assert admin.get(path)[0] == 200
    page = visit("viewer")
    for path in ("/admin/flags", "/admin/flags?format=csv", "/admin/flags/import"):
        assert page.get(path).status_code == 200
    for name in ODD.keys() - {"a\nb"}:
        address = f"/admin/flags/production/{quote(name, safe='')}"
        assert page.get(address).status_code == 200
        assert address in page.get("/admin/flags").text
