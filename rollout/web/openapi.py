"""`/openapi.json`: OpenAPI 3.1 from the app's routes and from the very models that validate and answer.

A route is described by its `@operation`; one without is left out. Everything else is derived: parameters from the path and the query
model, security from the kind of auth, the error envelope from the path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from rollout.web.operation import FORMS, Operation
from rollout.web.problems import surface_of

API_VERSION = "1"

Schema = dict[str, Any]
Schemas = Mapping[tuple[Any, JsonSchemaMode], Schema]

_SECURITY_SCHEMES: Mapping[str, Schema] = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "A tenant's key: rk_live_... or rk_test_...",
    },
    "apiKeyHeader": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
    "adminToken": {"type": "http", "scheme": "bearer", "description": "An admin token: ra_..."},
    "flagToken": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "A flag token: project:environment.secret",
    },
}
_SECURITY: Mapping[str | None, list[Schema]] = {
    None: [],
    "apiKey": [{"apiKey": []}, {"apiKeyHeader": []}],
    "apiKeyOrHandle": [{"apiKey": []}, {"apiKeyHeader": []}, {}],
    "adminToken": [{"adminToken": []}],
    "flagToken": [{"flagToken": []}],
}
_TAGS = (
    ("/v1/messages", "Anthropic drop-in"),
    ("/v1/", "OpenAI drop-in"),
    ("/api/v1/", "Partner API"),
    ("/api/", "Unleash drop-in"),
    ("/edge/", "Unleash drop-in"),
    ("/ofrep/", "OpenFeature (OFREP)"),
    ("/admin/api/v1/", "Admin API"),
    ("/", "Operations"),
)
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "schema": {"type": "string"},
    "description": "The ETag of the version that the change is based on.",
}
_MEMBERS: Schema = {
    "remedy": {"type": "string"},
    "retryable": {"type": "boolean"},
    "request_id": {"type": ["string", "null"]},
}
_TEXT: Schema = {"type": "string"}


def document(app: Flask, url: str) -> Schema:
    """The whole document; `url` is where the service is reached."""
    routes = [
        (rule, method, declared)
        for rule in app.url_map.iter_rules()
        for method, declared in _operations(app, rule)
    ]
    schemas, definitions = _schemas(declared for _, _, declared in routes)
    paths: dict[str, Schema] = {}
    for rule, method, declared in sorted(routes, key=lambda route: (route[0].rule, route[1])):
        paths.setdefault(_path(rule), {})[method] = _operation(rule, method, declared, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Phasegate", "version": API_VERSION},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": {**_ENVELOPES, **definitions},
            "responses": _ERRORS,
            "securitySchemes": dict(_SECURITY_SCHEMES),
        },
    }


def _operations(app: Flask, rule: Rule) -> Iterable[tuple[str, Operation]]:
    declared: Operation | None = getattr(app.view_functions[rule.endpoint], "operation", None)
    if declared is None or declared.auth.scheme == "session":  # pages for people are no part of the API
        return []
    methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
    return [(method.lower(), declared) for method in sorted(methods)]


def _schemas(operations: Iterable[Operation]) -> tuple[Schemas, dict[str, Schema]]:
    """A reference for each model and use of it, and what the references point to."""
    used: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for declared in operations:
        for model, mode in _models(declared):
            used[model, mode] = None
    references, rest = models_json_schema(list(used), ref_template="#/components/schemas/{model}")
    return references, rest.get("$defs", {})


def _models(declared: Operation) -> Iterable[tuple[type[BaseModel], Literal["validation", "serialization"]]]:
    if declared.body:
        yield declared.body, "validation"
    if declared.answer:
        yield declared.answer, "serialization"


def _operation(rule: Rule, method: str, declared: Operation, schemas: Schemas) -> Schema:
    tag = next(name for prefix, name in _TAGS if rule.rule.startswith(prefix))
    parameters = [*_path_parameters(rule), *_query_parameters(declared.query)]
    if method in ("put", "patch") and declared.auth.scheme == "adminToken":
        parameters.append(_IF_MATCH)
    described: Schema = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": declared.summary,
        "tags": [tag],
        "security": _SECURITY[declared.auth.scheme],
        "responses": {str(declared.status): _answer(declared, schemas), **_error_responses(rule.rule)},
    }
    if declared.auth.scheme:
        described["description"] = f"Needs {declared.auth.needs}."
    if parameters:
        described["parameters"] = parameters
    if content := _content(declared, schemas):
        described["requestBody"] = {"required": True, "content": content}
    return described


def _path(rule: Rule) -> str:
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)


def _path_parameters(rule: Rule) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in sorted(rule.arguments)
    ]


def _query_parameters(query: type[BaseModel] | None) -> list[Schema]:
    if query is None:
        return []
    schema = query.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in schema.get("properties", {}).items()
    ]


def _content(declared: Operation, schemas: Schemas) -> Schema:
    """The request's body by content type."""
    content: Schema = {media_type: {} for media_type in declared.raw_body}
    if declared.body:
        types = ("application/json", *FORMS) if declared.form else ("application/json",)
        content |= {media_type: {"schema": schemas[declared.body, "validation"]} for media_type in types}
    return content


