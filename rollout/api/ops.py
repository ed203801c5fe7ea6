"""What operators, probes and curious visitors ask first: `/`, `/healthz`, `/readyz`, `/openapi.json`."""

from __future__ import annotations

import orjson
from flask import Blueprint, Response, current_app, request

from rollout.services.health import readiness, readiness_json
from rollout.web.openapi import document
from rollout.web.operation import Answer, operation, public
from rollout.web.wired import services

routes = Blueprint("ops", __name__)


@routes.get("/")
@operation("Where to find what", auth=public, status=302)
def front_door() -> Answer:
    return Response(status=302, headers={"Location": "/docs"})


@routes.get("/healthz")
@operation("Alive: this process answers", auth=public)
def healthz() -> Answer:
    return {"status": "alive"}


@routes.get("/readyz")
@operation("Ready: 503 while starting or draining", auth=public)
def readyz() -> Answer:
    here = services()
    now = readiness(here.database, here.state, here.breakers, draining=here.draining())
    return readiness_json(now), 200 if now.takes_requests else 503


@routes.get("/openapi.json")
@operation("This description", auth=public)
def openapi() -> Answer:
    """Built at first use: the routes of an app do not change."""
    built: bytes | None = current_app.extensions.get("rollout_openapi")
    if built is None:
        built = orjson.dumps(document(current_app, services().settings.url))
        current_app.extensions["rollout_openapi"] = built
    response = Response(built, content_type="application/json")
    response.add_etag()
    response.make_conditional(request)
    return response
