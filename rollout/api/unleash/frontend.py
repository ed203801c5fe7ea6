"""/api/frontend: answers for Unleash's browser and mobile SDKs; of the flags themselves they learn nothing."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, request
from pydantic import BaseModel

from rollout.core.flag_answers import parse_context
from rollout.web import flag_auth, flag_metrics, polls
from rollout.web.conditional import unless_known
from rollout.web.cross_origin import opened
from rollout.web.flag_metrics import Metrics, Registration
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

routes = opened(Blueprint("unleash_frontend", __name__, url_prefix="/api/frontend"))

_PROPERTY = re.compile(r"properties\[(.+)\]", re.DOTALL)


class Asked(BaseModel):
    """`context` as Unleash's SDKs build it; with a tenant's token the tenant's own properties take the place of those that it claims."""

    context: dict[str, Any] = {}


@routes.get("")
@operation("The flags that are on in the context of the query", auth=flag_auth.frontend)
def toggles_of_query() -> Answer:
    return _toggles(_context_of_query())


@routes.post("")
@operation("The flags that are on in a context", auth=flag_auth.frontend, body=Asked)
def toggles_of_context(body: Asked) -> Answer:
    return _toggles(body.context)


@routes.post("/client/register")
@operation("A frontend says that it is there", auth=flag_auth.frontend, body=Registration)
def register(body: Registration) -> Answer:
    flag_metrics.register(flag_auth.token().environment, body)
    return _ok()


@routes.post("/client/metrics")
@operation("How often flags were on and off in a frontend", auth=flag_auth.frontend, body=Metrics)
def metrics(body: Metrics) -> Answer:
    flag_metrics.count(flag_auth.token().environment, body)
    return _ok()


def _toggles(said: dict[str, Any]) -> Response:
    token, context = flag_auth.token(), parse_context(said)
    context.setdefault("remoteAddress", request.remote_addr or "")
    state, answers = services().state, services().flag_answers
    facts, snapshot = state.facts(token.tenant_id) if token.tenant_id else None, state.snapshot
    found = answers.of(token.environment, context, facts, token.sees)
    if facts is None and state.is_fresh() and answers.lasts(snapshot, token.environment, context):
        polls.keep(snapshot, only_fresh=True)
    return unless_known({"toggles": [answer.toggle for answer in found if answer.enabled]}, weak=True)


def _context_of_query() -> dict[str, Any]:
    """`?userId=..&properties[region]=..`: of a name that repeats, the last."""
    said = {name: values[-1] for name, values in request.args.lists()}
    properties = {match[1]: said.pop(name) for name in list(said) if (match := _PROPERTY.fullmatch(name))}
    said.pop("properties", None)
    return {**said, "properties": properties}


def _ok() -> Response:
    return Response("OK", content_type="text/plain; charset=utf-8")
