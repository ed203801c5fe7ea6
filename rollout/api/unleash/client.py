"""/api/client: what Unleash's server-side SDKs fetch, and what they tell."""

from __future__ import annotations

from flask import Blueprint, Response, request

from rollout.core.unleash import KNOWS_DELTAS, Spec
from rollout.errors import InvalidRequest
from rollout.services.client_features import Rendered
from rollout.web import flag_auth, flag_metrics, polls
from rollout.web.assets import zipped
from rollout.web.flag_metrics import BulkMetrics, Metrics, Registration
from rollout.web.flag_query import flag_query, spec
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

routes = Blueprint("unleash_client", __name__, url_prefix="/api/client")

UNLEASH_VERSION = "8.2.0"
"""The server whose answers these are like."""


@routes.get("/features")
@operation("All flags of the token's environment, as Unleash's SDKs evaluate them", auth=flag_auth.client)
def all_features() -> Answer:
    return _kept(services().client_features.features(flag_query()))


@routes.get("/features/<name>")
@operation("One flag, with the constraints of its segments", auth=flag_auth.client)
def one_feature(name: str) -> Answer:
    return services().client_features.one(flag_query(inline=True), name)


@routes.get("/delta")
@operation("All flags as one hydration event, for SDKs that follow events", auth=flag_auth.client)
def delta() -> Answer:
    _require(KNOWS_DELTAS)
    return _kept(services().client_features.delta(flag_query(inline=False)))


@routes.post("/register")
@operation("An SDK says that it is there", auth=flag_auth.client, body=Registration, status=202)
def register(body: Registration) -> Answer:
    flag_metrics.register(flag_auth.token().environment, body)
    return _taken()


@routes.post("/metrics")
@operation("How often flags were on and off", auth=flag_auth.client, body=Metrics, status=202)
def metrics(body: Metrics) -> Answer:
    flag_metrics.count(flag_auth.token().environment, body)
    return _taken()


@routes.post("/metrics/bulk")
@operation("The same of several apps, from a proxy", auth=flag_auth.client, body=BulkMetrics, status=202)
def bulk_metrics(body: BulkMetrics) -> Answer:
    flag_metrics.count_bulk(flag_auth.token().environment, body)
    return _taken()


def _kept(rendered: Rendered) -> Response:
    """Bytes that were made once a revision; none for who has them."""
    tag = rendered.etag.strip('"')
    if request.if_none_match.contains_weak(tag):
        response = Response(status=304)
        response.headers["Vary"] = "Accept-Encoding"
    else:
        response = zipped(Response(content_type="application/json"), rendered.plain, rendered.zipped)
    response.set_etag(tag)
    polls.keep(rendered.snapshot)
    return response


def _taken() -> Response:
    return Response(status=202, headers={"X-Unleash-Version": UNLEASH_VERSION})


def _require(least: Spec) -> None:
    if spec() < least:
        raise InvalidRequest(
            f"Deltas are for SDKs of the client specification {'.'.join(map(str, least))} and later.",
            param="Unleash-Client-Spec",
            remedy="Send Unleash-Client-Spec, or ask for /api/client/features.",
        )
