"""The sandbox over HTTP: the vendors' routes, with any key; `GET`/`DELETE /sandbox/journal`, and `GET /sandbox/works/{id}`, what
became of a work."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import HTTPException

from rollout.core.analyses import split_members
from rollout.core.images import Member, Upload
from rollout.errors import RolloutError
from rollout.services.sandbox import (
    ConnectionDropped,
    Reply,
    Sandbox,
    Surface,
    json_reply,
    openai_error,
    refusal,
)

_JOURNAL = "/sandbox/journal"


def create_sandbox_blueprint(sandbox: Sandbox) -> Blueprint:
    """Every route of the sandbox; meant for an application of its own, whose 404s and 405s it answers too."""
    routes = Blueprint("sandbox", __name__)
    _remember_requests(routes, sandbox)
    _handle_errors(routes)
    _route_images(routes, sandbox)
    _route_messages(routes, sandbox)
    _route_journal(routes, sandbox)

    @routes.get("/v1/models", defaults={"name": None})
    @routes.get("/v1/models/<name>")
    def models(name: str | None) -> Response:
        return _send(sandbox.models(_surface(), name))

    return routes


def _remember_requests(routes: Blueprint, sandbox: Sandbox) -> None:
    @routes.before_app_request
    def remember_and_check() -> Response | None:
        if request.path.startswith("/sandbox/"):
            return None
        g.request_id = sandbox.new_request_id()
        path = request.full_path.rstrip("?")
        sandbox.arrived(g.request_id, request.method, path, dict(request.headers), request.get_data())
        return _missing_header()

    @routes.after_app_request
    def name_request(response: Response) -> Response:
        if "request_id" in g:
            response.headers["x-request-id"] = response.headers["request-id"] = g.request_id
        return response


def _handle_errors(routes: Blueprint) -> None:
    @routes.app_errorhandler(HTTPException)
    def answer_in_envelope(error: HTTPException) -> Response:
        return _send(refusal(_surface(), error.code or 500, f"SANDBOX: {error.description}"))

    @routes.app_errorhandler(ConnectionDropped)
    def drop(error: ConnectionDropped) -> Response:
        _close_socket(request.environ)
        return Response(status=500)


def _route_images(routes: Blueprint, sandbox: Sandbox) -> None:
    @routes.post("/v1/images/generations")
    def generations() -> Response:
        try:
            members = split_members(request.get_data())
        except RolloutError as error:
            return _send(openai_error(error.http_status, error.message))
        return _send(sandbox.make_images(g.request_id, "generate", members, (), None))

    @routes.post("/v1/images/edits")
    def edits() -> Response:
        members: dict[str, Member] = {name: value.encode() for name, value in request.form.items()}
        images = [*_uploads("image"), *_uploads("image[]")]
        masks = _uploads("mask")
        mask = masks[0] if masks else None
        return _send(sandbox.make_images(g.request_id, "edit", members, images, mask))


def _route_messages(routes: Blueprint, sandbox: Sandbox) -> None:
    @routes.post("/v1/messages")
    def messages() -> Response:
        return _send(sandbox.message(g.request_id, request.get_data()))

    @routes.post("/v1/messages/count_tokens")
    def count_tokens() -> Response:
        return _send(sandbox.count_tokens(request.get_data()))


def _route_journal(routes: Blueprint, sandbox: Sandbox) -> None:
    @routes.get(_JOURNAL)
    def journal() -> Response:
        return _send(json_reply(sandbox.journal.read()))

    @routes.get("/sandbox/works/<work_id>")
    def look_up(work_id: str) -> Response:
        return _send(sandbox.look_up(work_id))

    @routes.delete(_JOURNAL)
    def clear_journal() -> Response:
        sandbox.journal.clear()
        return Response(status=204)


def _missing_header() -> Response | None:
    """As the vendors: some key is needed, and for Messages a version."""
    bearer = request.headers.get("authorization", "").lower()
    if not bearer.startswith("bearer ") and not request.headers.get("x-api-key"):
        return _send(refusal(_surface(), 401, "SANDBOX: send any key as Authorization: Bearer or x-api-key."))
    if request.path.startswith("/v1/messages") and "anthropic-version" not in request.headers:
        return _send(refusal("anthropic", 400, "anthropic-version: header is required"))
    return None


def _surface() -> Surface:
    by_header = request.path.startswith("/v1/models") and "anthropic-version" in request.headers
    return "anthropic" if by_header or request.path.startswith("/v1/messages") else "openai"


def _uploads(name: str) -> list[Upload]:
    return [
        Upload(name, file.read(), file.mimetype or None, file.filename)
        for file in request.files.getlist(name)
    ]


def _send(reply: Reply) -> Response:
    response = Response(
        _until_dropped(reply.chunks, request.environ),
        reply.status,
        reply.headers,
        content_type=reply.content_type,
    )
    if reply.content_type.startswith("text/event-stream"):
        response.headers["cache-control"] = "no-cache"
    elif isinstance(reply.chunks, list):
        response.content_length = sum(map(len, reply.chunks))
    elif reply.length is not None:
        response.content_length = reply.length
    return response


def _until_dropped(chunks: Iterable[bytes], environ: Mapping[str, object]) -> Iterator[bytes]:
    try:
        yield from chunks
    except ConnectionDropped:
        _close_socket(environ)


def _close_socket(environ: Mapping[str, object]) -> None:
    """Close the caller's connection under the server, which then finds nobody to write to."""
    connection = environ.get("werkzeug.socket") or environ.get("gunicorn.socket")
    if isinstance(connection, socket.socket):
        connection.shutdown(socket.SHUT_RDWR)
