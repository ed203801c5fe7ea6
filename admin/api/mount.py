"""The admin API, /admin/api/v1: one file a noun."""

from __future__ import annotations

from flask import Blueprint

from . import (
    access_requests,
    adjustments,
    alerts,
    analyses,
    audit,
    catalogue,
    catalogue_checks,
    change_requests,
    explain,
    features,
    feedback,
    flag_tokens,
    flags,
    generations,
    grants,
    guardrail_events,
    holds,
    jobs,
    keys,
    ledger,
    meters,
    plans,
    requests,
    schedules,
    segments,
    simulations,
    statements,
    tenants,
    tokens,
    topups,
    upstream,
    usage,
    users,
    webhooks,
    workers,
)

NOUNS = (
    tenants,
    keys,
    tokens,
    flag_tokens,
    users,
    grants,
    access_requests,
    meters,
    alerts,
    topups,
    adjustments,
    holds,
    generations,
    ledger,
    features,
    catalogue,
    catalogue_checks,
    plans,
    simulations,
    flags,
    upstream,
    segments,
    change_requests,
    schedules,
    explain,
    feedback,
    usage,
    statements,
    requests,
    guardrail_events,
    analyses,
    audit,
    webhooks,
    jobs,
    workers,
)


def create_blueprint() -> Blueprint:
    api = Blueprint("api", __name__, url_prefix="/api/v1")
    for noun in NOUNS:
        api.register_blueprint(noun.routes)
    return api
