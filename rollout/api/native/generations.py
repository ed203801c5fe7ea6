"""/api/v1/generations: pictures that a job makes, by whatever vendor; and all others, looked at afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import orjson
from flask import Blueprint, Response, g, stream_with_context
from pydantic import Field

from rollout.core.audit import Actor
from rollout.core.extensions import split_extensions
from rollout.core.generation_jobs import Generated, Status, generation_json, links
from rollout.core.uses import StoredImage
from rollout.services.generate import Asked
from rollout.web import headers, sse
from rollout.web.admission import admitted
from rollout.web.auth import identity, key
from rollout.web.body import json_body
from rollout.web.operation import Answer, Shape, json_response, operation
from rollout.web.paging import PageQuery, listing
from rollout.web.streams import HEARTBEAT, LOOKS_PER_BEAT, event_stream, while_wanted
from rollout.web.wired import services

routes = Blueprint("generations", __name__, url_prefix="/api/v1")

LARGEST_BODY = 1 << 20
REASON = "cancelled by its caller"


class GenerationQuery(PageQuery):
    status: str | None = Field(None, description="One status only.")


class QueuedOut(Shape):
    id: str
    status: Status
    progress: int
    links: dict[str, str]


class PictureOut(Shape):
    """`url` is signed and ends at `expires_at`."""

    id: str
    url: str
    media_type: str
    expires_at: str
    revised_prompt: str | None


class GenerationOut(QueuedOut):
    """`progress` in percent; `error` as a problem; `hold`: where its charge stands; `feedback`: the handle by which it is rated;
    `rollout`: what came of the extensions that were asked for."""

    operation: str
    model: str
    vendor: str
    mode: str
    prompt: str
    n: int
    images: list[PictureOut]
    feedback: str | None
    usage: dict[str, Any] | None
    cost_usd_micro: int | None
    settled_from: str | None
    rollout: dict[str, Any]
    error: dict[str, Any] | None
    hold: str
    request_id: str
    decision_id: str
    created_at: str
    ended_at: str | None


@routes.post("/generations")
@operation(
    "Leave pictures to a job",
    auth=key("generate"),
    raw_body=("application/json",),
    answer=QueuedOut,
    status=202,
)
def queue_generation() -> Response:
    body = json_body(LARGEST_BODY)
    members, extensions = split_extensions(body.members)
    call = headers.call(body.content)
    found, told = services().generate.queue(call, Asked("generate", members, extensions=extensions))
    response = headers.tell(json_response(_standing(found), 202), told)
    response.headers["Location"] = links(found.generation.id)["self"]
    return response


@routes.get("/generations")
@operation("List generations, newest first", auth=key("generate"), query=GenerationQuery)
def list_generations(query: GenerationQuery) -> Answer:
    rows = services().generations.page(
        tenant=_tenant_id(), status=query.status, cursor=query.cursor, limit=query.limit + 1
    )
    return listing(rows, query.limit, lambda found: found.generation.id, _shown)


@routes.get("/generations/<generation_id>")
@operation("Show a generation", auth=key("generate"), answer=GenerationOut)
def show_generation(generation_id: str) -> Answer:
    return _detailed(services().generations.get(generation_id, tenant=_tenant_id()))


@routes.get("/generations/<generation_id>/events")
@operation("Follow a generation to its end, as server-sent events", auth=key("generate"))
@admitted("stream")
def follow_generation(generation_id: str) -> Response:
    caller, wired = identity(), services()
    found = wired.generations.get(generation_id, tenant=_tenant_id())
    seen = wired.generations.watch(found.generation.id)
    wanted = while_wanted(seen, lambda: wired.state.check_usable(caller))
    return event_stream(stream_with_context(_events(wanted)))


@routes.delete("/generations/<generation_id>")
@operation("Cancel a generation", auth=key("generate"), answer=GenerationOut)
def cancel_generation(generation_id: str) -> Answer:
    actor = Actor(f"key:{identity().key.id}", "partner", g.request_id)
    return _detailed(services().generations.cancel(actor, generation_id, REASON, tenant=_tenant_id()))


def _events(seen: Iterator[Generated | None]) -> Iterator[bytes]:
    quiet = count(1)
    for found in seen:
        if found is None:
            if next(quiet) % LOOKS_PER_BEAT == 0:
                yield HEARTBEAT
        elif found.is_going_on:
            yield sse.event("generation.progress", orjson.dumps(_standing(found)))
        else:
            yield sse.event(f"generation.{found.status}", orjson.dumps(_detailed(found)))


def _standing(found: Generated) -> dict[str, Any]:
    made = found.generation
    return {
        "id": made.id,
        "status": found.status,
        "progress": found.progress,
        "links": links(made.id),
    }


def _shown(found: Generated) -> dict[str, Any]:
    return generation_json(found, _url)


def _detailed(found: Generated) -> dict[str, Any]:
    return {**_shown(found), "rollout": services().evaluate.extensions(found)}


def _url(image: StoredImage) -> str:
    return services().images.url(image.tenant_id, image.id, image.expires_at)


def _tenant_id() -> str:
    return identity().facts.tenant.id
