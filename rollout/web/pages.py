"""Pages for people: HTML that runs nothing from elsewhere and may not be framed.

Two kinds: pages of a room (`page`), which may load this service's own files, and plain ones (`plain`: documentation, an end user's
page, errors of people who are not signed in), which load nothing at all but pictures and carry their style within.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from flask import Flask, Response, g, render_template
from jinja2 import PackageLoader

from rollout.errors import RolloutError
from rollout.web import language
from rollout.web.assets import zipped

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

Renderer = Callable[[RolloutError], Response]


def install(app: Flask) -> None:
    """Let this app make pages, in the readers' languages."""
    app.jinja_loader = PackageLoader("rollout.web")
    language.install(app)


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A page that may load this service's own styles, scripts and pictures."""
    return _html(template, status, POLICY, "same-origin", values)


def plain(template: str, status: int = 200, **values: Any) -> Response:
    """A page without scripts, whose style is within it."""
    return _html(template, status, _plain_policy(), "no-referrer", {"style": style(), **values})


def render_problems_by(renderer: Renderer) -> None:
    """From now on an error of this request is a page that `renderer` makes."""
    g.render_problem = renderer


def problem_renderer() -> Renderer | None:
    found: Renderer | None = g.get("render_problem")
    return found


def plain_problem(error: RolloutError) -> Response:
    return plain("problem.html", error.http_status, error=error)


def _html(template: str, status: int, policy: str, referrer: str, values: dict[str, Any]) -> Response:
    response = Response(status=status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = policy
    response.headers["Referrer-Policy"] = referrer
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Language"] = language.reader().language
    return zipped(response, render_template(template, **values).encode())


@functools.cache
def _plain_policy() -> str:
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self' data:; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    )


@functools.cache
def style() -> str:
    return files("rollout.web").joinpath("templates/style.css").read_text(encoding="utf-8")