def _answer(declared: Operation, schemas: Schemas) -> Schema:
    answer: Schema = {"description": declared.summary}
    if declared.answer:
        schema = schemas[declared.answer, "serialization"]
        answer["content"] = {"application/json": {"schema": schema}}
    return answer


def _error_responses(path: str) -> Schema:
    name = "OpenAIOrAnthropicError" if path.startswith("/v1/models") else _ERROR_OF[surface_of(path)]
    reference = {"$ref": f"#/components/responses/{name}"}
    return {"4XX": reference, "5XX": reference}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


_ENVELOPES: Mapping[str, Schema] = {
    "OpenAIError": _object(
        ["error"],
        error=_object(
            ["message", "type", "param", "code"],
            message=_TEXT,
            type=_TEXT,
            param={"type": ["string", "null"]},
            code=_TEXT,
            **_MEMBERS,
        ),
    ),
    "AnthropicError": _object(
        ["type", "error", "request_id"],
        type={"const": "error"},
        error=_object(
            ["type", "message", "details"],
            type=_TEXT,
            message=_TEXT,
            details=_object(["error_code"], error_code=_TEXT, **_MEMBERS),
        ),
        request_id={"type": ["string", "null"]},
    ),
    "UnleashError": _object(["message", "code"], message=_TEXT, code=_TEXT, **_MEMBERS),
    "OfrepError": _object(["errorCode", "errorDetails"], errorCode=_TEXT, errorDetails=_TEXT, key=_TEXT),
    "Problem": _object(
        ["type", "title", "status", "detail", "code"],
        type={"type": "string", "format": "uri-reference"},
        title=_TEXT,
        status={"type": "integer"},
        detail=_TEXT,
        code=_TEXT,
        message=_TEXT,
        param=_TEXT,
        **_MEMBERS,
    ),
}
_ERROR_OF = {
    "openai": "OpenAIError",
    "anthropic": "AnthropicError",
    "unleash": "UnleashError",
    "ofrep": "OfrepError",
    "native": "Problem",
}


def _error(media_type: str, *envelopes: str) -> Schema:
    references = [{"$ref": f"#/components/schemas/{name}"} for name in envelopes]
    schema = references[0] if len(references) == 1 else {"oneOf": references}
    return {
        "description": "An error. `code` says which; each has its page, /docs/errors/{code}.",
        "content": {media_type: {"schema": schema}},
    }


_ERRORS: Mapping[str, Schema] = {
    "OpenAIError": _error("application/json", "OpenAIError"),
    "AnthropicError": _error("application/json", "AnthropicError"),
    "OpenAIOrAnthropicError": _error("application/json", "OpenAIError", "AnthropicError"),
    "UnleashError": _error("application/json", "UnleashError"),
    "OfrepError": _error("application/json", "OfrepError"),
    "Problem": _error("application/problem+json", "Problem"),
}
