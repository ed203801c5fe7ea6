"""/admin/api/v1/segments"""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import Field

from rollout.core.segments import MAX_ID, segment_json
from rollout.services.segments import KeptSegment
from rollout.web.conditional import based_on, versioned
from rollout.web.operation import Answer, Shape, operation
from rollout.web.paging import listing
from rollout.web.wired import services

from .auth import actor, editor, viewer
from .flags import Warned
from .tenants import Reason

routes = Blueprint("segments", __name__)


class SegmentsQuery(Shape):
    cursor: int | None = Field(None, ge=0, le=MAX_ID)
    limit: int = Field(50, ge=1, le=500)


class SegmentIn(Shape):
    """`document`: a segment in Unleash's format, whole: `name`, `description`, `constraints`."""

    document: dict[str, Any]
    accept_warnings: bool = False
    reason: str | None = None


class SegmentOut(Shape):
    id: int
    name: str
    document: dict[str, Any]
    version: int
    created_at: str
    updated_at: str


class SegmentKept(SegmentOut):
    """`warnings`: what was accepted."""

    warnings: list[Warned]


class SegmentWithUsers(SegmentOut):
    """`flags`: who uses it, as environment/name; archived ones too, which may be revived."""

    flags: list[str]


@routes.get("/segments")
@operation("List segments in order of number", auth=viewer, query=SegmentsQuery)
def list_segments(query: SegmentsQuery) -> Answer:
    rows = services().segments.page(cursor=query.cursor, limit=query.limit + 1)
    return listing(rows, query.limit, lambda segment: segment.id, segment_json)


@routes.post("/segments")
@operation("Add a segment", auth=editor, body=SegmentIn, answer=SegmentKept, status=201)
def add_segment(body: SegmentIn) -> Answer:
    kept = services().segments.add(actor(), body.document, body.reason, accept_warnings=body.accept_warnings)
    return _kept(kept, 201)


@routes.get("/segments/<int:segment_id>")
@operation("Show a segment, and which flags use it", auth=viewer, answer=SegmentWithUsers)
def show_segment(segment_id: int) -> Answer:
    segment = services().segments.get(segment_id)
    users = [f"{flag.environment}/{flag.name}" for flag in services().segments.users(segment_id)]
    return versioned({**segment_json(segment), "flags": users}, segment.version)


@routes.put("/segments/<int:segment_id>")
@operation(
    "Put a segment in the place of what it is, for all flags that use it",
    auth=editor,
    body=SegmentIn,
    answer=SegmentKept,
)
def put_segment(segment_id: int, body: SegmentIn) -> Answer:
    kept = services().segments.put(
        actor(),
        segment_id,
        body.document,
        body.reason,
        accept_warnings=body.accept_warnings,
        based_on=based_on(required=True),
    )
    return _kept(kept)


@routes.delete("/segments/<int:segment_id>")
@operation("Remove a segment that no flag uses", auth=editor, body=Reason, answer=SegmentOut)
def remove_segment(segment_id: int, body: Reason) -> Answer:
    gone = services().segments.remove(actor(), segment_id, body.reason, based_on=based_on(required=False))
    return segment_json(gone)


def _kept(kept: KeptSegment, status: int = 200) -> Answer:
    warnings = [vars(doubt) for doubt in kept.doubts]
    return versioned({**segment_json(kept.segment), "warnings": warnings}, kept.segment.version, status)
