"""/admin/api/v1/flags/upstream: the Unleash server that decides with us, if there is one"""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from rollout.web.operation import Answer, Shape, operation
from rollout.web.wired import services

from .auth import actor, editor, viewer

routes = Blueprint("upstream", __name__)


class FeedOut(Shape):
    """What the server last said. `trouble`: why the last poll of the process that answers came to nothing."""

    url: str
    environment: str
    flags: int
    revision: int | None
    fetched_at: str | None
    age_seconds: float | None
    max_age_seconds: int
    fresh: bool
    trouble: str | None


class PushOut(Shape):
    """`state`: pushed, waiting, drift or failed; `drift`: what differs there, `wanted` here and `actual` there."""

    feature: str
    state: str
    wanted_revision: int
    pushed_revision: int | None
    drift: list[dict[str, Any]]
    error: str | None
    at: str


class UpstreamOut(Shape):
    """`mode`: embedded or unleash."""

    mode: str
    feed: FeedOut | None
    pushes: list[PushOut]


class PushIn(Shape):
    feature: str
    reason: str | None = None


@routes.get("/flags/upstream")
@operation("Whose flags decide, and how far our phases have got there", auth=viewer, answer=UpstreamOut)
def show_upstream() -> Answer:
    return services().flag_pushes.upstream()


@routes.post("/flags/upstream/push")
@operation(
    "Write a plan's flag to Unleash anew, over what was changed there",
    auth=editor,
    body=PushIn,
    answer=PushOut,
    status=202,
)
def push_flag(body: PushIn) -> Answer:
    return services().flag_pushes.push(actor(), body.feature, body.reason), 202
