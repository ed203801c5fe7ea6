"""/admin/feedback: the inbox. Sorting needs no reason typed: it is undone as quickly as it is done."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from flask import Blueprint, url_for
from pydantic import Field

from rollout.core.feedback import (
    COLUMNS,
    MAX_MARKS,
    FeedbackState,
    InboxItem,
    Mark,
    Triage,
    Wanted,
    feedback_json,
)
from rollout.core.figures import FiguresQuery, Thumbs
from rollout.core.usage import Report
from rollout.errors import InvalidRequest, NotFound, StaleVersion
from rollout.services.audit import Search
from rollout.web.feedback import REASONS, FeedbackFilter
from rollout.web.language import _
from rollout.web.operation import Answer, Shape, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .forms import attempt, read, refused
from .lists import show_list
from .queries import ListView
from .room import room

routes = Blueprint("feedback", __name__)

SORTED, UNDONE = "sorted in the inbox", "undone in the inbox"
SIMILAR = 20

_ITEM = re.compile(r"(\w{1,64}):([0-9]{1,9})")


class InboxView(FeedbackFilter, ListView):
    """What the inbox shows: by default what is open."""

    tenant: str | None = None
    state: FeedbackState | Literal["any"] = "open"  # type: ignore[assignment]
    limit: int = Field(20, ge=1, le=50)

    def here(self) -> Wanted:
        return replace(self.wanted(self.tenant), state=None if self.state == "any" else self.state)

    def address(self) -> dict[str, Any]:
        """The query that shows the same again."""
        return self.model_dump(exclude_unset=True, exclude={"done", "format"})


class SortForm(Shape):
    """`items`: each an id and the version that the page showed, `fb_1:3`."""

    items: list[str] = Field(default_factory=list)
    state: Triage

    def marks(self) -> list[Mark]:
        if not self.items:
            raise InvalidRequest("Choose at least one item.", param="items")
        found = [_ITEM.fullmatch(item) for item in self.items]
        if not all(found):
            raise InvalidRequest("Choose items of the list.", param="items")
        return [Mark(item[1], int(item[2]), self.state) for item in found if item]


class UndoForm(Shape):
    """`change`: the audit row of what is to be undone."""

    change: int = Field(ge=1, lt=2**62)


@routes.get("/feedback")
@operation("The inbox: what end users say, with the pictures", auth=viewer, query=InboxView)
def show_feedbacks(query: InboxView) -> Answer:
    return _list(query)


@routes.post("/feedback")
@operation("Sort feedback: open, resolved or spam", auth=editor, query=InboxView)
def sort_feedback(query: InboxView) -> Answer:
    return _sort(query, ".show_feedbacks", lambda next_id: {"_anchor": next_id}, lambda: _list(query))


@routes.get("/feedback/<feedback_id>")
@operation("One item, and what else was said of the same picture", auth=viewer, query=InboxView)
def show_feedback(feedback_id: str, query: InboxView) -> Answer:
    return _shown(feedback_id, query)


@routes.post("/feedback/<feedback_id>")
@operation("Sort one item, and go to the next", auth=editor, query=InboxView)
def sort_one(feedback_id: str, query: InboxView) -> Answer:
    return _sort(
        query,
        ".show_feedback",
        lambda next_id: {"feedback_id": next_id or feedback_id},
        lambda: _shown(feedback_id, query),
    )


@routes.post("/feedback/undo")
@operation("Undo what was just sorted", auth=editor, query=InboxView)
def undo(query: InboxView) -> Answer:
    undone: list[str] = []

    def act() -> None:
        marks = _before(read(UndoForm).change)
        services().feedback.set_states(actor(), marks, UNDONE)
        undone.extend(mark.id for mark in marks)

    return attempt(
        act,
        then=lambda: url_for(".show_feedbacks", **query.address(), _anchor=max(undone)),
        again=lambda: _list(query),
    )


def _sort(
    query: InboxView, endpoint: str, goes: Callable[[str | None], dict[str, Any]], again: Callable[[], Answer]
) -> Answer:
    """Sort what the form names, then go on with the next of the list."""
    sorted_: list[str] = []

    def act() -> None:
        marks = read(SortForm).marks()
        services().feedback.set_states(actor(), marks, SORTED)
        sorted_.extend(mark.id for mark in marks)

    def then() -> str:
        newer, older = services().feedback.neighbours(query.here(), min(sorted_))
        return url_for(endpoint, **query.address(), **goes(older or newer))

    return attempt(act, then=then, again=again)


def _before(change: int) -> list[Mark]:
    """The items of this person's change, one of whose audit rows is `change`, as they were before it. Raises NotFound."""
    near = services().audit.page(before=change + MAX_MARKS, limit=2 * MAX_MARKS)
    revision = next((row["revision"] for row in near if row["seq"] == change), None)
    triaged = (revision, actor().name, "feedback.triaged")
    mine = [row for row in near if (row["revision"], row["actor"], row["action"]) == triaged]
    if not mine:
        raise NotFound("There is nothing of yours to undo.", param="change")
    return [Mark(row["subject"], row["after"]["version"], row["before"]["state"]) for row in mine]


def _list(query: InboxView) -> Answer:
    inbox, wanted = services().feedback.inbox, query.here()
    return show_list(
        "feedbacks.html",
        query,
        lambda before, limit: inbox(wanted, before=before, limit=limit),
        lambda found: found.item.id,
        file="feedback",
        columns=COLUMNS,
        as_row=lambda found: feedback_json(found.item),
        figures=_figures(query.tenant) if query.format is None and query.cursor is None else None,
        **_shared(query),
    )


def _shown(feedback_id: str, query: InboxView) -> Answer:
    found = services().feedback.inbox_item(feedback_id)
    newer, older = services().feedback.neighbours(query.here(), feedback_id)
    same = Wanted(tenant=found.item.tenant_id, generation=found.item.generation_id)
    said = services().feedback.page(same, before=None, limit=SIMILAR + 1)
    similar = [item for item in said if item.id != feedback_id][:SIMILAR]
    return room("feedback.html", found=found, newer=newer, older=older, similar=similar, **_shared(query))


def _shared(query: InboxView) -> dict[str, Any]:
    return {
        "address": query.address(),
        "faster": _faster(),
        "picture_of": _picture_of,
        "reason_words": lambda slug: _(REASONS[slug]) if slug in REASONS else slug,
    }


def _figures(tenant: str | None) -> Report[Thumbs] | None:
    """The last 30 days; None for a tenant that there is not."""
    try:
        return services().feedback.figures(FiguresQuery(tenant=tenant, by=("phase", "vendor")))
    except NotFound:
        return None


def _picture_of(found: InboxItem) -> str | None:
    if found.picture is None or found.picture_until is None:
        return None
    return services().images.path(found.item.tenant_id, found.picture, found.picture_until)


def _faster() -> Mapping[str, Any] | None:
    """What somebody else made of an item meanwhile; `actor` None: its end user spoke again."""
    problem = refused()
    if problem is None or not isinstance(problem.error, StaleVersion):
        return None
    current, version = problem.error.members["current"], problem.error.members["current_version"]
    wanted = Search(tenant=current["tenant"], subject=current["id"])
    rows = services().audit.search(wanted, before=None, limit=1).rows
    by_person = rows and rows[0]["after"].get("version") == version
    return {**current, "actor": rows[0]["actor"] if by_person else None}
