"""/admin/segments: constraints that flags share."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, request, url_for

from rollout.core.segments import Segment, segment_json
from rollout.errors import NotFound
from rollout.services.segments import KeptSegment
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import flags
from .auth import actor, editor, viewer
from .flag_forms import (
    DocumentForm,
    SegmentForm,
    constraint_line,
    parse_document,
    pretty,
    segment_document,
    segment_fields,
)
from .forms import FORM_NAME, FormView, ReasonForm, attempt, read
from .lists import show_list
from .queries import ListView, PageView
from .room import room

routes = Blueprint("segments", __name__)

COLUMNS = ("id", "name", "document", "version", "created_at", "updated_at")


@routes.get("/segments")
@operation("Segments, in order of number", auth=viewer, query=ListView)
def show_segments(query: ListView) -> Answer:
    return _list(query)


@routes.post("/segments")
@operation("Add a segment", auth=editor)
def add_segment() -> Answer:
    made: list[KeptSegment] = []

    def act() -> None:
        form = read(SegmentForm)
        document = segment_document(form, {})
        made.append(
            services().segments.add(actor(), document, form.reason, accept_warnings=form.accept_warnings)
        )

    return attempt(
        act,
        then=lambda: url_for(".show_segment", segment_id=made.pop().segment.id),
        again=lambda: _list(ListView.model_validate({})),
    )


@routes.get("/segments/<int:segment_id>")
@operation("A segment, and which flags use it", auth=viewer, query=PageView)
def show_segment(segment_id: int, query: PageView) -> Answer:
    return _shown(segment_id)


@routes.post("/segments/<int:segment_id>")
@operation("Change or remove a segment; the form's name says which", auth=editor)
def change_segment(segment_id: int) -> Answer:
    acts = {"change": _change, "document": _replace, "remove": _remove}
    name = request.form.get(FORM_NAME, "")
    if name not in acts:
        raise NotFound()
    segment = services().segments.get(segment_id)
    then = ".show_segments" if name == "remove" else ".show_segment"
    target = url_for(then) if name == "remove" else url_for(then, segment_id=segment_id)
    return attempt(partial(acts[name], segment), then=target, again=lambda: _shown(segment_id))


def _change(segment: Segment) -> None:
    form = read(SegmentForm)
    _put(segment, segment_document(form, segment.document), form)


def _replace(segment: Segment) -> None:
    form = read(DocumentForm)
    _put(segment, parse_document(form.document), form)


def _put(segment: Segment, document: dict[str, object], form: SegmentForm | DocumentForm) -> None:
    services().segments.put(
        actor(),
        segment.id,
        document,
        form.reason,
        accept_warnings=form.accept_warnings,
        based_on=form.version,
    )


def _remove(segment: Segment) -> None:
    form = read(ReasonForm)
    services().segments.remove(actor(), segment.id, form.reason, based_on=form.version)


def _list(query: ListView) -> Response:
    segments = services().segments
    return show_list(
        "segments.html",
        query,
        lambda cursor, limit: segments.page(cursor=int(cursor) if cursor else None, limit=limit),
        lambda segment: str(segment.id),
        file="segments",
        columns=COLUMNS,
        as_row=segment_json,
        line=constraint_line,
    )


def _shown(segment_id: int) -> Response:
    segment = services().segments.get(segment_id)
    fields = segment_fields(segment.document)
    return room(
        "segment.html",
        segment=segment,
        here=url_for(".show_segment", segment_id=segment_id),
        fields=fields,
        users=services().segments.users(segment_id),
        address=flags.address,
        change=FormView("change", segment.version, fields),
        whole=FormView("document", segment.version, {"document": pretty(segment.document)}),
    )
