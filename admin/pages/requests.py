"""/admin/requests"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Blueprint, redirect, url_for
from pydantic import Field

from rollout.core.refusals import REFUSAL_COLUMNS, Refusal, refusal_json
from rollout.core.stories import Event, Story, story_json
from rollout.errors import QuotaExceeded, all_errors
from rollout.web.operation import Answer, operation
from rollout.web.times import epoch
from rollout.web.wired import services

from .auth import viewer
from .forms import LocalMoment
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("requests", __name__)

BAD, GOOD = ("refused", "guardrail", "unknown"), ("settled", "stored")
"""Events that stand out on the time line."""


class RequestsView(ListView):
    """`id`: any id, to go to its story."""

    id: str | None = Field(None, max_length=200)
    tenant: str | None = Field(None, max_length=64)
    code: str | None = Field(None, max_length=64)
    since: LocalMoment | None = Field(None, alias="from")

    def pages(self) -> Callable[[str | None, int], list[Refusal]]:
        requests = services().requests
        return lambda before, limit: requests.page(
            tenant=self.tenant, code=self.code, since=self.since, before=before, limit=limit
        )


@routes.get("/requests")
@operation("Find a request; who was refused, and why", auth=viewer, query=RequestsView)
def show_requests(query: RequestsView) -> Answer:
    if query.id is not None:
        return redirect(url_for(".show_request", any_id=query.id.strip()), 303)  # type: ignore[return-value]
    return show_list(
        "requests.html",
        query,
        query.pages(),
        lambda refusal: refusal.request_id,
        file="requests",
        columns=REFUSAL_COLUMNS,
        as_row=refusal_json,
        summary=services().requests.grouped(),
        title_of=_title_of,
    )


@routes.get("/requests/<any_id>")
@operation("The story of a request", auth=viewer, query=PageView)
def show_request(any_id: str, query: PageView) -> Answer:
    story = services().requests.story(any_id)
    return room(
        "request.html",
        any_id=any_id,
        story=story,
        told=story_json(story),
        title_of=_title_of,
        tone=_tone,
        picture=_picture(story),
    )


def _title_of(code: str, status: int) -> str:
    """What an error says when it has nothing better to say; the code itself for one that is no longer in use.

    The status tells two errors of one code apart: a vendor that never had the call from one that failed while it had it.
    """
    of_code = [error for error in all_errors() if error.code == code and error is not QuotaExceeded]
    of_status = [error for error in of_code if error.status == status]
    return next((error.default_message() for error in (*of_status, *of_code)), code)


def _tone(event: Event) -> str:
    return "bad" if event.kind in BAD else "good" if event.kind in GOOD else ""


def _picture(story: Story) -> Any:
    """Where a picture of the story can be seen, until it is forgotten."""

    def path(image: dict[str, str]) -> str:
        until = epoch(datetime.fromisoformat(image["expires_at"]))
        return services().images.path(story.tenant_id, image["id"], until)

    return path
