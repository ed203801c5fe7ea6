"""GET /api/v1/me"""

from __future__ import annotations

from flask import Blueprint

from rollout.core.tenants import key_json, tenant_json
from rollout.web.auth import identity, key
from rollout.web.operation import Answer, Shape, operation

routes = Blueprint("me", __name__, url_prefix="/api/v1")


class MyTenant(Shape):
    id: str
    name: str
    tz: str
    state: str
    attributes: dict[str, str]
    vendors: list[str] | None
    retired_models: str
    thinking_budgets: str


class MyKey(Shape):
    id: str
    name: str
    mode: str
    prefix: str
    scopes: list[str]
    expires_at: str | None


class MeOut(Shape):
    tenant: MyTenant
    key: MyKey


@routes.get("/me")
@operation("Who this key belongs to and what it may do", auth=key("read"), answer=MeOut)
def show_me() -> Answer:
    caller = identity()
    mine = key_json(caller.key)
    return {
        "tenant": tenant_json(caller.facts.tenant),
        "key": {name: mine[name] for name in MyKey.model_fields},
    }
