"""How what the sandbox answers gets onto a connection, and what its routes read from one."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from flask import Response, g, request

from rollout.core.input_images import Upload
from rollout.services.sandbox.bench import ConnectionDropped, Reply


def request_id() -> str:
    """The id of the request that is being answered, as the journal knows it."""
    return cast(str, g.request_id)


def uploads(name: str) -> list[Upload]:
    """The files of a multipart member."""
    return [
        Upload(name, file.read(), file.mimetype or None, file.filename)
        for file in request.files.getlist(name)
    ]


def send(reply: Reply) -> Response:
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


def close_socket(environ: Mapping[str, object]) -> None:
    """Close the caller's connection under the server, which then finds nobody to write to."""
    connection = environ.get("werkzeug.socket") or environ.get("gunicorn.socket")
    if isinstance(connection, socket.socket):
        connection.shutdown(socket.SHUT_RDWR)


def _until_dropped(chunks: Iterable[bytes], environ: Mapping[str, object]) -> Iterator[bytes]:
    try:
        yield from chunks
    except ConnectionDropped:
        close_socket(environ)
