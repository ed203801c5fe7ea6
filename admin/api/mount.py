"""The admin API, /admin/api/v1: one file a noun."""

from __future__ import annotations

from flask import Blueprint

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
    requests,
    tenants,
    tokens,
    usage,
    users,
    workers,
)

NOUNS = (
    tenants,
    keys,
    tokens,
    users,
    grants,
    access_requests,
    meters,
    holds,
    features,
    plans,
    explain,
    feedback,
    usage,
    requests,
    audit,
    workers,
)


def create_blueprint() -> Blueprint:
    api = Blueprint("api", __name__, url_prefix="/api/v1")
    for noun in NOUNS:
        api.register_blueprint(noun.routes)
    return api
