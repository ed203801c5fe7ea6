"""Server-sent events: `event: NAME`, `data: {json}`, a blank line. A failure after the first byte is one last event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import orjson
import structlog
from flask import Response, request, stream_with_context

from rollout.errors import InternalError, RolloutError
from rollout.services.calls import Opened
from rollout.web import headers, problems, refusals

E = TypeVar("E")

log = structlog.get_logger()


def event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def respond(opened: Opened[E], render: Callable[[E], bytes]) -> Response:
    """A stream of what `render` makes of each event. It reads on to the end when the caller hangs up."""

    def parts() -> Iterator[bytes]:
        try:
            for one in opened:
                yield render(one)
        except RolloutError as error:
            yield _failure(error)
        except Exception as error:
            log.exception("stream_failed", path=request.path, error=repr(error))
            yield _failure(InternalError())
        finally:
            opened.close()

    response = Response(stream_with_context(parts()), content_type="text/event-stream; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    return headers.tell(response, opened.told)


def _failure(error: RolloutError) -> bytes:
    """What the vendors' SDKs raise: an object with `error` (OpenAI), `{"type": "error", ...}` named `error` (Anthropic)."""
    surface = problems.surface(request)
    refusals.note(error, problems.status_of(error, surface))
    return event("error", orjson.dumps(problems.body(error, surface)))
