"""/docs: pages for people, made from the error tree and from `errors.toml`. No scripts, no cookies, nothing from elsewhere."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import orjson
from flask import Blueprint
from markupsafe import Markup

from rollout.errors import NotFound, QuotaExceeded, RolloutError, all_errors
from rollout.web.language import marked
from rollout.web.operation import Answer, operation, public
from rollout.web.pages import plain
from rollout.web.problems import Surface, envelope, status_of
from rollout.web.wired import services

routes = Blueprint("docs", __name__, url_prefix="/docs", template_folder="templates")

REQUEST_ID = "req_01k9zq3v7n2e5r8t1y4u6p0a3s"
"""The request that the examples speak of."""

PLACES = (
    (
        "/v1/images/generations, /v1/images/edits",
        "pictures, as the openai SDK calls them; needs access to the beta",
    ),
    ("/v1/messages", "analysis of pictures by Claude, as the anthropic SDK calls it; open to every partner"),
    ("/v1/models", "the models that your key may use now"),
    ("/api/v1/features", "what is enabled for you, why, and what would change it"),
    ("/api/v1/access-requests", "ask for access"),
    ("/api/v1/quotas, /api/v1/usage", "what is left, what was used and what it cost"),
    ("/api/client, /api/frontend", "flags for Unleash's SDKs, by a flag token"),
    ("/api/v1/feedback", "what your end users think of a picture"),
    ("/f/{handle}", "the page on which an end user rates a picture; the handle comes with it"),
    ("/admin, /admin/api/v1", "the operator's console, and the same as an API"),
    ("/docs/errors", "every error, what it means and what to do"),
    ("/openapi.json", "every route, machine-readable"),
    ("/healthz, /readyz", "for probes"),
)


@dataclass(frozen=True)
class SurfaceInWords:
    name: Surface
    title: str
    routes: str


SURFACES = (
    SurfaceInWords("openai", "OpenAI drop-in", "/v1"),
    SurfaceInWords("anthropic", "Anthropic drop-in", "/v1/messages"),
    SurfaceInWords("native", "Phasegate (RFC 9457)", "/api/v1, /admin/api/v1"),
)


@dataclass(frozen=True)
class ErrorPage:
    """`kinds` are the classes that share the code, the most general first; `members` are for the example."""

    code: str
    kinds: tuple[type[RolloutError], ...]
    why: str
    do: str
    members: Mapping[str, Any]
    heading: str = ""

    @property
    def title(self) -> str:
        return self.heading or self.kinds[0].default_message().rstrip(".")

    @property
    def retry(self) -> str:
        answers = {kind.retryable for kind in self.kinds}
        if answers == {True}:
            return "Yes: the same request can succeed later."
        if answers == {False}:
            return "No: the same request would get the same answer. Do what is said above first."
        return "It depends on the status; `retryable` in the answer says which."

    def statuses(self, surface: Surface) -> str:
        return ", ".join(str(status_of(kind(), surface)) for kind in self.kinds)

    def example(self, surface: Surface) -> str:
        body = envelope(self.kinds[0](**self.members), surface, REQUEST_ID)
        return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()


@functools.cache
def pages() -> dict[str, ErrorPage]:
    """The page of each code, in order of status."""
    texts = tomllib.loads(_file("errors.toml"))
    kinds: dict[str, list[type[RolloutError]]] = {}
    for kind in sorted(all_errors(), key=lambda kind: kind.status):
        if kind is not QuotaExceeded:
            kinds.setdefault(kind.code, []).append(kind)
    return {
        code: ErrorPage(code, tuple(sorted(sharing, key=lambda kind: len(kind.__mro__))), **texts[code])
        for code, sharing in kinds.items()
    }


@routes.get("")
@operation("Where to find what", auth=public)
def front() -> Answer:
    return plain("docs.html", places=PLACES, url=services().settings.url)


@routes.get("/errors")
@operation("Every error", auth=public)
def errors() -> Answer:
    return plain("errors.html", pages=pages().values())


@routes.get("/errors/<code>")
@operation("What an error means and what to do", auth=public)
def error(code: str) -> Answer:
    page = pages().get(code)
    if page is None:
        raise NotFound(f"There is no error {code[:100]!r}.", remedy="See /docs/errors for all of them.")
    return plain("error.html", page=page, surfaces=SURFACES)


@routes.app_template_filter("prose")
def prose(text: str) -> Markup:
    """Paragraphs parted by blank lines, with `code` in backticks, as HTML."""
    return Markup("\n").join(Markup("<p>{}</p>").format(marked(part)) for part in text.strip().split("\n\n"))


def _file(name: str) -> str:
    return files("rollout.api").joinpath(name).read_text(encoding="utf-8")
