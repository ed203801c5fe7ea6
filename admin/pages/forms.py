"""Forms: read by the same shapes as the API's bodies, and shown again with what was typed when a rule refuses them.

    @routes.post("/meters/<meter_id>")
    @operation("Change a meter's cap", auth=editor)
    def change_meter(meter_id: str) -> Answer:
        def act() -> None:
            form = read(CapForm)
            services().meters.change(actor(), meter_id, {"cap": form.cap}, form.reason, based_on=form.version)

        return attempt(act, then=url_for(".show_meter", meter_id=meter_id), again=lambda: show_meter(meter_id))

A change that was made leads on with `?done=` its audit entry, of which the next page tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode, urlsplit, urlunsplit

from flask import Response, g, redirect, request
from pydantic import BeforeValidator

from rollout.errors import RolloutError, StaleVersion
from rollout.web.language import reader
from rollout.web.operation import Answer, Shape, read_form
from rollout.web.wired import services

M = TypeVar("M", bound=Shape)

FORM_NAME = "_form"

LATEST = 20
"""So many rows of the audit log are searched for what a request changed."""


class ReasonForm(Shape):
    """What every change says; `version` is the one that the page showed."""

    reason: str | None = None
    version: int | None = None


@dataclass(frozen=True)
class Refused:
    """A form that was refused: `name` says which one of the page's, `values` what was typed."""

    error: RolloutError
    name: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class FormView:
    """A form as a template sees it: what its fields hold and what is wrong with them.

    `written`: values as they are now, in the words of the form, where the service's are others (20000000 micro-dollars: 20).
    """

    name: str
    version: int | None = None
    written: Mapping[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> Refused | None:
        found = refused()
        return found if found is not None and found.name == self.name else None

    def value(self, field: str, default: Any = None) -> Any:
        """What was typed, else `default`."""
        return default if self.refused is None else self.refused.values.get(field, "")

    def error(self, field: str) -> str | None:
        """What is wrong with the field."""
        if self.refused is None:
            return None
        error = self.refused.error
        problems = error.members.get("errors") or [
            {"param": error.members.get("param"), "message": error.message}
        ]
        return next((item["message"] for item in problems if item["param"] == field), None)

    @property
    def meanwhile(self) -> Mapping[str, Any] | None:
        """The value as it is now, when somebody else was faster."""
        error = self.refused.error if self.refused else None
        return {**error.members["current"], **self.written} if isinstance(error, StaleVersion) else None


def read(shape: type[M]) -> M:
    """The request's form. Raises InvalidRequest, PayloadTooLarge."""
    return read_form(shape)


def attempt(
    act: Callable[[], object], *, then: str | Callable[[], str | Response], again: Callable[[], Answer]
) -> Response:
    """Do it, and go to `then` with word of what was done; what a rule refuses is shown by `again`, with what was typed.

    `then` may be a function when where to go is known only afterwards; what it gives may be the page itself, for a secret that is shown
    once and must stand in no address.
    """
    try:
        act()
    except RolloutError as error:
        if error.http_status >= 500:
            raise
        g.refused = Refused(error, request.form.get(FORM_NAME, ""), request.form.to_dict())
        shown = again()
        assert isinstance(shown, Response)
        return shown
    target = then() if callable(then) else then
    if isinstance(target, Response):
        return target
    return redirect(_telling(target), 303)  # type: ignore[return-value]


def refused() -> Refused | None:
    found: Refused | None = g.get("refused")
    return found


def _telling(target: str) -> str:
    """`target` with `?done=` the first audit row of this very request; as it is when nothing changed."""
    own = [row["seq"] for row in services().audit.page(limit=LATEST) if row["request_id"] == g.request_id]
    if not own:
        return target
    parts = urlsplit(target)
    query = "&".join(filter(None, [parts.query, urlencode({"done": min(own)})]))
    return urlunsplit(parts._replace(query=query))


def _local_moment(sent: Any) -> int:
    """A date is its midnight, `2027-03-01T17:00` that minute, both in the reader's zone."""
    try:
        text = str(sent)
        parsed = (
            datetime.combine(date.fromisoformat(text), time.min)
            if len(text) == 10
            else datetime.fromisoformat(text)
        )
        if not 2000 <= parsed.year <= 2200:
            raise ValueError
    except ValueError:
        raise ValueError("must be a date such as 2027-03-01, or a time such as 2027-03-01T17:00") from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=reader().zone)).timestamp())


LocalMoment = Annotated[int, BeforeValidator(_local_moment)]
"""A time typed by a person, in their own zone; UTC epoch seconds."""
