"""/admin/explain"""

from __future__ import annotations

from flask import Blueprint
from pydantic import Field

from rollout.core.decisions import FEATURES, GENERATION
from rollout.web.operation import Answer, operation
from rollout.web.wired import services

from . import words
from .auth import viewer
from .forms import LocalMoment
from .queries import PageView
from .room import room

routes = Blueprint("explain", __name__)


class ExplainView(PageView):
    """`at`: a time past; without it, what holds now."""

    tenant: str | None = Field(None, max_length=64)
    feature: str = GENERATION
    at: LocalMoment | None = None


@routes.get("/explain")
@operation("Why a tenant may or may not use a feature", auth=viewer, query=ExplainView)
def show_explain(query: ExplainView) -> Answer:
    found = None
    if query.tenant is not None:
        found = services().explain.explain(query.tenant.strip(), query.feature, query.at)
    features = [(feature, words.feature(feature)) for feature in FEATURES]
    return room("explain.html", query=query, found=found, features=features)
