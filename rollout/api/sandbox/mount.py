"""The sandbox over HTTP: the vendors' routes, with any key; `GET`/`DELETE /sandbox/journal`, and `GET /sandbox/works/{id}`, what
became of a work."""

from __future__ import annotations

from typing import Protocol

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import HTTPException

from rollout.api.sandbox import (
    anthropic,
    gemini,
    midjourney,
    models,
    moderations,
    nova,
    openai_chat,
    openai_images,
    xai,
)
from rollout.api.sandbox.door import close_socket, request_id, send
from rollout.services.sandbox.bench import Bench, ConnectionDropped, Refusal, Reply, json_reply


class Wire(Protocol):
    """A module of this package; see `services/sandbox/bench.py`."""

    PREFIXES: tuple[str, ...]

    def refusal(self, status: int, message: str, *, code: str | None = None) -> Reply: ...

    def routes(self, blueprint: Blueprint, bench: Bench) -> None: ...


WIRES: tuple[Wire, ...] = (anthropic, openai_images, openai_chat, moderations, gemini, nova, xai, midjourney)
PATHS = {"openai": "/v1", "xai": "/xai/v1", "llama": "/v1", "compatible": "/v1"}
"""Where a vendor's base URL does not end with the host."""

_JOURNAL = "/sandbox/journal"
_ID_HEADERS = ("x-request-id", "request-id", "x-amzn-requestid")
_KEY_HEADERS = ("x-api-key", "x-goog-api-key")
_SCHEMES = ("bearer ", "aws4-hmac-sha256 ")


def create_sandbox_blueprint(bench: Bench) -> Blueprint:
    """Every route of the sandbox; meant for an application of its own, whose 404s and 405s it answers too."""
    blueprint = Blueprint("sandbox", __name__)
    _remember_requests(blueprint, bench)
    _handle_errors(blueprint)
    for wire in WIRES:
        wire.routes(blueprint, bench)
    models.routes(blueprint, bench)
    _route_journal(blueprint, bench)
    return blueprint


def _remember_requests(routes: Blueprint, bench: Bench) -> None:
    @routes.before_app_request
    def remember_and_check() -> Response | None:
        if request.path.startswith("/sandbox/"):
            return None
        g.request_id = bench.new_request_id()
        path = request.full_path.rstrip("?")
        bench.arrived(request_id(), request.method, path, dict(request.headers), request.get_data())
        return _missing_key()

    @routes.after_app_request
    def name_request(response: Response) -> Response:
        if "request_id" in g:
            for name in _ID_HEADERS:
                response.headers[name] = g.request_id
        return response


def _handle_errors(routes: Blueprint) -> None:
    @routes.app_errorhandler(HTTPException)
    def answer_in_envelope(error: HTTPException) -> Response:
        return send(_refusal()(error.code or 500, f"SANDBOX: {error.description}"))

    @routes.app_errorhandler(ConnectionDropped)
    def drop(error: ConnectionDropped) -> Response:
        close_socket(request.environ)
        return Response(status=500)


def _route_journal(routes: Blueprint, bench: Bench) -> None:
    @routes.get(_JOURNAL)
    def journal() -> Response:
        return send(json_reply(bench.journal.read()))

    @routes.get("/sandbox/works/<work_id>")
    def look_up(work_id: str) -> Response:
        missing = f"There is no work {work_id[:200]!r}."
        return send(bench.look_up(work_id) or openai_images.refusal(404, missing))

    @routes.delete(_JOURNAL)
    def clear_journal() -> Response:
        bench.journal.clear()
        return Response(status=204)


def _missing_key() -> Response | None:
    """As the vendors: some key is needed."""
    has_key = request.headers.get("authorization", "").lower().startswith(_SCHEMES) or any(
        request.headers.get(name) for name in _KEY_HEADERS
    )
    if has_key or request.path.startswith(midjourney.PICTURES):
        return None
    names = " or ".join(("Authorization: Bearer", *_KEY_HEADERS))
    return send(_refusal()(401, f"SANDBOX: send any key as {names}."))


def _refusal() -> Refusal:
    """The envelope of whose path it is."""
    if request.path.startswith(models.PREFIXES):
        return models.refusal()
    return next(
        (wire.refusal for wire in WIRES if request.path.startswith(wire.PREFIXES)), openai_images.refusal
    )
