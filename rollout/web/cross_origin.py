"""Routes that pages of any origin may call: by a token that their own server gave them, never by a cookie."""

from __future__ import annotations

from flask import Blueprint, Response, request

PREFLIGHT_SECONDS = 86_400

TOLD = "ETag, Retry-After, x-request-id"
"""The headers of an answer that a page's script may read."""


def opened(routes: Blueprint) -> Blueprint:
    """Every answer of these routes says so, an error too; a preflight is 204 for a day."""
    routes.after_request(_say_so)
    return routes


def _say_so(response: Response) -> Response:
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = TOLD
    if request.method == "OPTIONS":
        response.status_code = 204
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
        response.headers["Access-Control-Allow-Headers"] = request.headers.get(
            "Access-Control-Request-Headers", ""
        )
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        response.headers["Vary"] = "Access-Control-Request-Headers"
    return response
