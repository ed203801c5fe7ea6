"""/openapi.json describes every route of the app, in a form that OpenAPI 3.1 tools can read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from rollout.app import create_app
from rollout.settings import Settings
from rollout.web.openapi import document
from rollout.wiring import build

OPERATION_MEMBERS = {
    "operationId",
    "summary",
    "description",
    "tags",
    "security",
    "parameters",
    "requestBody",
    "responses",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    home: Path = tmp_path_factory.mktemp("home")
    services = build(
        Settings.from_env({"ROLLOUT_HOME": str(home), "ROLLOUT_PUBLIC_URL": "https://gate.example"})
    )
    yield create_app(services)
    services.database.close()


@pytest.fixture(scope="module")
def described(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    found: dict[str, Any] = answer.get_json()
    return found


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "$ref":
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_route_and_method_is_described(app: Flask, described: dict[str, Any]) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("admin.pages.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == {(path, method) for path, method, _ in operations(described)}


def test_the_document_is_openapi_3_1(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1.")
    assert set(described) == {"openapi", "info", "servers", "paths", "components"}
    assert {"title", "version"} <= set(described["info"])
    assert described["servers"] == [{"url": "https://gate.example"}]
    for path, method, operation in operations(described):
        where = f"{method} {path}"
        assert path.startswith("/"), where
        assert method in {"get", "post", "put", "patch", "delete"}, where
        assert set(operation) <= OPERATION_MEMBERS, where
        assert {"4XX", "5XX"} < set(operation["responses"]), where
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5](\d\d|XX)", status), where
            assert "$ref" in response or response["description"], where
        for content in operation.get("requestBody", {}).get("content", {}):
            assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", content), where


def test_parameters_are_named_once_and_those_of_the_path_are_required(described: dict[str, Any]) -> None:
    for path, method, operation in operations(described):
        parameters = operation.get("parameters", [])
        names = [(one["in"], one["name"]) for one in parameters]
        assert len(names) == len(set(names)), (method, path)
        in_path = {one["name"] for one in parameters if one["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path)), (method, path)
        assert all(one["required"] for one in parameters if one["in"] == "path")
        assert all("schema" in one for one in parameters)


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    for reference in references(described):
        found: Any = described
        for part in reference.removeprefix("#/").split("/"):
            assert part in found, reference
            found = found[part]


def test_operation_ids_are_unique(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert sorted(names) == sorted(set(names))


def test_security_names_schemes_that_are_described(described: dict[str, Any]) -> None:
    schemes = described["components"]["securitySchemes"]
    for path, method, operation in operations(described):
        used = {name for alternative in operation["security"] for name in alternative}
        assert used <= set(schemes), (method, path)
        assert ("adminToken" in used) == path.startswith("/admin/"), (method, path)


def test_each_surface_promises_its_own_envelope(described: dict[str, Any]) -> None:
    def promised(path: str) -> str:
        operation = next(iter(described["paths"][path].values()))
        return str(operation["responses"]["4XX"]["$ref"]).rsplit("/", 1)[1]

    assert promised("/v1/images/generations") == "OpenAIError"
    assert promised("/v1/messages") == "AnthropicError"
    assert promised("/v1/models") == "OpenAIOrAnthropicError"
    assert promised("/api/frontend") == "UnleashError"
    assert promised("/ofrep/v1/evaluate/flags") == "OfrepError"
    assert promised("/api/v1/feedback") == promised("/admin/api/v1/tenants") == "Problem"


def test_what_a_route_validates_is_what_is_described(described: dict[str, Any]) -> None:
    feedback = described["paths"]["/api/v1/feedback"]["post"]
    body = feedback["requestBody"]["content"]
    assert set(body) == {"application/json", "application/x-www-form-urlencoded", "multipart/form-data"}
    schema = described["components"]["schemas"][body["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]]
    assert schema["required"] == ["rating"]
    assert schema["properties"]["rating"]["enum"] == ["up", "down"]
    assert {} in feedback["security"]
    usage = described["paths"]["/api/v1/usage"]["get"]["parameters"]
    assert {"from", "to", "by", "format"} == {one["name"] for one in usage}
    patch = described["paths"]["/admin/api/v1/feedback/{feedback_id}"]["patch"]["parameters"]
    assert {"If-Match"} == {one["name"] for one in patch if one["in"] == "header"}


def test_it_is_built_once_and_has_an_etag(app: Flask) -> None:
    client = app.test_client()
    first = client.get("/openapi.json")
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_building_it_twice_gives_the_same(app: Flask) -> None:
    assert document(app, "https://a.example") == document(app, "https://a.example")
