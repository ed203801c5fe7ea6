"""The one place that renders an error, in three envelopes chosen by surface.

OpenAI `{"error": {message, type, param, code, ...}}` on `/v1`; Anthropic `{"type": "error", "error": {...}, "request_id"}` on `/v1/messages*`
and, on `/v1/models*`, for callers that send `anthropic-version`; RFC 9457 `application/problem+json` everywhere else.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson
import structlog
from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import HTTPException

from rollout.errors import (
    AtCapacity,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
    RolloutError,
    UnsupportedMediaType,
    UpstreamUnavailable,
)

Surface = Literal["openai", "anthropic", "native"]

log = structlog.get_logger()

OPENAI_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error", 409: "conflict_error"}
ANTHROPIC_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error", 409: "conflict_error",
    413: "request_too_large", 422: "invalid_request_error", 429: "rate_limit_error", 503: "overloaded_error", 529: "overloaded_error",
}  # fmt: skip
OVERLOADED = 529
"""What Anthropic's SDK takes for "come back in a moment"; on Messages it replaces 503 (PROVIDERS: healed in half a second)."""


def surface(req: Request) -> Surface:
    path = req.path
    if path.startswith("/v1/messages"):
        return "anthropic"
    if path.startswith("/v1/models") and "anthropic-version" in req.headers:
        return "anthropic"
    return "openai" if path.startswith("/v1/") else "native"


def install(app: Flask) -> None:
    """Make every error of this app come out in its surface's envelope."""
    app.register_error_handler(RolloutError, render)
    app.register_error_handler(HTTPException, _from_werkzeug)
    app.register_error_handler(Exception, _unexpected)


def render(error: RolloutError) -> Response:
    where = surface(request)
    status = _status(error, where)
    g.error_code = error.code
    response = Response(orjson.dumps(body(error, where)), status=status)
    response.content_type = "application/problem+json" if where == "native" else "application/json"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.should_retry is not None:
        response.headers["x-should-retry"] = "true" if error.should_retry else "false"
    response.headers.update(error.headers)
    if decision := error.members.get("decision_id"):
        response.headers["x-rollout-decision"] = decision
    return response


def body(error: RolloutError, where: Surface) -> dict[str, Any]:
    """The envelope as a JSON object; also what a failure inside a stream sends as its last event."""
    request_id = g.get("request_id")
    members = {"remedy": error.remedy_text, "retryable": error.retryable, "request_id": request_id, **error.members}
    if where == "anthropic":
        details = {"error_code": error.code, **members}
        inner = {"type": ANTHROPIC_TYPES.get(_status(error, where), "api_error"), "message": error.message, "details": details}
        return {"type": "error", "error": inner, "request_id": request_id}
    if where == "openai":
        kind = error.code if isinstance(error, QuotaExceeded) or error.http_status >= 500 else OPENAI_TYPES.get(error.http_status)
        inner = {"message": error.message, "type": kind or "invalid_request_error", "param": None, "code": error.code}
        return {"error": {**inner, **members}}
    page = {"type": f"/docs/errors/{error.code}", "title": error.default_message(), "status": error.http_status}
    return {**page, "detail": error.message, "code": error.code, "message": error.message, **members}


def _status(error: RolloutError, where: Surface) -> int:
    overloaded = isinstance(error, (AtCapacity, UpstreamUnavailable)) and error.http_status == 503
    return OVERLOADED if overloaded and where == "anthropic" else error.http_status


def _from_werkzeug(error: HTTPException) -> Response:
    if error.code is not None and error.code < 400 and error.response is None:
        return Response.force_type(error.get_response())
    known: dict[int, type[RolloutError]] = {
        404: NotFound, 405: MethodNotAllowed, 413: PayloadTooLarge, 415: UnsupportedMediaType, 400: InvalidRequest,
    }  # fmt: skip
    kind = known.get(error.code or 500, InternalError)
    response = render(kind(_nowhere() if kind is NotFound else None))
    response.headers.extend({name: value for name, value in error.get_headers() if name == "Allow"})
    return response


_INSTEAD = {
    "/v1/images/variations": "Variations are retired by the vendor; use POST /v1/images/edits.",
    "/v1/files": "Files are not kept here; send pictures as base64 or by URL.",
    "/v1/messages/batches": "Batches are not offered; call POST /v1/messages for each.",
}


def _nowhere() -> str:
    hint = next((text for path, text in _INSTEAD.items() if request.path.startswith(path)), "See /openapi.json for what there is.")
    return f"There is no {request.method} {request.path}. {hint}"


def _unexpected(error: Exception) -> Response:
    log.exception("request_failed", path=request.path, error=repr(error))
    return render(InternalError())
