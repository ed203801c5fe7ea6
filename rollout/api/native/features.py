"""GET /api/v1/features, GET /api/v1/features/{feature}"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.decisions import FEATURES
from rollout.web.auth import identity, key
from rollout.web.operation import Answer, Shape, operation
from rollout.web.wired import services

routes = Blueprint("features", __name__, url_prefix="/api/v1")


class FeatureDecision(Shape):
    """`how_to_enable` where asking helps."""

    feature: str
    enabled: bool
    reason: str
    detail: str
    phase: str | None
    decision_id: str
    how_to_enable: str | None = None


@routes.get("/features")
@operation("Which features are open to you, and why (not)", auth=key("read"))
def list_features() -> Answer:
    facts, features = identity().facts, services().features
    return {"data": [features.describe(facts, feature) for feature in FEATURES], "next_cursor": None}


@routes.get("/features/<feature>")
@operation(
    "Whether a feature is open to you, and what would change it", auth=key("read"), answer=FeatureDecision
)
def show_feature(feature: str) -> Answer:
    return services().features.describe(identity().facts, feature)
