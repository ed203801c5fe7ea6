"""Routes that say what they take and give: one declaration authenticates, validates, renders, and becomes `/openapi.json`.

    @routes.post("/access-requests")
    @operation("Ask for access", auth=key("read"), body=AccessRequestIn, answer=AccessRequestOut, status=201)
    def ask(body: AccessRequestIn) -> Answer: ...

A view gets its path arguments, `body` and `query` (validated), and returns a JSON value, `(value, status)`, or a Response.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, get_origin

import orjson
from flask import Response, request
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from rollout.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

Answer = Response | Mapping[str, Any] | tuple[Mapping[str, Any], int]
View = Callable[..., Answer]
M = TypeVar("M", bound=BaseModel)

MAX_JSON_BYTES = 1 << 20
_CELL = re.compile(r"(?P<table>[a-z_]+)\.(?P<row>\d{1,3})\.(?P<column>[a-z_]+)")
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class Shape(BaseModel):
    """Base of every request and answer shape: unknown members are errors, so that a typo is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class Auth(Protocol):
    """Who may call: `scheme` is its name in /openapi.json (None: public). Calling it checks the request or raises a RolloutError."""

    @property
    def scheme(self) -> str | None: ...

    @property
    def needs(self) -> str: ...

    def __call__(self) -> None: ...


@dataclass(frozen=True)
class Public:
    scheme: str | None = None
    needs: str = "nobody in particular"

    def __call__(self) -> None:
        return None


public = Public()


@dataclass(frozen=True)
class Operation:
    """What a route promises. `raw_body` names the content types of a body that the view reads by itself; with
    `form` the body may come as a form too. `largest`: bytes of a JSON body."""

    summary: str
    auth: Auth
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    answer: type[BaseModel] | None
    status: int
    raw_body: tuple[str, ...]
    form: bool
    largest: int


def operation(
    summary: str,
    *,
    auth: Auth,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    answer: type[BaseModel] | None = None,
    status: int = 200,
    raw_body: tuple[str, ...] = (),
    form: bool = False,
    largest: int = MAX_JSON_BYTES,
) -> Callable[[View], Callable[..., Response]]:
    """Declare a route; `auth` runs first, so that nobody learns about fields without a key."""
    declared = Operation(summary, auth, body, query, answer, status, raw_body, form, largest)

    def wrap(view: View) -> Callable[..., Response]:
        @functools.wraps(view)
        def run(**arguments: Any) -> Response:
            auth()
            if query is not None:
                arguments["query"] = read_query(query)
            if body is not None:
                is_form = form and request.mimetype in FORMS
                arguments["body"] = read_form(body) if is_form else read_json(body, largest)
            return _render(view(**arguments), status)

        run.operation = declared  # type: ignore[attr-defined]
        return run

    return wrap


def read_json(shape: type[M], largest: int = MAX_JSON_BYTES) -> M:
    """The request's JSON body as `shape`, at most `largest` bytes; raises UnsupportedMediaType, PayloadTooLarge, InvalidRequest."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send a JSON body with Content-Type: application/json.")
    request.max_content_length = largest
    try:
        value = orjson.loads(request.get_data())
    except RequestEntityTooLarge:
        raise PayloadTooLarge(
            f"The body is larger than {largest} bytes.", remedy="Send less at a time."
        ) from None
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"The body is not valid JSON: {error}.", param="body", remedy="Send one JSON object."
        ) from None
    return validate(shape, value)


def read_form(shape: type[M]) -> M:
    """The request's form as `shape`: an empty field counts as not sent, and the field of a list may repeat.

    `meters.0.cap` is the cap in row 0 of the table `meters`, a `dict[int, Row]`. Names that begin with `_` are the page's own, not the
    shape's.
    """
    request.max_content_length = MAX_JSON_BYTES
    value: dict[str, Any] = {}
    tables: dict[str, dict[str, dict[str, str]]] = {}
    for name, sent in request.form.lists():
        if name.startswith("_"):
            continue
        filled = [item for item in sent if item]
        field = shape.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is list:
            value[name] = filled
        elif filled and (cell := _CELL.fullmatch(name)):
            tables.setdefault(cell["table"], {}).setdefault(cell["row"], {})[cell["column"]] = filled[-1]
        elif filled:
            value[name] = filled[-1]
    return validate(shape, {**value, **tables})


def read_query(shape: type[M]) -> M:
    return validate(shape, request.args.to_dict())


def validate(shape: type[M], value: Any) -> M:
    """`value` as `shape`; raises InvalidRequest that names the first wrong field in `param` and lists all in `errors`."""
    if _holds_nul(value):
        raise InvalidRequest("A text holds the character NUL, which cannot be kept.", param="body")
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        problems = [
            {
                "param": ".".join(str(part) for part in item["loc"]) or "body",
                "message": _sentence(item["msg"]),
            }
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        first = problems[0]
        raise InvalidRequest(
            f"{first['param']}: {first['message']}", param=first["param"], errors=problems
        ) from None


def _holds_nul(value: Any) -> bool:
    """PostgreSQL keeps no NUL, and SQLite would keep what can then never move there. A loop, because JSON may be deep."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str) and "\x00" in item:
            return True
        if isinstance(item, Mapping):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
    return False


def json_response(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status=status, content_type="application/json")


def _render(answer: Answer, status: int) -> Response:
    if isinstance(answer, Response):
        return answer
    value, code = answer if isinstance(answer, tuple) else (answer, status)
    return json_response(value, code)


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ")
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
