"""The one place that renders an error, in an envelope chosen by surface.

OpenAI `{"error": {message, type, param, code, ...}}` on `/v1`; Anthropic `{"type": "error", "error": {...},
"request_id"}` on `/v1/messages*` and, on `/v1/models*` and `/v1/files*`, for callers that send `anthropic-version`; Unleash
`{"message": ...}` on `/api/client`, `/api/frontend` and `/edge`; OpenFeature `{"errorCode", "errorDetails", "key"?}`
on `/ofrep`; RFC 9457 `application/problem+json` everywhere else. Pages for people are made by who asked for it
(`pages.render_problems_by`).
"""

from __future__ import annotations

from typing import Any, Literal

import orjson
import structlog
from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from rollout.errors import (
    AtCapacity,
    FeatureKilled,
    FeatureNotEnabled,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
    RequestInProgress,
    RolloutError,
    UnsupportedMediaType,
    UpstreamUnavailable,
)
from rollout.web.pages import Renderer, plain_problem, problem_renderer
from rollout.web.rates import rate_headers, retry_after
from rollout.web.refusals import note

Surface = Literal["openai", "anthropic", "unleash", "ofrep", "native"]

log = structlog.get_logger()

OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
}
ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_OWN_OPENAI_TYPE = (QuotaExceeded, FeatureNotEnabled, FeatureKilled, RequestInProgress)
"""Errors whose OpenAI `type` is their code, as with OpenAI's own `insufficient_quota`."""

OVERLOADED = 529
"""What Anthropic's SDK takes for "come back in a moment"; on Messages it replaces 503."""


_SHARED = ("/v1/models", "/v1/files")
"""Paths that both SDKs call."""


def surface(req: Request) -> Surface:
    if req.path.startswith(_SHARED) and "anthropic-version" in req.headers:
        return "anthropic"
    return surface_of(req.path)


def surface_of(path: str) -> Surface:
    """The surface that a path lies on. Those that lie on two count as OpenAI's here."""
    if path.startswith("/v1/messages"):
        return "anthropic"
    if path.startswith(("/api/client/", "/api/frontend", "/edge/")):
        return "unleash"
    if path.startswith("/ofrep/"):
        return "ofrep"
    return "openai" if path.startswith("/v1/") else "native"


def install(app: Flask) -> None:
    """Make every error of this app come out in its surface's envelope."""
    app.register_error_handler(RolloutError, render)
    app.register_error_handler(HTTPException, _from_werkzeug)
    app.register_error_handler(Exception, _unexpected)


def render(error: RolloutError) -> Response:
    if make_page := problem_renderer() or _plain_page():
        g.error_code = error.code
        return make_page(error)
    where = surface(request)
    status = status_of(error, where)
    g.error_code = error.code
    note(error, status)
    response = Response(orjson.dumps(body(error, where)), status=status)
    response.content_type = "application/problem+json" if where == "native" else "application/json"
    response.headers.update(_headers(error, where))
    return response


def _headers(error: RolloutError, where: Surface) -> dict[str, str]:
    wait, found = error.retry_after, dict[str, str]()
    if isinstance(error, QuotaExceeded):
        seed = g.get("request_id", "")
        wait = retry_after(error, seed)
        found = rate_headers(error.limits, error.at, seed, anthropic=where == "anthropic")
    if wait is not None:
        found["Retry-After"] = str(wait)
    if error.should_retry is not None:
        found["x-should-retry"] = "true" if error.should_retry else "false"
    if decision := error.members.get("decision_id"):
        found["x-rollout-decision"] = decision
    return {**found, **error.headers}


def _plain_page() -> Renderer | None:
    """A browser that lost its way outside of the APIs gets a page."""
    is_api = request.path.startswith(("/v1/", "/api/", "/edge/", "/ofrep/", "/admin/api/"))
    asks_for = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return plain_problem if asks_for == "text/html" and not is_api else None


