"""Versions on the wire: every resource answers with an ETag; a PUT or PATCH says by If-Match what it is based on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from rollout.errors import InvalidRequest, PreconditionRequired
from rollout.web.operation import json_response


def versioned(value: Mapping[str, Any], version: int, status: int = 200) -> Response:
    """`value` with its version as a strong ETag."""
    response = json_response(value, status)
    response.set_etag(str(version))
    return response


def unless_known(value: Mapping[str, Any], *, weak: bool = False) -> Response:
    """`value` with an ETag made of its bytes; 304 without a body for a caller that has them, whatever the method."""
    response = json_response(value)
    response.add_etag(weak=weak)
    tag, _ = response.get_etag()
    if tag is not None and request.if_none_match.contains_weak(tag):
        response.status_code, response.data = 304, b""
        del response.headers["Content-Type"]
    response.headers["Cache-Control"] = "no-cache"
    return response


def based_on(*, required: bool) -> int | None:
    """The version in If-Match; None without one (an emergency never needs one). Raises PreconditionRequired, InvalidRequest."""
    sent = request.headers.get("If-Match")
    if sent is None or sent.strip() == "*":
        if required:
            raise PreconditionRequired()
        return None
    try:
        return int(sent.strip().removeprefix("W/").strip('"'))
    except ValueError:
        raise InvalidRequest("If-Match must be an ETag as GET answers it.", param="If-Match") from None
