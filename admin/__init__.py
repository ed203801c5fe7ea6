"""The control plane: the admin API, mounted once by `rollout.app`."""

from __future__ import annotations

from flask import Blueprint


def create_blueprint() -> Blueprint:
    """Everything under /admin."""
    from . import (
        access_requests,
        audit,
        explain,
        features,
        feedback,
        grants,
        holds,
        keys,
        meters,
        plans,
        tenants,
        tokens,
        usage,
        workers,
    )

    nouns = (
        tenants,
        keys,
        tokens,
        grants,
        access_requests,
        meters,
        holds,
        features,
        plans,
        explain,
        feedback,
        usage,
        audit,
        workers,
    )
    api = Blueprint("api", __name__, url_prefix="/api/v1")
    for noun in nouns:
        api.register_blueprint(noun.routes)
    admin = Blueprint("admin", __name__, url_prefix="/admin")
    admin.register_blueprint(api)
    return admin