def body(error: RolloutError, where: Surface) -> dict[str, Any]:
    """The envelope as a JSON object; also what a failure inside a stream sends as its last event."""
    told = envelope(error, where, g.get("request_id"))
    if where == "ofrep" and (key := request.path.removeprefix("/ofrep/v1/").removeprefix("evaluate/flags")):
        told["key"] = key.lstrip("/")[:200]
    return told


def envelope(error: RolloutError, where: Surface, request_id: str | None) -> dict[str, Any]:
    """Pure: the same error, surface and id give the same JSON object."""
    code, status = error.code, status_of(error, where)
    told = {"remedy": error.remedy_text, "retryable": error.retryable, "request_id": request_id}
    members = {**told, **error.members}
    if where == "anthropic":
        kind = ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        inner = {"type": kind, "message": error.message, "details": {"error_code": code, **members}}
        return {"type": "error", "error": inner, "request_id": request_id}
    if where == "openai":
        own = isinstance(error, _OWN_OPENAI_TYPE) or status >= 500
        kind = code if own else OPENAI_TYPES.get(status, "invalid_request_error")
        return {"error": {"message": error.message, "type": kind, "param": None, "code": code, **members}}
    if where == "unleash":
        return {"message": error.message, "code": code, **members}
    if where == "ofrep":
        return {"errorCode": _ofrep_code(error), "errorDetails": f"{error.message} {error.remedy_text}"}
    page = {"type": f"/docs/errors/{code}", "title": error.default_message(), "status": status}
    if violated := members.get("violated_policies"):
        members["violated-policies"] = violated  # as the draft of the RateLimit fields spells it
    return {**page, "detail": error.message, "code": code, "message": error.message, **members}


def _ofrep_code(error: RolloutError) -> str:
    """OpenFeature's clients know few codes; a path that leads nowhere under theirs is a flag that does not exist."""
    if isinstance(error, NotFound):
        return "FLAG_NOT_FOUND"
    if not isinstance(error, InvalidRequest):
        return "GENERAL"
    return "INVALID_CONTEXT" if str(error.members.get("param", "")).startswith("context") else "PARSE_ERROR"


def status_of(error: RolloutError, where: Surface) -> int:
    overloaded = isinstance(error, (AtCapacity, UpstreamUnavailable)) and error.http_status == 503
    return OVERLOADED if overloaded and where == "anthropic" else error.http_status


_FROM_STATUS: dict[int, type[RolloutError]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
}


def _from_werkzeug(error: HTTPException) -> AnyResponse:
    """Flask's own errors in our envelopes; a redirect and a ready answer stay what they are."""
    if error.code is None or error.code < 400:
        return error.get_response(request.environ)
    kind = _FROM_STATUS.get(error.code, InvalidRequest if error.code < 500 else InternalError)
    says = {NotFound: _nowhere(), InvalidRequest: error.description}.get(kind)
    response = render(kind(says, status=error.code if kind is InvalidRequest else None))
    response.headers.extend({name: value for name, value in error.get_headers() if name == "Allow"})
    return response


_INSTEAD = {
    "/v1/images/variations": "Variations are retired by the vendor; use POST /v1/images/edits.",
    "/v1/files": "Files are not kept here; send pictures as base64 or by URL.",
    "/v1/messages/batches": "Batches are not offered; call POST /v1/messages for each.",
    "/v1/batches": "Batches are not offered; send each request by itself.",
    "/v1/responses": "Responses are not offered; use POST /v1/chat/completions or POST /v1/messages.",
}


def _nowhere() -> str:
    hints = (text for path, text in _INSTEAD.items() if request.path.startswith(path))
    hint = next(hints, "See /openapi.json for what there is.")
    return f"There is no {request.method} {request.path[:200]}. {hint}"


def _unexpected(error: Exception) -> Response:
    log.exception("request_failed", path=request.path, error=repr(error))
    return render(InternalError())
