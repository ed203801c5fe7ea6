"""OpenFeature Remote Evaluation Protocol 0.3.0: POST /ofrep/v1/evaluate/flags[/{key}], GET /ofrep/v1/events.

A partner asks with its API key; whose flags are answered is the key's tenant, whatever the context says. It sees its gates and the flags of
the project `default`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
from flask import Blueprint, Response, request
from pydantic import BaseModel

from rollout.core.flag_answers import FlagAnswer, parse_context
from rollout.core.flag_metrics import Count
from rollout.core.flags import PRODUCTION
from rollout.core.ofrep import evaluation, is_key
from rollout.core.tenants import Tenant
from rollout.errors import NotFound
from rollout.services.flag_answers import FlagAnswers
from rollout.services.registry import Services
from rollout.web import streams
from rollout.web.admission import admitted
from rollout.web.auth import identity, key
from rollout.web.conditional import unless_known
from rollout.web.cross_origin import opened
from rollout.web.operation import Answer, json_response, operation, public
from rollout.web.wired import services

routes = opened(Blueprint("ofrep", __name__, url_prefix="/ofrep/v1"))

PARTNERS_PROJECT = "default"
APP = "ofrep"
"""As whom partners' questions are counted; they are no app of the operator's."""
INACTIVITY_SECONDS = 120


class Asked(BaseModel):
    """`context`: `targetingKey` names the end user; anything else of it is a property."""

    context: dict[str, Any] = {}


class Refetch(BaseModel):
    """What the event that made the caller ask told of itself."""

    flagConfigEtag: str | None = None  # noqa: N815 (the protocol's name)
    flagConfigLastModified: str | None = None  # noqa: N815


class Listening(BaseModel):
    """`since`: the state that the caller has already."""

    ticket: str
    since: str | None = None


@routes.post("/evaluate/flags/<path:name>", merge_slashes=False)
@operation("The value of one flag (OpenFeature)", auth=key("read"), body=Asked)
def evaluate_flag(name: str, body: Asked) -> Answer:
    context, facts = _context(body), identity().facts
    found = services().flag_answers.one(PRODUCTION, name, context, facts, _sees) if is_key(name) else None
    if found is None:
        raise NotFound(f"There is no flag {name[:200]!r} for you.", remedy="Check the key of the flag.")
    told = evaluation(found, context)
    response = json_response(told, 400 if "errorCode" in told else 200)
    if found.decision is None:
        _count(found)
    else:
        response.headers["x-rollout-decision"] = found.decision.id
    return response


@routes.post("/evaluate/flags")
@operation("The values of all flags (OpenFeature)", auth=key("read"), body=Asked, query=Refetch)
def evaluate_flags(body: Asked, query: Refetch) -> Answer:
    context, facts, answers = _context(body), identity().facts, services().flag_answers
    if query.flagConfigEtag is not None:
        facts = answers.catch_up(facts, query.flagConfigEtag)
    found = answers.of(PRODUCTION, context, facts, _sees)
    return unless_known(
        {
            "flags": [evaluation(one, context) for one in found if is_key(one.flag.name)],
            "metadata": {"environment": PRODUCTION},
            "eventStreams": [_stream(answers, facts.tenant, answers.digest(facts))],
        }
    )


@routes.get("/events")
@operation("A stream that tells when to ask for all flags again", auth=public, query=Listening)
@admitted("stream")
def events(query: Listening) -> Response:
    tenant_id = services().flag_answers.open_ticket(query.ticket).tenant.id
    known = request.headers.get("Last-Event-ID") or query.since or ""
    return streams.event_stream(_changes(services(), tenant_id, known))


def _changes(wired: Services, tenant_id: str, known: str) -> Iterator[bytes]:
    """What to ask for again, from a caller who knows `known`."""
    state, answers = wired.state, wired.flag_answers
    revisions = streams.revisions(lambda: state.check_active(state.facts(tenant_id).tenant))

    def run() -> Iterator[bytes]:
        told = known
        for _ in revisions:
            facts = state.facts_in_memory(tenant_id)
            digest = answers.digest(facts) if facts else told
            yield _refetch(digest) if digest != told else streams.HEARTBEAT
            told = digest

    return run()


def _refetch(digest: str) -> bytes:
    told = {"type": "refetchEvaluation", "etag": digest, "lastModified": int(time.time())}
    return streams.event(b"message", digest, orjson.dumps(told))


def _context(body: Asked) -> dict[str, Any]:
    said = dict(body.context)
    if (named := said.pop("targetingKey", None)) is not None:
        said["userId"] = named
    return parse_context(said)


def _count(asked: FlagAnswer) -> None:
    """OpenFeature's clients tell nothing: a flag that they ask for one by one would count as never asked for."""
    metrics, drawn = services().flag_metrics, asked.variant["name"]
    variants = {drawn: 1} if asked.variant["enabled"] else {}
    times = Count(asked.flag.name, metrics.now(), int(asked.enabled), int(not asked.enabled), variants)
    metrics.count(PRODUCTION, APP, [times])


def _sees(project: str) -> bool:
    return project == PARTNERS_PROJECT


def _stream(answers: FlagAnswers, tenant: Tenant, digest: str) -> dict[str, Any]:
    address = f"/ofrep/v1/events?ticket={answers.ticket(tenant.id)}&since={digest}"
    return {"type": "sse", "endpoint": {"requestUri": address}, "inactivityDelaySec": INACTIVITY_SECONDS}
