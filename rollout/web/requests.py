"""The life of one request: an id on every answer, and one wide line in the log when the answer has been sent."""

from __future__ import annotations

import time

import structlog
from flask import Flask, Response, g, request

from rollout.services.ids import new_id

log = structlog.get_logger()


def install(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    g.request_id, g.began = new_id("req"), time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _finish(response: Response) -> Response:
    response.headers["x-request-id"] = response.headers["request-id"] = g.request_id
    line = {
        "method": request.method,
        "path": request.path,
        "route": str(request.url_rule or ""),
        "status": response.status_code,
        "code": g.get("error_code"),
        **structlog.contextvars.get_contextvars(),
    }
    if decision := response.headers.get("x-rollout-decision"):
        line["decision"] = decision
    began = g.began

    def answered() -> None:
        log.info("request_answered", **line, seconds=round(time.perf_counter() - began, 4))

    response.call_on_close(answered)
    return response
