"""GET /api/v1/quotas"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.meters import Caller, limit_json
from rollout.web.auth import identity, key
from rollout.web.headers import end_user
from rollout.web.operation import Answer, Shape, operation
from rollout.web.wired import services

routes = Blueprint("quotas", __name__, url_prefix="/api/v1")


class LimitOut(Shape):
    """`remaining` is what a request may still ask for; `resets_at` null: the window never ends. Limits of level `api_key` and
    `end_user` are those of the key that asks, and of the end user that it names."""

    meter: str
    name: str
    level: str
    feature: str | None
    unit: str
    period: str
    cap: int
    used: int
    held: int
    remaining: int
    resets_at: str | None
    hard: bool


class QuotasOut(Shape):
    data: list[LimitOut]
    next_cursor: str | None


@routes.get("/quotas")
@operation("Your limits, with what is used and held", auth=key("read"), answer=QuotasOut)
def list_quotas() -> Answer:
    """Limits of each key are those of the key that asks; of each end user those of `x-rollout-end-user`."""
    caller = identity()
    limits = services().ledger.limits(caller.facts, Caller(caller.key.id, end_user()))
    return {"data": [limit_json(limit) for limit in limits], "next_cursor": None}
